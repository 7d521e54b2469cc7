import { type NotEnforced, notEnforcedByDefault } from '@weft/controllers';
import { resources } from '@weft/kube';

/** Kinds that can be stored in a lab but that nothing in it acts on; each object is told so. */
export const notEnforcedInLab: readonly NotEnforced[] = [
  ...notEnforcedByDefault,
  {
    type: resources.horizontalpodautoscalers,
    message: 'stored but nothing scales: no metrics are measured in this cluster; use kubectl scale',
  },
  {
    type: resources.replicationcontrollers,
    message: 'stored but no pods are made: no controller runs for this kind; use a Deployment or ReplicaSet',
  },
  {
    type: resources.resourcequotas,
    message: 'stored but not enforced: nothing counts what the namespace uses',
  },
  {
    type: resources.limitranges,
    message: 'stored but not enforced: containers get no defaults and no limits from it',
  },
];
