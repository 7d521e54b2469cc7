// What people get wrong, and the words in which they are told: Kubernetes' own where it has some.
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustFail, mustMatch, type Ran, run, Running, until } from './support/run.ts';
import { box, pods, service, waitReady } from './support/workloads.ts';

const cluster = useCluster({ name: 'bad', flags: ['--nodes', '2', '--no-demo'] });

const apply = (manifest: string | object): Promise<Ran> => cluster.apply(manifest, { check: false });
const rejected = async (manifest: string | object, words: RegExp): Promise<void> => {
  mustFail(await apply(manifest), words);
};

function deployment(name: string, change: object = {}): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'busybox' }] } },
      ...change,
    },
  };
}

describe('manifests', () => {
  it('refuses invalid YAML', async () => {
    await rejected(
      'apiVersion: v1\nkind: Pod\n  metadata: {name: x\n',
      /error parsing STDIN: error converting YAML to JSON: yaml: line \d/,
    );
    await rejected(
      'apiVersion: v1\nkind: ConfigMap\n',
      /resource name may not be empty|metadata\.name: Required value/,
    );
  });

  it('refuses kinds and versions that nobody knows', async () => {
    await rejected(
      { apiVersion: 'example.com/v1', kind: 'Thing', metadata: { name: 'x' } },
      /no matches for kind "Thing" in version "example\.com\/v1"/,
    );
    await rejected(
      { apiVersion: 'extensions/v1beta1', kind: 'Ingress', metadata: { name: 'x' } },
      /no matches for kind "Ingress" in version "extensions\/v1beta1"/,
    );
  });

  it('refuses unknown and doubled fields, and only warns when asked to', async () => {
    const odd = { ...(deployment('odd') as Record<string, unknown>) };
    const spec = { ...(odd['spec'] as object), replica: 1 };
    await rejected({ ...odd, spec }, /strict decoding error: unknown field "spec\.replica"/);
    const warned = await cluster.kubectl(['apply', '--validate=warn', '-f', '-'], {
      input: JSON.stringify({ ...odd, spec }),
    });
    expect(warned.stderr).toMatch(/Warning: unknown field "spec\.replica"/);
    await cluster.kubectl(['delete', 'deployment', 'odd']);
    // kubectl keeps the last of two fields of one name; who sends both is told.
    const twice =
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"a":"1"},"data":{"b":"2"}}';
    const url = '/api/v1/namespaces/default/configmaps?fieldValidation=Strict';
    mustFail(
      await cluster.kubectl(['create', '--raw', url, '-f', '-'], { input: twice, check: false }),
      /strict decoding error: duplicate field "data"/,
    );
  });

  it('refuses values of the wrong type', async () => {
    await rejected(
      deployment('typed', { replicas: 'three' }),
      /(cannot handle|cannot be handled).*as a Deployment.*(json: cannot unmarshal string into Go struct field|replicas)/s,
    );
    await rejected(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'typed' }, data: { a: 1 } },
      /cannot be handled as a ConfigMap|cannot unmarshal number/,
    );
  });

  it('refuses names that are none', async () => {
    await rejected(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'Not_A_Name' } },
      /The ConfigMap "Not_A_Name" is invalid: metadata\.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '\.'/,
    );
    await rejected(
      service('9lives', { ports: [{ port: 80 }] }),
      /The Service "9lives" is invalid: metadata\.name: Invalid value: "9lives": a DNS-1035 label must consist of/,
    );
    await rejected(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', labels: { a: 'not a value' } } },
      /metadata\.labels: Invalid value: "not a value": a valid label must be/,
    );
  });

  it('refuses objects of a namespace that is not there', async () => {
    const ran = await cluster.kubectl(['-n', 'nowhere', 'create', 'configmap', 'x'], { check: false });
    mustFail(ran, /namespaces "nowhere" not found/);
  });

  it('refuses what is incomplete or contradicts itself', async () => {
    await rejected(
      { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'empty' }, spec: { containers: [] } },
      /The Pod "empty" is invalid: spec\.containers: Required value/,
    );
    await rejected(
      deployment('strange', { selector: { matchLabels: { app: 'other' } } }),
      /The Deployment "strange" is invalid: spec\.template\.metadata\.labels: Invalid value: .*: `selector` does not match template `labels`/,
    );
    await rejected(
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'two' },
        spec: {
          containers: [
            { name: 'c', image: 'a' },
            { name: 'c', image: 'b' },
          ],
        },
      },
      /spec\.containers\[1\]\.name: Duplicate value: "c"/,
    );
  });

  it('refuses to create twice, and to overwrite what has changed meanwhile', async () => {
    await cluster.kubectl(['create', 'configmap', 'mine', '--from-literal=a=1']);
    mustFail(
      await cluster.kubectl(['create', 'configmap', 'mine'], { check: false }),
      /configmaps "mine" already exists/,
    );
    const old = await cluster.json<object>(['get', 'cm', 'mine']);
    await cluster.kubectl(['label', 'cm', 'mine', 'x=y']);
    mustFail(
      await cluster.kubectl(['replace', '-f', '-'], { input: JSON.stringify(old), check: false }),
      /Error from server \(Conflict\).*Operation cannot be fulfilled on configmaps "mine": the object has been modified; please apply your changes to the latest version and try again/,
    );
  });
});

