import { describe, expect, it } from 'vitest';
import { humanDuration } from '../../src/table/age.ts';
import { type Body, secondsAgo, Steps } from './helpers.ts';

const steps = new Steps();
const row = (id: string, body: Body): Record<string, unknown> => steps.row(id, body);
const cells = (id: string, body: Body): unknown[] => Object.values(row(id, body));
const meta = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name,
  creationTimestamp: secondsAgo(90),
  ...more,
});

const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;

describe('humanDuration', () => {
  it.each([
    [-5 * S, '<invalid>'],
    [-1.5 * S, '0s'],
    [0, '0s'],
    [119 * S, '119s'],
    [120 * S, '2m'],
    [125 * S, '2m5s'],
    [10 * M + 30 * S, '10m'],
    [179 * M, '179m'],
    [180 * M, '3h'],
    [7 * H + 59 * M, '7h59m'],
    [8 * H + 59 * M, '8h'],
    [47 * H, '47h'],
    [48 * H, '2d'],
    [50 * H, '2d2h'],
    [8 * D + 5 * H, '8d'],
    [729 * D, '729d'],
    [730 * D, '2y'],
    [800 * D, '2y70d'],
    [8 * 365 * D + D, '8y'],
  ])('%d ms is %s', (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
});

interface ContainerOptions {
  readonly name?: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: Record<string, unknown>;
  readonly lastState?: Record<string, unknown>;
  readonly started?: boolean;
}
const status = (options: ContainerOptions): Record<string, unknown> => ({
  name: 'c',
  ready: false,
  restartCount: 0,
  ...options,
});
const running = (options: ContainerOptions = {}): Record<string, unknown> =>
  status({ ready: true, state: { running: {} }, ...options });
const waiting = (reason: string, options: ContainerOptions = {}): Record<string, unknown> =>
  status({ state: { waiting: { reason } }, ...options });
const ended = (terminated: Record<string, unknown>, options: ContainerOptions = {}): Record<string, unknown> =>
  status({ state: { terminated: { exitCode: 0, ...terminated } }, ...options });

describe('pods', () => {
  const pod = (
    podStatus: Record<string, unknown>,
    spec: Record<string, unknown> = {},
    metadata: Record<string, unknown> = {},
  ): Body => ({
    metadata: meta('p', metadata),
    spec: { containers: [{ name: 'c' }], ...spec },
    status: { phase: 'Running', ...podStatus },
  });
  const two = { containers: [{ name: 'c' }, { name: 'd' }] };
  const init = (n: number): Record<string, unknown> => ({
    initContainers: Array.from({ length: n }, (_, i) => ({ name: `i${i}` })),
  });
  const sidecar = { initContainers: [{ name: 'i0', restartPolicy: 'Always' }] };

  it.each<[string, Body, string, string, string]>([
    ['running', pod({ containerStatuses: [running()] }), '1/1', 'Running', '0'],
    ['pending', pod({ phase: 'Pending' }), '0/1', 'Pending', '0'],
    [
      'creating',
      pod({ phase: 'Pending', containerStatuses: [waiting('ContainerCreating')] }),
      '0/1',
      'ContainerCreating',
      '0',
    ],
    [
      'crash loop',
      pod({
        containerStatuses: [
          waiting('CrashLoopBackOff', { restartCount: 3, lastState: { terminated: { finishedAt: secondsAgo(5) } } }),
        ],
      }),
      '0/1',
      'CrashLoopBackOff',
      '3 (5s ago)',
    ],
    ['restarted at an unknown time', pod({ containerStatuses: [running({ restartCount: 2 })] }), '1/1', 'Running', '2'],
    [
      'image missing',
      pod({ phase: 'Pending', containerStatuses: [waiting('ImagePullBackOff')] }),
      '0/1',
      'ImagePullBackOff',
      '0',
    ],
    [
      'completed',
      pod({ phase: 'Succeeded', containerStatuses: [ended({ reason: 'Completed' })] }),
      '0/1',
      'Completed',
      '0',
    ],
    [
      'error',
      pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 1, reason: 'Error' })] }),
      '0/1',
      'Error',
      '0',
    ],
    ['exit code', pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 3 })] }), '0/1', 'ExitCode:3', '0'],
    [
      'signal',
      pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 137, signal: 9 })] }),
      '0/1',
      'Signal:9',
      '0',
    ],
    ['evicted', pod({ phase: 'Failed', reason: 'Evicted' }), '0/1', 'Evicted', '0'],
    [
      'one of two done, ready',
      pod(
        {
          containerStatuses: [ended({ reason: 'Completed' }), running({ name: 'd' })],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
        two,
      ),
      '1/2',
      'Running',
      '0',
    ],
    [
      'one of two done, not ready',
      pod({ containerStatuses: [ended({ reason: 'Completed' }), running({ name: 'd' })] }, two),
      '1/2',
      'NotReady',
      '0',
    ],
    [
      'terminating',
      pod({ containerStatuses: [running()] }, {}, { deletionTimestamp: secondsAgo(1) }),
      '1/1',
      'Terminating',
      '0',
    ],
    [
      'terminating, but ended',
      pod(
        { phase: 'Succeeded', containerStatuses: [ended({ reason: 'Completed' })] },
        {},
        { deletionTimestamp: secondsAgo(1) },
      ),
      '0/1',
      'Completed',
      '0',
    ],
    [
      'node lost',
      pod({ reason: 'NodeLost', containerStatuses: [running()] }, {}, { deletionTimestamp: secondsAgo(1) }),
      '1/1',
      'Unknown',
      '0',
    ],
    [
      'gated',
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }),
      '0/1',
      'SchedulingGated',
      '0',
    ],
    [
      'init 0 of 2',
      pod({ phase: 'Pending', initContainerStatuses: [running({ name: 'i0', ready: false })] }, init(2)),
      '0/1',
      'Init:0/2',
      '0',
    ],
    [
      'init 1 of 2',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [ended({}, { name: 'i0' }), waiting('PodInitializing', { name: 'i1' })],
        },
        init(2),
      ),
      '0/1',
      'Init:1/2',
      '0',
    ],
    [
      'init waits',
      pod({ phase: 'Pending', initContainerStatuses: [waiting('ImagePullBackOff', { name: 'i0' })] }, init(1)),
      '0/1',
      'Init:ImagePullBackOff',
      '0',
    ],
    [
      'init failed',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [ended({ exitCode: 1, reason: 'Error' }, { name: 'i0', restartCount: 1 })],
        },
        init(1),
      ),
      '0/1',
      'Init:Error',
      '1',
    ],
    [
      'init exit code',
      pod({ phase: 'Pending', initContainerStatuses: [ended({ exitCode: 2 }, { name: 'i0' })] }, init(1)),
      '0/1',
      'Init:ExitCode:2',
      '0',
    ],
    [
      'after init',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [ended({}, { name: 'i0', restartCount: 4 })],
          containerStatuses: [waiting('PodInitializing')],
        },
        init(1),
      ),
      '0/1',
      'PodInitializing',
      '0',
    ],
    [
      'sidecar',
      pod(
        {
          initContainerStatuses: [running({ name: 'i0', started: true, restartCount: 2 })],
          containerStatuses: [running({ restartCount: 1 })],
        },
        sidecar,
      ),
      '2/2',
      'Running',
      '3',
    ],
  ])('%s', (_what, body, ready, text, restarts) => {
    expect(row('/pods', body)).toMatchObject({ Name: 'p', Ready: ready, Status: text, Restarts: restarts, Age: '90s' });
  });

  it('has the wide columns', () => {
    const gates = { readinessGates: [{ conditionType: 'a/x' }, { conditionType: 'a/y' }], nodeName: 'n1' };
    const wide = row(
      '/pods',
      pod(
        { podIPs: [{ ip: '10.244.1.5' }], nominatedNodeName: 'n2', conditions: [{ type: 'a/x', status: 'True' }] },
        gates,
      ),
    );
    expect(wide).toMatchObject({ IP: '10.244.1.5', Node: 'n1', 'Nominated Node': 'n2', 'Readiness Gates': '1/2' });
    expect(row('/pods', pod({}))).toMatchObject({
      IP: '<none>',
      Node: '<none>',
      'Nominated Node': '<none>',
      'Readiness Gates': '<none>',
    });
    const shown = steps.strategy('/pods').columns.filter((c) => c.priority === 0);
    expect(shown.map((c) => c.name)).toEqual(['Name', 'Ready', 'Status', 'Restarts', 'Age']);
  });
});

