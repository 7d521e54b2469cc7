import type { Pod } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { type Body, Steps } from './helpers.ts';

const PODS = '/pods';

const pod = (spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): Body => ({
  metadata: { name: 'p', namespace: 'default', ...metadata },
  spec: { containers: [{ name: 'c', image: 'nginx' }], ...spec },
});
const container = (fields: Record<string, unknown>): Body =>
  pod({ containers: [{ name: 'c', image: 'nginx', ...fields }] });

function accepted(body: Body, steps = new Steps()): Pod {
  const { obj, errors } = steps.create<Pod>(PODS, body);
  expect(errors).toEqual([]);
  return obj;
}

describe('defaults', () => {
  it('says at once that a pod is held back by gates', () => {
    const message = 'Scheduling is blocked due to non-empty scheduling gates';
    expect(accepted(pod({ schedulingGates: [{ name: 'example.com/wait' }] })).status?.conditions).toEqual([
      { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message },
    ]);
    expect(accepted(pod()).status?.conditions).toBeUndefined();
  });

  it('fills what a client leaves out', () => {
    const { spec, status } = accepted(
      container({ ports: [{ containerPort: 80 }], readinessProbe: { httpGet: { port: 80 } } }),
    );
    expect(spec).toEqual({
      containers: [
        {
          name: 'c',
          image: 'nginx',
          imagePullPolicy: 'Always',
          ports: [{ containerPort: 80, protocol: 'TCP' }],
          readinessProbe: {
            failureThreshold: 3,
            httpGet: { path: '/', port: 80, scheme: 'HTTP' },
            periodSeconds: 10,
            successThreshold: 1,
            timeoutSeconds: 1,
          },
          resources: {},
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
        },
      ],
      dnsPolicy: 'ClusterFirst',
      enableServiceLinks: true,
      preemptionPolicy: 'PreemptLowerPriority',
      priority: 0,
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
      securityContext: {},
      serviceAccount: 'default',
      serviceAccountName: 'default',
      terminationGracePeriodSeconds: 30,
      tolerations: [
        { effect: 'NoExecute', key: 'node.kubernetes.io/not-ready', operator: 'Exists', tolerationSeconds: 300 },
        { effect: 'NoExecute', key: 'node.kubernetes.io/unreachable', operator: 'Exists', tolerationSeconds: 300 },
      ],
    });
    expect(status).toEqual({ phase: 'Pending', qosClass: 'BestEffort' });
  });

  it.each([
    ['nginx', 'Always'],
    ['nginx:latest', 'Always'],
    ['localhost:5000/nginx', 'Always'],
    ['nginx:1.27', 'IfNotPresent'],
    ['localhost:5000/nginx:1', 'IfNotPresent'],
    [`nginx@sha256:${'0'.repeat(64)}`, 'IfNotPresent'],
  ])('pulls %s %s', (image, policy) => {
    expect(accepted(container({ image })).spec.containers[0]?.imagePullPolicy).toBe(policy);
  });

  it('makes volumes complete', () => {
    const volumes = [
      { name: 'a' },
      { name: 'b', configMap: { name: 'x' } },
      { name: 'c', secret: { secretName: 'x' } },
      { name: 'd', hostPath: { path: '/x' } },
    ];
    expect(accepted(pod({ volumes })).spec.volumes).toEqual([
      { name: 'a', emptyDir: {} },
      { name: 'b', configMap: { name: 'x', defaultMode: 420 } },
      { name: 'c', secret: { secretName: 'x', defaultMode: 420 } },
      { name: 'd', hostPath: { path: '/x', type: '' } },
    ]);
  });

  it('mounts the token of the account, unless told otherwise', () => {
    const steps = new Steps();
    steps.store('/serviceaccounts', {
      metadata: { name: 'default', namespace: 'default' },
      imagePullSecrets: [{ name: 'reg' }],
    });
    const { spec } = accepted(pod({ initContainers: [{ name: 'i', image: 'busybox' }] }), steps);
    const volume = spec.volumes?.[0];
    expect(volume?.name).toMatch(/^kube-api-access-[a-z0-9]{5}$/);
    expect(volume?.projected).toEqual({
      defaultMode: 420,
      sources: [
        { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    });
    const mount = { name: volume?.name, readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' };
    expect(spec.containers[0]?.volumeMounts).toEqual([mount]);
    expect(spec.initContainers?.[0]?.volumeMounts).toEqual([mount]);
    expect(spec.imagePullSecrets).toEqual([{ name: 'reg' }]);
    expect(accepted(pod({ automountServiceAccountToken: false }), steps).spec.volumes).toBeUndefined();
  });

  it('reads the priority from the class', () => {
    const steps = new Steps();
    steps.store('scheduling.k8s.io/priorityclasses', { metadata: { name: 'high' }, value: 1000 });
    expect(accepted(pod({ priorityClassName: 'high' }), steps).spec.priority).toBe(1000);
    expect(accepted(pod({ priorityClassName: 'system-node-critical' }), steps).spec.priority).toBe(2_000_001_000);
  });

  it('refuses a pod whose account or class does not exist', () => {
    const create = (spec: Record<string, unknown>) => () => new Steps().create(PODS, pod(spec));
    expect(create({ serviceAccountName: 'robot' })).toThrow(
      'pods "p" is forbidden: error looking up service account default/robot: serviceaccount "robot" not found',
    );
    expect(create({ priorityClassName: 'high' })).toThrow(
      'pods "p" is forbidden: no PriorityClass with name high was found',
    );
  });

  it('keeps tolerations that say it differently', () => {
    const all = [{ operator: 'Exists' }];
    expect(accepted(pod({ tolerations: all })).spec.tolerations).toEqual(all);
  });

  it.each([
    [{}, 'BestEffort'],
    [{ requests: { cpu: '100m' } }, 'Burstable'],
    [{ limits: { cpu: '1' } }, 'Burstable'],
    [{ limits: { cpu: '1', memory: '1Gi' } }, 'Guaranteed'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } }, 'Guaranteed'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '500m' } }, 'Burstable'],
  ])('%j is %s', (resources, qos) => {
    expect(accepted(container({ resources })).status?.qosClass).toBe(qos);
  });
});

