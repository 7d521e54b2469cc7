import type { Node, Pod, Taint } from '@weft/kube';
import { describe, expect, test } from 'vitest';
import { matchesNode, tolerates, untolerated } from '../../src/controllers/common/node-match.ts';
import { schedule } from '../../src/controllers/scheduler/compile.ts';
import { ClusterState, placedPod, portsConflict } from '../../src/controllers/scheduler/model.ts';

function node(
  name: string,
  fields: { labels?: Record<string, string>; taints?: Taint[]; unschedulable?: boolean } = {},
): Node {
  const { labels = {}, taints, unschedulable } = fields;
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
    spec: { ...(taints === undefined ? {} : { taints }), ...(unschedulable === undefined ? {} : { unschedulable }) },
  };
}

let serial = 0;
function pod(spec: Partial<Pod['spec']> = {}, labels: Record<string, string> = {}, owner?: string): Pod {
  const name = `p${serial++}`;
  const ref = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: owner ?? '', controller: true };
  return {
    metadata: { name, namespace: 'default', labels, ...(owner === undefined ? {} : { ownerReferences: [ref] }) },
    spec: { containers: [{ name: 'c' }], ...spec },
  };
}

function state(...nodes: Node[]): ClusterState {
  const cluster = new ClusterState();
  for (const n of nodes) cluster.setNode(n);
  return cluster;
}

/** Schedules and takes it into account. */
function place(p: Pod, cluster: ClusterState): string {
  const placement = schedule(p, cluster);
  if (placement.node === undefined) return placement.message;
  cluster.place(placedPod(p, placement.node));
  return placement.node;
}

describe('schedule', () => {
  test('spreads the pods of one owner, then all pods', () => {
    const cluster = state(node('a'), node('b'), node('c'));
    for (let i = 0; i < 5; i++) cluster.place(placedPod(pod(), 'a'));
    expect(['x', 'x', 'x', 'x'].map((owner) => place(pod({}, {}, owner), cluster))).toEqual(['b', 'c', 'a', 'b']);
    expect(place(pod(), cluster)).toBe('c');
  });

  test('says why each node does not fit', () => {
    const cluster = state(
      node('a', { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] }),
      node('b', { unschedulable: true }),
      node('c'),
      node('d', { labels: { disk: 'ssd' } }),
    );
    const port = { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] };
    cluster.place(placedPod(pod(port), 'd'));
    expect(schedule(pod({ ...port, nodeSelector: { disk: 'ssd' } }), cluster)).toEqual({
      message:
        "0/4 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 node(s) were unschedulable. preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling.",
    });
    expect(schedule(pod(), state())).toEqual({ message: 'no nodes available to schedule pods' });
  });

  test('a toleration opens a tainted and a cordoned node', () => {
    const cluster = state(
      node('a', { unschedulable: true, taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] }),
    );
    const tolerations = [{ operator: 'Exists' as const }];
    expect(place(pod({ tolerations }), cluster)).toBe('a');
  });

  test('goes where it is preferred, and away from soft taints', () => {
    const term = { matchExpressions: [{ key: 'zone', operator: 'In' as const, values: ['z2'] }] };
    const affinity = {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference: term }] },
    };
    const cluster = state(node('a', { labels: { zone: 'z1' } }), node('b', { labels: { zone: 'z2' } }));
    expect(place(pod({ affinity }), cluster)).toBe('b');
    const soft = state(node('a', { taints: [{ key: 'old', effect: 'PreferNoSchedule' }] }), node('b'));
    soft.place(placedPod(pod(), 'b'));
    expect(place(pod(), soft)).toBe('b');
  });

  test('a DaemonSet pod goes to the node it names', () => {
    const terms = [{ matchFields: [{ key: 'metadata.name', operator: 'In' as const, values: ['b'] }] }];
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
    expect(place(pod({ affinity }), state(node('a'), node('b')))).toBe('b');
  });

  test('keeps to the skew that topology constraints allow', () => {
    const constraint = {
      maxSkew: 1,
      topologyKey: 'zone',
      whenUnsatisfiable: 'DoNotSchedule' as const,
      labelSelector: { matchLabels: { app: 'web' } },
    };
    const spec = { topologySpreadConstraints: [constraint] };
    const cluster = state(
      node('a', { labels: { zone: 'z1' } }),
      node('b', { labels: { zone: 'z1' } }),
      node('c', { labels: { zone: 'z2' } }),
    );
    const placed = Array.from({ length: 6 }, () => place(pod(spec, { app: 'web' }), cluster));
    expect(placed.filter((n) => n === 'c')).toHaveLength(3);
    cluster.removeNode('c');
    cluster.setNode(node('c', { labels: { zone: 'z2' }, taints: [{ key: 'x', effect: 'NoSchedule' }] }));
    place(pod(spec, { app: 'web' }), cluster);
    // z2 counts as a domain although nothing can go there, as in Kubernetes.
    expect(place(pod(spec, { app: 'web' }), cluster)).toContain(
      "2 node(s) didn't match pod topology spread constraints",
    );
  });

  test('anti-affinity holds both ways, affinity lets the first pod in', () => {
    const term = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'db' } } };
    const anti = { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    const cluster = state(node('a'), node('b'));
    expect([place(pod(anti, { app: 'db' }), cluster), place(pod(anti, { app: 'db' }), cluster)]).toEqual(['a', 'b']);
    expect(place(pod(anti, { app: 'db' }), cluster)).toContain("2 node(s) didn't match pod anti-affinity rules");
    expect(place(pod({}, { app: 'db' }), cluster)).toContain(
      "2 node(s) didn't satisfy existing pods anti-affinity rules",
    );
    const near = { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    const fresh = state(node('a'), node('b'));
    const first = place(pod(near, { app: 'db' }), fresh);
    expect([0, 1, 2].map(() => place(pod(near, { app: 'db' }), fresh))).toEqual([first, first, first]);
    expect(place(pod(near, { app: 'web' }), state(node('a')))).toContain("1 node(s) didn't match pod affinity rules");
  });

  test('a pod that left makes room', () => {
    const port = {
      hostNetwork: true,
      containers: [{ name: 'c', ports: [{ containerPort: 53, protocol: 'UDP' as const }] }],
    };
    const cluster = state(node('a'));
    const first = pod(port);
    expect(place(first, cluster)).toBe('a');
    expect(schedule(pod(port), cluster).node).toBeUndefined();
    cluster.remove(`default/${first.metadata.name}`);
    expect(place(pod(port), cluster)).toBe('a');
  });
});