describe('fields that do not change', () => {
  it('keeps the selector of a Deployment', async () => {
    await cluster.apply(deployment('fixed'));
    const other = { app: 'fixed', more: 'x' };
    await rejected(
      deployment('fixed', {
        selector: { matchLabels: other },
        template: { metadata: { labels: other }, spec: { containers: [{ name: 'c', image: 'busybox' }] } },
      }),
      /The Deployment "fixed" is invalid: spec\.selector: Invalid value: .*: field is immutable/,
    );
  });

  it('keeps the ClusterIP of a Service, and immutable ConfigMaps', async () => {
    await cluster.apply(service('fixed', { ports: [{ port: 80 }] }));
    const ip = await cluster.ask(['get', 'svc', 'fixed', '-o', 'jsonpath={.spec.clusterIP}']);
    const other = ip.replace(/\d+$/, (d) => String((Number(d) % 200) + 20));
    await rejected(
      service('fixed', { clusterIP: other, ports: [{ port: 80 }] }),
      /spec\.clusterIPs?(\[0\])?: Invalid value: .*: (may not change once set|field is immutable)/,
    );
    const constant = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'constant' },
      immutable: true,
      data: { a: '1' },
    };
    await cluster.apply(constant);
    await rejected({ ...constant, data: { a: '2' } }, /data: Forbidden: field is immutable when `immutable` is set/);
  });

  it('keeps most of a pod', async () => {
    await cluster.apply(box('fixed'));
    await rejected(
      box('fixed', { spec: { containers: [{ name: 'box', image: 'busybox', command: ['sleep', '1'] }] } }),
      /The Pod "fixed" is invalid: spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`/,
    );
    await cluster.kubectl(['delete', 'pod', 'fixed', '--wait=false']);
  });
});

describe('addresses and ports of Services', () => {
  it('refuses a ClusterIP outside the range, or taken', async () => {
    await rejected(
      service('outside', { clusterIP: '203.0.113.1', ports: [{ port: 80 }] }),
      /The Service "outside" is invalid: spec\.clusterIPs: Invalid value: \[\]string\{"203\.0\.113\.1"\}: failed to allocate IP 203\.0\.113\.1: .*not in the valid range\. The range of valid IPs is /,
    );
    await rejected(
      service('taken', { clusterIP: cluster.dnsIp, ports: [{ port: 80 }] }),
      /spec\.clusterIPs: Invalid value: \[\]string\{"[\d.]+"\}: failed to allocate IP [\d.]+: provided IP is already allocated/,
    );
    await rejected(
      service('text', { clusterIP: 'here', ports: [{ port: 80 }] }),
      /spec\.clusterIPs\[0\]: Invalid value: "here": must be a valid IP address/,
    );
  });

  it('refuses node ports outside the range, or taken', async () => {
    const nodePort = (name: string, port: number): object =>
      service(name, { type: 'NodePort', ports: [{ port: 80, nodePort: port }] });
    await cluster.apply(nodePort('first', 30_333));
    await rejected(
      nodePort('second', 30_333),
      /spec\.ports\[0\]\.nodePort: Invalid value: 30333: provided port is already allocated/,
    );
    await rejected(
      nodePort('third', 80),
      /spec\.ports\[0\]\.nodePort: Invalid value: 80: provided port is not in the valid range\. The range of valid ports is 30000-32767/,
    );
  });

  it('refuses ports that are none', async () => {
    await rejected(
      service('zero', { ports: [{ port: 0 }] }),
      /spec\.ports\[0\]\.port: Invalid value: 0: must be between 1 and 65535, inclusive/,
    );
    await rejected(service('none', { selector: { a: 'b' } }), /spec\.ports: Required value/);
    await rejected(
      service('unnamed', { ports: [{ port: 80 }, { port: 81 }] }),
      /spec\.ports\[0\]\.name: Required value/,
    );
    await rejected(
      service('proto', { ports: [{ port: 80, protocol: 'ICMP' }] }),
      /spec\.ports\[0\]\.protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"/,
    );
  });

  it('hands a freed address out again', async () => {
    const ip = cluster.dnsIp.replace(/\d+$/, '99');
    await cluster.apply(service('one', { clusterIP: ip, ports: [{ port: 80 }] }));
    await cluster.kubectl(['delete', 'svc', 'one']);
    await cluster.apply(service('two', { clusterIP: ip, ports: [{ port: 80 }] }));
    expect(await cluster.ask(['get', 'svc', 'two', '-o', 'jsonpath={.spec.clusterIP}'])).toBe(ip);
  });
});

describe('what is stored but not enforced says so', () => {
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny' },
    spec: { podSelector: {} },
  };
  const ingress = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'door' },
    spec: { defaultBackend: { service: { name: 'fixed', port: { number: 80 } } } },
  };

  it.each([
    ['NetworkPolicy', policy, /stored but not enforced/],
    ['Ingress', ingress, /stored but not served/],
  ])('%s', async (kind, manifest, words) => {
    await cluster.apply(manifest);
    const { name } = manifest.metadata;
    await until('an event', async () => {
      const events = await cluster.kubectl([
        'get',
        'events',
        '--field-selector',
        `involvedObject.kind=${kind},involvedObject.name=${name}`,
      ]);
      return /Warning\s+NotEnforced/.test(events.stdout) && words.test(events.stdout);
    });
    const described = await cluster.kubectl(['describe', kind, name]);
    mustMatch(described, words);
    mustMatch(described, /weft\.dev\/not-enforced/);
  });
});

describe('pods that cannot run', () => {
  it('says that an image does not exist, and goes on trying', async () => {
    await cluster.apply(box('imageless', { spec: { containers: [{ name: 'c', image: 'registry.invalid/none:1' }] } }));
    const reason = async (): Promise<string> => {
      const [found] = (await pods(cluster)).filter((p) => p.metadata.name === 'imageless');
      return found?.status.containerStatuses?.[0]?.state['waiting']?.reason ?? '';
    };
    await until('ErrImagePull', async () => /^(ErrImagePull|ImagePullBackOff)$/.test(await reason()), {
      timeoutMs: 60_000,
    });
    await until('ImagePullBackOff', async () => (await reason()) === 'ImagePullBackOff', { timeoutMs: 60_000 });
    const described = await cluster.kubectl(['describe', 'pod', 'imageless']);
    mustMatch(described, /Failed to pull image "registry\.invalid\/none:1"/);
    mustMatch(
      await cluster.kubectl(['get', 'pod', 'imageless']),
      /^imageless\s+0\/1\s+(ImagePullBackOff|ErrImagePull)\s/m,
    );
    await cluster.kubectl(['delete', 'pod', 'imageless', '--wait=false']);
  });

  it('slows down a container that crashes at once', async () => {
    await cluster.apply(
      box('crasher', {
        spec: { containers: [{ name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['false'] }] },
      }),
    );
    await until(
      'CrashLoopBackOff',
      async () =>
        /^crasher\s+0\/1\s+CrashLoopBackOff\s+[1-9]/m.test((await cluster.kubectl(['get', 'pod', 'crasher'])).stdout),
      { timeoutMs: 60_000 },
    );
    mustMatch(await cluster.kubectl(['describe', 'pod', 'crasher']), /Back-off restarting failed container/);
    await cluster.kubectl(['delete', 'pod', 'crasher', '--wait=false']);
  });

  it('says that a program is not there', async () => {
    await cluster.apply(
      box('programless', {
        spec: {
          containers: [{ name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['/no/such/program'] }],
        },
      }),
    );
    await until('a reason', async () =>
      /RunContainerError|CrashLoopBackOff|StartError|ContainerCannotRun/.test(
        (await cluster.kubectl(['get', 'pod', 'programless', '-o', 'yaml'])).stdout,
      ),
    );
    mustMatch(await cluster.kubectl(['describe', 'pod', 'programless']), /no such file or directory/);
    await cluster.kubectl(['delete', 'pod', 'programless', '--wait=false']);
  });

  it('waits for a ConfigMap that is not there yet', async () => {
    const env = [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'later', key: 'a' } } }];
    await cluster.apply(
      box('waiter', {
        spec: {
          containers: [
            { name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'], env },
          ],
        },
      }),
    );
    await until('CreateContainerConfigError', async () =>
      /CreateContainerConfigError/.test((await cluster.kubectl(['get', 'pod', 'waiter'])).stdout),
    );
    mustMatch(await cluster.kubectl(['describe', 'pod', 'waiter']), /configmap "later" not found/);
    await cluster.kubectl(['create', 'configmap', 'later', '--from-literal=a=here']);
    await waitReady(cluster, 'waiter');
    expect(await cluster.ask(['exec', 'waiter', '--', 'sh', '-c', 'echo $A'])).toBe('here');
    await cluster.kubectl(['delete', 'pod', 'waiter', '--wait=false']);
  });

  it('keeps a pod pending that fits no node', async () => {
    await cluster.apply(
      box('homeless', { spec: { nodeSelector: { disk: 'none' }, containers: [{ name: 'c', image: 'busybox' }] } }),
    );
    await until('FailedScheduling', async () =>
      /FailedScheduling.*0\/2 nodes are available/.test(
        (await cluster.kubectl(['describe', 'pod', 'homeless'])).stdout,
      ),
    );
    await cluster.kubectl(['delete', 'pod', 'homeless', '--wait=false']);
  });

  it.each([
    [
      'an unknown plugin',
      { cniVersion: '1.0.0', name: 'bad', plugins: [{ type: 'no-such-plugin' }] },
      /no-such-plugin/,
    ],
    ['an unknown version', { cniVersion: '99.0.0', name: 'bad', plugins: [{ type: 'weft' }] }, /99\.0\.0/],
    ['no JSON', '{ "cniVersion": ', /00-bad\.conflist/],
  ])('reports a CNI configuration with %s, and recovers when it is mended', async (_, config, words) => {
    const dir = path.join(cluster.stateDir, 'nodes', 'n1', 'cni', 'net.d');
    expect(readdirSync(dir).length).toBeGreaterThan(0);
    const bad = path.join(dir, '00-bad.conflist');
    writeFileSync(bad, typeof config === 'string' ? config : JSON.stringify(config));
    try {
      await cluster.apply([box('unwired', { node: 'n1' }), box('elsewhere', { node: 'n2' })]);
      await until('FailedCreatePodSandBox', async () => {
        const described = await cluster.kubectl(['describe', 'pod', 'unwired']);
        return /FailedCreatePodSandBox|NetworkNotReady/.test(described.stdout) && words.test(described.stdout);
      });
      await waitReady(cluster, 'elsewhere');
    } finally {
      rmSync(bad);
    }
    await waitReady(cluster, 'unwired');
    await cluster.kubectl(['delete', 'pod', 'unwired', 'elsewhere']);
  });
});

describe('a full disk', () => {
  it('refuses writes in words, keeps what it has acknowledged, and goes on when there is room', async () => {
    // The state directory lies on a small file system that only this test's own mount namespace sees.
    const { base } = cluster;
    const name = `full${cluster.name.slice(-3)}`;
    const state = path.join(base, 'state');
    const keeper = new Running('unshare', [
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      'echo $$; exec sleep 600',
    ]);
    const [, pid = ''] = await keeper.waitFor(/^(\d+)$/m);
    const inside = (argv: readonly string[], input?: string): Promise<Ran> =>
      run('nsenter', ['--target', pid, '--mount', '--', ...argv], {
        env: cluster.env,
        timeoutMs: 60_000,
        check: false,
        ...(input === undefined ? {} : { input }),
      });
    const small = path.join(base, 'small');
    const kubeconfig = path.join(base, 'kubeconfig-full');
    const env = ['env', `KUBECONFIG=${kubeconfig}`];
    const blocks = ['--pod-cidr', '10.61.0.0/16', '--service-cidr', '10.62.0.0/16', '--underlay-cidr', '10.63.0.0/21'];
    const weft = (...args: string[]): Promise<Ran> => inside([...env, cluster.command, ...args]);
    const kubectl = (args: readonly string[], input?: string): Promise<Ran> =>
      inside([...env, ...cluster.kubectlArgv(args)], input);
    try {
      // The images stay where there is room.
      const script = `mkdir -p ${small} && mount -t tmpfs -o size=24m weft-e2e ${small} && mkdir ${small}/images && mount --bind ${state}/images ${small}/images && mount --rbind ${small} ${state}`;
      const mounted = await inside(['sh', '-c', script]);
      expect(mounted.code, mounted.stderr).toBe(0);
      const up = await weft('up', '--name', name, '--nodes', '1', '--no-demo', ...blocks);
      expect(up.code, up.stdout + up.stderr).toBe(0);
      const data = 'x'.repeat(500_000);
      const kept: string[] = [];
      let refusal: Ran | undefined;
      for (let i = 0; i < 100 && refusal === undefined; i++) {
        const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `filler-${i}` }, data: { data } };
        const ran = await kubectl(['create', '-f', '-'], JSON.stringify(manifest));
        if (ran.code === 0) kept.push(`filler-${i}`);
        else refusal = ran;
      }
      if (refusal === undefined) throw new Error('100 writes of 500 kB went onto a disk of 24 MB');
      mustFail(refusal, /Internal error occurred: .*no space left.*database space exceeded/);
      const listed = await kubectl(['get', 'cm', '-o', 'name']);
      for (const each of kept) expect(listed.stdout).toContain(`configmap/${each}\n`);
      // Room again: by deleting, or, where even that needs room, by what else lies there.
      await inside(['sh', '-c', `rm -f ${state}/${name}/logs/n1.log; mount -o remount,size=80m ${small}`]);
      await until('a write', async () => (await kubectl(['create', 'configmap', 'after'])).code === 0);
      const again = await kubectl(['get', 'cm', '-o', 'name']);
      for (const each of kept) expect(again.stdout).toContain(`configmap/${each}\n`);
    } finally {
      await weft('down', '--name', name);
      keeper.kill();
      rmSync(small, { recursive: true, force: true });
      rmSync(kubeconfig, { force: true });
    }
    expect(existsSync(path.join(state, name))).toBe(false);
  });
});
