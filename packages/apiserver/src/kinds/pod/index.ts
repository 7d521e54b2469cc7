import type { Pod } from '@weft/kube';
import type { StrategyContext } from '../../contract.ts';
import { type KindRules, rules } from '../strategy.ts';
import { admitPriority, admitServiceAccount, admitTolerations } from './admission.ts';
import { defaultPod } from './defaults.ts';
import { qosClass } from './qos.ts';
import { validatePodUpdate } from './update.ts';
import { validatePodSpec } from './validate-spec.ts';

function prepareCreate(pod: Pod, ctx: StrategyContext): void {
  admitServiceAccount(pod, ctx);
  admitPriority(pod, ctx);
  admitTolerations(pod.spec);
  pod.status = { phase: 'Pending', qosClass: safeQos(pod) };
  if (pod.spec.schedulingGates?.length) {
    const message = 'Scheduling is blocked due to non-empty scheduling gates';
    pod.status.conditions = [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message }];
  }
}

/** Runs before validation, so quantities may still be nonsense. */
function safeQos(pod: Pod): NonNullable<NonNullable<Pod['status']>['qosClass']> {
  try {
    return qosClass(pod.spec);
  } catch {
    return 'BestEffort';
  }
}

/** podIP and hostIP are the first of their lists; writers of either form are served. */
function prepareStatusUpdate(next: Pod, old: Pod): void {
  const status = (next.status ??= {});
  const qos = old.status?.qosClass;
  if (qos !== undefined) status.qosClass = qos;
  for (const [one, many] of [
    ['podIP', 'podIPs'],
    ['hostIP', 'hostIPs'],
  ] as const) {
    const ip = status[one];
    const first = status[many]?.[0]?.ip;
    if (ip && !status[many]?.length) status[many] = [{ ip }];
    else if (!ip && first) status[one] = first;
  }
}

/**
 * Seconds a pod gets to end (CheckGracefulDelete of the pod strategy): none when it never got to a node or has ended.
 */
function gracefulDelete(pod: Pod, requested: number | undefined): number {
  if (!pod.spec.nodeName || pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') return 0;
  const seconds = requested ?? pod.spec.terminationGracePeriodSeconds ?? 0;
  return seconds < 0 ? 1 : seconds;
}

/** core/v1 Pod. */
export const podRules: KindRules = rules<Pod>({
  statusSubresource: true,
  defaults: defaultPod,
  prepareCreate,
  prepareUpdate: (next, old) => {
    if (old.status === undefined) delete next.status;
    else next.status = old.status;
  },
  prepareStatusUpdate,
  validate: (pod) => validatePodSpec('spec', pod.spec, pod),
  validateUpdate: validatePodUpdate,
  gracefulDelete,
  selectableFields: {
    'spec.nodeName': (p) => p.spec.nodeName ?? '',
    'spec.restartPolicy': (p) => p.spec.restartPolicy ?? '',
    'spec.schedulerName': (p) => p.spec.schedulerName ?? '',
    'spec.serviceAccountName': (p) => p.spec.serviceAccountName ?? '',
    'spec.hostNetwork': (p) => String(p.spec.hostNetwork ?? false),
    'status.phase': (p) => p.status?.phase ?? '',
    'status.podIP': (p) => p.status?.podIP ?? p.status?.podIPs?.[0]?.ip ?? '',
    'status.nominatedNodeName': (p) => p.status?.nominatedNodeName ?? '',
  },
});