describe('validation', () => {
  const at = 'spec.containers[0]';
  it.each<[string, Body, string[]]>([
    ['no containers', pod({ containers: [] }), ['spec.containers: Required value']],
    ['no image', container({ image: '' }), [`${at}.image: Required value`]],
    [
      'image with a space',
      container({ image: ' nginx' }),
      [`${at}.image: Invalid value: " nginx": must not have leading or trailing whitespace`],
    ],
    ['no name', container({ name: '' }), [`${at}.name: Required value`]],
    [
      'names twice',
      pod({
        containers: [
          { name: 'a', image: 'x' },
          { name: 'a', image: 'x' },
        ],
      }),
      ['spec.containers[1].name: Duplicate value: "a"'],
    ],
    ['no port', container({ ports: [{}] }), [`${at}.ports[0].containerPort: Required value`]],
    [
      'port',
      container({ ports: [{ containerPort: 70000 }] }),
      [`${at}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive`],
    ],
    [
      'port names',
      container({
        ports: [
          { name: 'a', containerPort: 1 },
          { name: 'a', containerPort: 2 },
        ],
      }),
      [`${at}.ports[1].name: Duplicate value: "a"`],
    ],
    [
      'port name',
      container({ ports: [{ name: '123', containerPort: 1 }] }),
      [`${at}.ports[0].name: Invalid value: "123": must contain at least one letter (a-z)`],
    ],
    [
      'host ports',
      container({
        ports: [
          { containerPort: 1, hostPort: 80 },
          { containerPort: 2, hostPort: 80 },
        ],
      }),
      [`${at}.ports[1].hostPort: Duplicate value: "TCP//80"`],
    ],
    [
      'hostNetwork',
      pod({ hostNetwork: true, containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 1, hostPort: 2 }] }] }),
      [`${at}.ports[0].containerPort: Invalid value: 1: must match \`hostPort\` when \`hostNetwork\` is true`],
    ],
    [
      'env name',
      container({ env: [{ name: 'a=b' }] }),
      [
        `${at}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '=' (regex used for validation is '^[ -<>-~]+$')`,
      ],
    ],
    [
      'env two sources',
      container({ env: [{ name: 'a', value: 'x', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }] }),
      [`${at}.env[0].valueFrom: Invalid value: "": may not be specified when \`value\` is not empty`],
    ],
    [
      'env field',
      container({ env: [{ name: 'a', valueFrom: { fieldRef: { fieldPath: 'spec.x' } } }] }),
      [
        `${at}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
      ],
    ],
    [
      'mount without volume',
      container({ volumeMounts: [{ name: 'v', mountPath: '/x' }] }),
      [`${at}.volumeMounts[0].name: Not found: "v"`],
    ],
    [
      'two kinds of volume',
      pod({ volumes: [{ name: 'v', emptyDir: {}, hostPath: { path: '/' } }] }),
      ['spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type'],
    ],
    ['volumes twice', pod({ volumes: [{ name: 'v' }, { name: 'v' }] }), ['spec.volumes[1].name: Duplicate value: "v"']],
    [
      'configMap without name',
      pod({ volumes: [{ name: 'v', configMap: {} }] }),
      ['spec.volumes[0].configMap.name: Required value'],
    ],
    [
      'probe without handler',
      container({ livenessProbe: {} }),
      [`${at}.livenessProbe: Required value: must specify a handler type`],
    ],
    [
      'probe with two',
      container({ livenessProbe: { exec: { command: ['x'] }, tcpSocket: { port: 1 } } }),
      [`${at}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`],
    ],
    [
      'liveness threshold',
      container({ livenessProbe: { exec: { command: ['x'] }, successThreshold: 2 } }),
      [`${at}.livenessProbe.successThreshold: Invalid value: 2: must be 1`],
    ],
    [
      'init container with probe',
      pod({ initContainers: [{ name: 'i', image: 'x', readinessProbe: { tcpSocket: { port: 1 } } }] }),
      [
        'spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
      ],
    ],
    [
      'restart policy',
      pod({ restartPolicy: 'Sometimes' }),
      ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
    ],
    [
      'dns policy',
      pod({ dnsPolicy: 'None' }),
      ['spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None'],
    ],
    [
      'dns policy without a server',
      pod({ dnsPolicy: 'None', dnsConfig: {} }),
      ['spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None'],
    ],
    [
      'nameservers',
      pod({ dnsConfig: { nameservers: ['x'] } }),
      [
        'spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      ],
    ],
    [
      'requests above limits',
      container({ resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } }),
      [`${at}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`],
    ],
    [
      'deadline',
      pod({ activeDeadlineSeconds: 0 }),
      ['spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive'],
    ],
    [
      'toleration',
      pod({ tolerations: [{ key: 'a', operator: 'Like' }] }),
      ['spec.tolerations[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists"'],
    ],
    [
      'privileged',
      container({ securityContext: { privileged: true, allowPrivilegeEscalation: false } }),
      [
        `${at}.securityContext: Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: cannot set \`allowPrivilegeEscalation\` to false and \`privileged\` to true`,
      ],
    ],
  ])('%s', (_what, body, messages) => {
    expect(new Steps().create(PODS, body).errors).toEqual(messages);
  });

  it('accepts a sidecar with a probe', () => {
    accepted(
      pod({
        initContainers: [
          { name: 'i', image: 'x', restartPolicy: 'Always', readinessProbe: { tcpSocket: { port: 1 } } },
        ],
      }),
    );
  });
});