describe('nodes', () => {
  const node = (spec: Record<string, unknown>, conditions: unknown[], labels = {}): Body => ({
    metadata: meta('n1', { labels }),
    spec,
    status: {
      conditions,
      addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
      nodeInfo: {
        kubeletVersion: 'v1.33.0',
        osImage: 'Debian',
        kernelVersion: '6.18',
        containerRuntimeVersion: 'runc://1.1',
      },
    },
  });

  it('shows status and roles', () => {
    const labels = { 'node-role.kubernetes.io/worker': '', 'node-role.kubernetes.io/control-plane': '' };
    expect(cells('/nodes', node({}, [{ type: 'Ready', status: 'True' }], labels))).toEqual([
      'n1',
      'Ready',
      'control-plane,worker',
      '90s',
      'v1.33.0',
      '10.0.0.1',
      '<none>',
      'Debian',
      '6.18',
      'runc://1.1',
    ]);
    expect(row('/nodes', node({ unschedulable: true }, [{ type: 'Ready', status: 'False' }]))).toMatchObject({
      Status: 'NotReady,SchedulingDisabled',
      Roles: '<none>',
    });
    expect(row('/nodes', node({}, [])).Status).toBe('Unknown');
    expect(row('/nodes', node({}, [{ type: 'Ready', status: 'Unknown' }])).Status).toBe('NotReady');
  });
});