test.each([
  [['TCP/0.0.0.0/80'], ['TCP/127.0.0.1/80'], true],
  [['TCP/10.0.0.1/80'], ['TCP/127.0.0.1/80'], false],
  [['TCP/0.0.0.0/80'], ['UDP/0.0.0.0/80'], false],
  [['TCP/0.0.0.0/80'], ['TCP/0.0.0.0/81'], false],
])('ports %j and %j conflict: %s', (a, b, conflict) => {
  expect(portsConflict(a, b)).toBe(conflict);
});

describe('tolerations', () => {
  const taint: Taint = { key: 'k', value: 'v', effect: 'NoExecute' };
  test.each([
    [{ key: 'k', operator: 'Equal', value: 'v' }, true],
    [{ key: 'k', value: 'v', effect: 'NoExecute' }, true],
    [{ key: 'k', value: 'w' }, false],
    [{ key: 'k', operator: 'Exists' }, true],
    [{ operator: 'Exists' }, true],
    [{ key: 'other', operator: 'Exists' }, false],
    [{ key: 'k', operator: 'Exists', effect: 'NoSchedule' }, false],
    [{ value: 'v' }, false],
  ] as const)('%j tolerates: %s', (toleration, want) => {
    expect(tolerates(toleration, taint)).toBe(want);
    expect(untolerated([taint], [toleration]) === undefined).toBe(want);
  });

  test('only the effects asked for count', () => {
    expect(untolerated([{ key: 'k', effect: 'PreferNoSchedule' }], undefined)).toBeUndefined();
  });
});

test('node selector terms are alternatives, their parts are not', () => {
  const n = node('a', { labels: { zone: 'z1', size: '8' } });
  const fits = (...terms: NonNullable<NonNullable<Pod['spec']['affinity']>['nodeAffinity']>[keyof object][]): boolean =>
    matchesNode(
      {
        containers: [],
        affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } },
      },
      n,
    );
  const zone = { key: 'zone', operator: 'In' as const, values: ['z1'] };
  const big = { key: 'size', operator: 'Gt' as const, values: ['16'] };
  expect(fits({ matchExpressions: [zone] } as never)).toBe(true);
  expect(fits({ matchExpressions: [zone, big] } as never)).toBe(false);
  expect(fits({ matchExpressions: [big] } as never, { matchExpressions: [zone] } as never)).toBe(true);
  expect(fits({} as never)).toBe(false);
});