describe('update', () => {
  const steps = new Steps();
  const old = accepted(pod(), steps);
  const change = (edit: (p: Pod) => void): string[] => steps.change<Pod>(PODS, old, edit).errors;

  it('may change images, deadlines and add tolerations', () => {
    expect(change((p) => Object.assign(p.spec.containers[0] ?? {}, { image: 'nginx:2' }))).toEqual([]);
    expect(change((p) => Object.assign(p.spec, { activeDeadlineSeconds: 5 }))).toEqual([]);
    expect(change((p) => p.spec.tolerations?.push({ key: 'x', operator: 'Exists' }))).toEqual([]);
    expect(change((p) => Object.assign(p.metadata, { labels: { a: 'b' } }))).toEqual([]);
  });

  it('may change nothing else', () => {
    const [text] = change((p) => Object.assign(p.spec, { hostNetwork: true }));
    expect(text).toMatch(
      /^spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`,`spec\.initContainers\[\*\]\.image`,`spec\.activeDeadlineSeconds`,`spec\.tolerations` \(only additions to existing tolerations\),`spec\.terminationGracePeriodSeconds` \(allow it to be set to 1 if it was previously negative\)/,
    );
    expect(text).toContain('changed: spec.hostNetwork');
    expect(change((p) => p.spec.containers.push({ name: 'd', image: 'x' }))).toEqual([
      'spec.containers: Forbidden: pod updates may not add or remove containers',
    ]);
    expect(change((p) => Object.assign(p.spec, { tolerations: [] }))).toEqual([
      'spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
    ]);
  });

  it('keeps podIP and podIPs in step, and the class of service', () => {
    const next = structuredClone(old);
    next.status = { phase: 'Running', podIP: '10.244.0.5', hostIPs: [{ ip: '10.0.0.1' }] };
    steps.strategy(PODS).prepareStatusUpdate?.(next, old, {
      get: () => undefined,
      list: () => [],
      now: () => new Date(0),
      dryRun: false,
    });
    expect(next.status).toEqual({
      phase: 'Running',
      podIP: '10.244.0.5',
      podIPs: [{ ip: '10.244.0.5' }],
      hostIP: '10.0.0.1',
      hostIPs: [{ ip: '10.0.0.1' }],
      qosClass: 'BestEffort',
    });
  });
});

describe('deletion', () => {
  const grace = (fields: Partial<Pod['spec']>, phase: string, requested?: number): number | undefined => {
    const body = { ...pod(fields), status: { phase } } as unknown as Pod;
    return new Steps().strategy(PODS).gracefulDelete?.(body, requested);
  };

  it('waits only for pods that run on a node', () => {
    expect(grace({ nodeName: 'n1', terminationGracePeriodSeconds: 30 }, 'Running')).toBe(30);
    expect(grace({ nodeName: 'n1', terminationGracePeriodSeconds: 30 }, 'Running', 5)).toBe(5);
    expect(grace({ nodeName: 'n1', terminationGracePeriodSeconds: 30 }, 'Running', 0)).toBe(0);
    expect(grace({ nodeName: 'n1', terminationGracePeriodSeconds: -1 }, 'Running')).toBe(1);
    expect(grace({ terminationGracePeriodSeconds: 30 }, 'Pending')).toBe(0);
    expect(grace({ nodeName: 'n1', terminationGracePeriodSeconds: 30 }, 'Succeeded')).toBe(0);
  });
});