describe('endpoints', () => {
  it('lists three and counts the rest', () => {
    const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'].map((ip) => ({ ip }));
    const of = (subsets: unknown): unknown => row('/endpoints', { metadata: meta('e'), subsets }).Endpoints;
    expect(of([{ addresses, ports: [{ port: 80 }] }])).toBe('10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...');
    expect(of([{ addresses: [{ ip: 'fd00::1' }], ports: [{ port: 80 }] }])).toBe('[fd00::1]:80');
    expect(of([{ addresses: [{ ip: '10.0.0.1' }] }])).toBe('10.0.0.1');
    expect(of(undefined)).toBe('<none>');
    expect(of(null)).toBe('<none>');
  });

  it('shows slices', () => {
    const slice = (endpoints: unknown, ports: unknown): unknown[] =>
      cells('discovery.k8s.io/endpointslices', { metadata: meta('s'), addressType: 'IPv4', endpoints, ports });
    expect(slice([{ addresses: ['10.0.0.1'] }, { addresses: ['10.0.0.2'] }], [{ port: 80 }, { port: 443 }])).toEqual([
      's',
      'IPv4',
      '80,443',
      '10.0.0.1,10.0.0.2',
      '90s',
    ]);
    expect(slice(null, null)).toEqual(['s', 'IPv4', '<unset>', '<unset>', '90s']);
  });
});

