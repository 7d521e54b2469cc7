import type { Namespace, Node } from '@weft/kube';
import { age, name, orNone, part, printer, wide } from './printer.ts';

function nodeStatus(node: Node): string {
  const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
  const text = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return node.spec?.unschedulable === true ? `${text},SchedulingDisabled` : text;
}

const ROLE = 'node-role.kubernetes.io/';

function nodeRoles(node: Node): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(node.metadata.labels ?? {})) {
    if (key.startsWith(ROLE) && key.length > ROLE.length) roles.add(key.slice(ROLE.length));
    else if (key === 'kubernetes.io/role' && value !== '') roles.add(value);
  }
  return orNone([...roles].sort().join(','));
}

const address = (node: Node, type: string): string =>
  orNone(node.status?.addresses?.find((a) => a.type === type)?.address);
const orUnknown = (value: string | undefined): string => value || '<unknown>';

export const nodes = printer<Node>(
  name,
  part('Status', nodeStatus, {}, 'Whether the node takes pods'),
  part('Roles', nodeRoles, {}, 'Roles by label'),
  age,
  part('Version', (n) => n.status?.nodeInfo?.kubeletVersion ?? '', {}, 'Version of the node agent'),
  part('Internal-IP', (n) => address(n, 'InternalIP'), wide, 'Address inside the cluster'),
  part('External-IP', (n) => address(n, 'ExternalIP'), wide, 'Address outside the cluster'),
  part('OS-Image', (n) => orUnknown(n.status?.nodeInfo?.osImage), wide, 'Operating system'),
  part('Kernel-Version', (n) => orUnknown(n.status?.nodeInfo?.kernelVersion), wide, 'Kernel'),
  part(
    'Container-Runtime',
    (n) => orUnknown(n.status?.nodeInfo?.containerRuntimeVersion),
    wide,
    'Container runtime and its version',
  ),
);

export const namespaces = printer<Namespace>(
  name,
  part('Status', (n) => n.status?.phase ?? '', {}, 'Phase: Active or Terminating'),
  age,
);