describe('workloads', () => {
  const template = {
    spec: {
      containers: [
        { name: 'a', image: 'x' },
        { name: 'b', image: 'y' },
      ],
      nodeSelector: { disk: 'ssd' },
    },
  };
  const selector = { matchLabels: { app: 'web' } };

  it('shows Deployments, ReplicaSets, DaemonSets and StatefulSets', () => {
    const spec = { replicas: 3, selector, template };
    expect(
      cells('apps/deployments', {
        metadata: meta('d'),
        spec,
        status: { readyReplicas: 2, updatedReplicas: 3, availableReplicas: 1 },
      }),
    ).toEqual(['d', '2/3', 3, 1, '90s', 'a,b', 'x,y', 'app=web']);
    expect(cells('apps/replicasets', { metadata: meta('r'), spec, status: { replicas: 3, readyReplicas: 1 } })).toEqual(
      ['r', 3, 3, 1, '90s', 'a,b', 'x,y', 'app=web'],
    );
    const daemon = {
      desiredNumberScheduled: 3,
      currentNumberScheduled: 3,
      numberReady: 2,
      updatedNumberScheduled: 3,
      numberAvailable: 2,
    };
    expect(cells('apps/daemonsets', { metadata: meta('d'), spec, status: daemon })).toEqual([
      'd',
      3,
      3,
      2,
      3,
      2,
      'disk=ssd',
      '90s',
      'a,b',
      'x,y',
      'app=web',
    ]);
    expect(cells('apps/statefulsets', { metadata: meta('s'), spec, status: { readyReplicas: 1 } })).toEqual([
      's',
      '1/3',
      '90s',
      'a,b',
      'x,y',
    ]);
  });

  it('shows Jobs and CronJobs', () => {
    const job = (spec: Record<string, unknown>, jobStatus: Record<string, unknown>): unknown[] =>
      cells('batch/jobs', { metadata: meta('j'), spec: { template, selector, ...spec }, status: jobStatus }).slice(
        1,
        4,
      );
    expect(job({ completions: 1 }, { startTime: secondsAgo(60) })).toEqual(['Running', '0/1', '60s']);
    expect(
      job(
        { completions: 3 },
        {
          succeeded: 3,
          startTime: secondsAgo(60),
          completionTime: secondsAgo(20),
          conditions: [{ type: 'Complete', status: 'True' }],
        },
      ),
    ).toEqual(['Complete', '3/3', '40s']);
    expect(job({ parallelism: 4 }, { conditions: [{ type: 'Failed', status: 'True' }] })).toEqual([
      'Failed',
      '0/1 of 4',
      '',
    ]);
    const cron = { schedule: '*/5 * * * *', suspend: false, jobTemplate: { spec: { template } } };
    expect(
      cells('batch/cronjobs', { metadata: meta('c'), spec: cron, status: { lastScheduleTime: secondsAgo(30) } }),
    ).toEqual(['c', '*/5 * * * *', '<none>', 'False', 0, '30s', '90s', 'a,b', 'x,y', '<none>']);
  });
});

describe('other kinds', () => {
  it('shows events', () => {
    const event = {
      metadata: meta('e'),
      type: 'Warning',
      reason: 'BackOff',
      message: ' Back-off\n',
      involvedObject: { kind: 'Pod', name: 'p' },
      source: { component: 'kubelet', host: 'n1' },
    };
    expect(
      row('/events', { ...event, firstTimestamp: secondsAgo(600), lastTimestamp: secondsAgo(10), count: 7 }),
    ).toMatchObject({
      'Last Seen': '10s',
      Type: 'Warning',
      Reason: 'BackOff',
      Object: 'pod/p',
      Message: 'Back-off',
      Source: 'kubelet, n1',
      'First Seen': '10m',
      Count: 7,
    });
    expect(row('/events', { ...event, eventTime: '2025-12-31T23:59:30.000000Z' })).toMatchObject({
      'Last Seen': '30s',
      Count: 1,
    });
    expect(row('/events', { ...event, series: { count: 3, lastObservedTime: secondsAgo(4) } })).toMatchObject({
      'Last Seen': '4s',
      Count: 3,
    });
    const shown = steps.strategy('/events').columns.filter((c) => c.priority === 0);
    expect(shown.map((c) => c.name)).toEqual(['Last Seen', 'Type', 'Reason', 'Object', 'Message']);
  });

  it('shows the network kinds', () => {
    const spec = { ingressClassName: 'weft', tls: [{}], rules: ['a', 'b', 'c', 'd'].map((h) => ({ host: `${h}.io` })) };
    expect(
      cells('networking.k8s.io/ingresses', {
        metadata: meta('i'),
        spec,
        status: { loadBalancer: { ingress: [{ ip: '10.0.0.1' }] } },
      }),
    ).toEqual(['i', 'weft', 'a.io,b.io,c.io + 1 more...', '10.0.0.1', '80, 443', '90s']);
    expect(cells('networking.k8s.io/ingresses', { metadata: meta('i'), spec: {} })).toEqual([
      'i',
      '<none>',
      '*',
      '',
      '80',
      '90s',
    ]);
    expect(cells('networking.k8s.io/networkpolicies', { metadata: meta('n'), spec: { podSelector: {} } })).toEqual([
      'n',
      '<none>',
      '90s',
    ]);
    const expressions = {
      matchLabels: { b: '1' },
      matchExpressions: [
        { key: 'a', operator: 'In', values: ['y', 'x'] },
        { key: 'c', operator: 'DoesNotExist' },
      ],
    };
    expect(
      row('networking.k8s.io/networkpolicies', { metadata: meta('n'), spec: { podSelector: expressions } })[
        'Pod-Selector'
      ],
    ).toBe('a in (x,y),b=1,!c');
    expect(
      cells('networking.k8s.io/ingressclasses', {
        metadata: meta('c'),
        spec: { controller: 'weft.dev/x', parameters: { apiGroup: 'k', kind: 'P', name: 'n' } },
      }),
    ).toEqual(['c', 'weft.dev/x', 'P.k/n', '90s']);
    expect(
      cells('networking.k8s.io/servicecidrs', {
        metadata: meta('kubernetes'),
        spec: { cidrs: ['10.96.0.0/12', 'fd00::/112'] },
      }),
    ).toEqual(['kubernetes', '10.96.0.0/12,fd00::/112', '90s']);
    expect(
      row('networking.k8s.io/ipaddresses', {
        metadata: meta('10.96.0.1'),
        spec: { parentRef: { resource: 'services', namespace: 'default', name: 'kubernetes' } },
      }).ParentRef,
    ).toBe('services/default/kubernetes');
  });

  it('shows the small ones', () => {
    expect(cells('/configmaps', { metadata: meta('c'), data: { a: '1' }, binaryData: { b: '' } })).toEqual([
      'c',
      2,
      '90s',
    ]);
    expect(cells('/secrets', { metadata: meta('s'), type: 'Opaque', data: { a: '' } })).toEqual([
      's',
      'Opaque',
      1,
      '90s',
    ]);
    expect(cells('/serviceaccounts', { metadata: meta('s') })).toEqual(['s', 0, '90s']);
    expect(cells('/namespaces', { metadata: meta('n'), status: { phase: 'Active' } })).toEqual(['n', 'Active', '90s']);
    expect(cells('coordination.k8s.io/leases', { metadata: meta('l'), spec: { holderIdentity: 'n1' } })).toEqual([
      'l',
      'n1',
      '90s',
    ]);
    expect(cells('apiextensions.k8s.io/customresourcedefinitions', { metadata: meta('x.y') })).toEqual([
      'x.y',
      secondsAgo(90),
    ]);
    expect(
      cells('rbac.authorization.k8s.io/rolebindings', {
        metadata: meta('b'),
        roleRef: { kind: 'Role', name: 'r' },
        subjects: [
          { kind: 'User', name: 'u' },
          { kind: 'ServiceAccount', name: 's', namespace: 'n' },
        ],
      }),
    ).toEqual(['b', 'Role/r', '90s', 'u', '', 'n/s']);
    expect(
      cells('storage.k8s.io/storageclasses', {
        metadata: meta('c', { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } }),
        provisioner: 'p',
        reclaimPolicy: 'Delete',
        volumeBindingMode: 'Immediate',
      }),
    ).toEqual(['c (default)', 'p', 'Delete', 'Immediate', false, '90s']);
    expect(
      cells('/persistentvolumeclaims', {
        metadata: meta('c'),
        spec: { volumeName: 'v', storageClassName: 's', volumeMode: 'Filesystem' },
        status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] },
      }),
    ).toEqual(['c', 'Bound', 'v', '1Gi', 'RWO', 's', '<unset>', '90s', 'Filesystem']);
    expect(
      cells('policy/poddisruptionbudgets', {
        metadata: meta('b'),
        spec: { minAvailable: '50%' },
        status: { disruptionsAllowed: 1 },
      }),
    ).toEqual(['b', '50%', 'N/A', 1, '90s']);
    const metrics = [{ type: 'Resource', resource: { name: 'cpu', target: { averageUtilization: 80 } } }];
    expect(
      cells('autoscaling/horizontalpodautoscalers', {
        metadata: meta('h'),
        spec: { scaleTargetRef: { kind: 'Deployment', name: 'd' }, minReplicas: 1, maxReplicas: 3, metrics },
      }),
    ).toEqual(['h', 'Deployment/d', 'cpu: <unknown>/80%', '1', 3, 0, '90s']);
    expect(cells('node.k8s.io/runtimeclasses', { metadata: meta('r'), handler: 'runc' })).toEqual(['r', 'runc', '90s']);
    expect(cells('storage.k8s.io/csistoragecapacities', { metadata: meta('x') })).toEqual(['x', '90s']);
    expect(row('/configmaps', { metadata: { name: 'c' } }).Age).toBe('<unknown>');
  });
});
