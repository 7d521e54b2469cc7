// Addresses of pools, by annotation, on other nodes and for pods that are made anew, with stock kubectl.
import { describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustMatch, until } from './support/run.ts';

const CALICO = 'cni.projectcalico.org';

interface PodObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIP?: string; readonly phase: string };
}

const template = (annotations: Readonly<Record<string, string>>, labels: object = {}): object => ({
  metadata: { annotations, labels },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image: 'busybox', command: ['sleep', '1000000'] }],
  },
});

function pod(name: string, node: string, annotations: Readonly<Record<string, string>>): object {
  const { metadata, spec } = template(annotations) as { metadata: object; spec: object };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: { ...spec, nodeName: node } };
}

const pool = (name: string, spec: object, apiVersion = 'projectcalico.org/v3'): object => ({
  apiVersion,
  kind: 'IPPool',
  metadata: { name },
  spec,
});

describe.each([
  { name: 'ipvx', flags: ['--backend', 'vxlan', '--nodes', '2', '--no-demo'] },
  { name: 'ipgw', flags: ['--backend', 'host-gw', '--nodes', '2', '--no-demo'] },
])('$flags', ({ name, flags }) => {
  const cluster = useCluster({ name, flags });

  const addressOf = (pod: string): Promise<string> =>
    until(`${pod} has an address`, async () => {
      const { status } = await cluster.json<PodObject>(['get', 'pod', pod]);
      return status.phase === 'Running' && status.podIP !== undefined ? status.podIP : undefined;
    });
  const ping = async (from: string, ip: string): Promise<void> =>
    void mustMatch(await cluster.kubectl(['exec', from, '--', 'ping', '-c', '1', '-W', '5', ip]), /1 packets received/);
  const weftIp = async <T>(...args: string[]): Promise<T> =>
    JSON.parse((await cluster.weft(['ip', ...args, '--name', cluster.name, '-o', 'json'])).stdout) as T;

  it('come from the pool that a pod names, with its MAC address, and lead to its node', async () => {
    await cluster.apply([
      pool('web', { cidr: '10.77.0.0/24', blockSize: 28, natOutgoing: true }),
      pod('a', 'n1', { [`${CALICO}/ipv4pools`]: '["web"]', [`${CALICO}/hwAddr`]: '1c:0c:0a:c0:ff:ee' }),
      pod('b', 'n2', { [`${CALICO}/ipv4pools`]: '["10.77.0.0/24"]' }),
    ]);
    const [a, b] = [await addressOf('a'), await addressOf('b')];
    for (const ip of [a, b]) expect(ip).toMatch(/^10\.77\.0\./);
    expect(await cluster.ask(['exec', 'a', '--', 'cat', '/sys/class/net/eth0/address'])).toBe('1c:0c:0a:c0:ff:ee');
    await ping('a', b);
    await ping('b', a);
    const blocks = await weftIp<{ node: string; pool: string }[]>('blocks');
    expect(blocks.map((row) => `${row.node} ${row.pool}`).sort()).toEqual(['n1 web', 'n2 web']);
    // What the API says of a block follows within moments.
    await until('the block names the pod', async () => {
      const { items } = await cluster.json<{ items: { spec: { attributes: { secondary?: { pod?: string } }[] } }[] }>([
        'get',
        'ipamblocks',
      ]);
      return items.some(({ spec }) => spec.attributes.some((attribute) => attribute.secondary?.pod === 'a'));
    });
    expect((await weftIp<{ facts: string[] }>('who', a)).facts[0]).toBe('pod default/a on node n1');
  });

  it('may be named by the pod, also in the range of another node', async () => {
    const n1 = cluster.report.nodes.find((node) => node.name === 'n1')?.podCidr ?? '';
    const inCidr = n1.replace(/\d+\/\d+$/, '200');
    await cluster.apply([
      pod('own', 'n1', { [`${CALICO}/ipAddrs`]: '["10.77.0.250"]' }),
      pod('lent', 'n2', { [`${CALICO}/ipAddrs`]: `["${inCidr}"]` }),
    ]);
    expect([await addressOf('own'), await addressOf('lent')]).toEqual(['10.77.0.250', inCidr]);
    await ping('a', inCidr);
    await ping('lent', '10.77.0.250');
    expect((await weftIp<{ facts: string[] }>('who', inCidr)).facts).toContain('lent by node n1');
    // Taken, and outside: the pod says so, and has its address once the other is gone.
    await cluster.apply([
      pod('late', 'n2', { [`${CALICO}/ipAddrs`]: '["10.77.0.250"]' }),
      pod('outside', 'n1', { [`${CALICO}/ipAddrs`]: '["192.0.2.9"]' }),
    ]);
    const said = (pod: string, text: string): Promise<unknown> =>
      until(`${pod} is told: ${text}`, async () =>
        (
          await cluster.ask([
            'get',
            'events',
            '--field-selector',
            `involvedObject.name=${pod}`,
            '-o',
            'jsonpath={..message}',
          ])
        ).includes(text),
      );
    await said('late', 'it is in use by pod default/own on node n1');
    await said('outside', 'requested IP address 192.0.2.9 is in no enabled pool');
    await cluster.kubectl(['delete', 'pod', 'own', 'outside', '--wait=true']);
    expect(await addressOf('late')).toBe('10.77.0.250');
    await ping('a', '10.77.0.250');
    await cluster.kubectl(['delete', 'pod', 'lent', 'late', '--wait=true']);
    await until(
      'the lent addresses are back',
      async () => (await cluster.ask(['get', 'addressloans', '-o', 'name'])) === '',
    );
  });

  it('are borrowed from other nodes when a pool has no block left, and given back', async () => {
    await cluster.apply([
      pool('small', { cidr: '10.78.0.0/29', blockSize: 29 }, 'crd.projectcalico.org/v1'),
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'many' },
        spec: {
          replicas: 6,
          selector: { matchLabels: { app: 'many' } },
          template: template({ [`${CALICO}/ipv4pools`]: '["small"]' }, { app: 'many' }),
        },
      },
    ]);
    await cluster.kubectl(['rollout', 'status', 'deployment/many', '--timeout=60s'], { timeoutMs: 70_000 });
    const { items } = await cluster.json<{ items: PodObject[] }>(['get', 'pods', '-l', 'app=many']);
    const ips = items.map((item) => item.status.podIP);
    expect(new Set(ips).size).toBe(6);
    for (const ip of ips) expect(ip).toMatch(/^10\.78\.0\.[0-7]$/);
    expect(new Set(items.map((item) => item.spec.nodeName)).size).toBe(2);
    for (const ip of ips) await ping('a', ip as string);
    await cluster.kubectl(['delete', 'deployment', 'many']);
    await until('all is given back', async () => {
      const rows = await weftIp<{ name: string; used: number }[]>('pools');
      return (
        rows.find((row) => row.name === 'small')?.used === 0 &&
        (await cluster.ask(['get', 'addressloans', '-o', 'name'])) === ''
      );
    });
  });

  it('stay with a pod of a StatefulSet that is made anew on another node', async () => {
    await cluster.apply({
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db' },
      spec: {
        replicas: 1,
        serviceName: 'db',
        selector: { matchLabels: { app: 'db' } },
        template: template({ 'weft.dev/sticky-ip': 'true' }, { app: 'db' }),
      },
    });
    const before = await until('db-0 exists', async () =>
      (await cluster.ask(['get', 'pods', '-l', 'app=db', '-o', 'name'])) === '' ? undefined : addressOf('db-0'),
    );
    await until(
      'its address is written down',
      async () => (await cluster.ask(['get', 'stickyaddresses', '-o', 'name'])) !== '',
    );
    const { spec } = await cluster.json<PodObject>(['get', 'pod', 'db-0']);
    await cluster.kubectl(['cordon', spec.nodeName]);
    await cluster.kubectl(['delete', 'pod', 'db-0', '--wait=true']);
    const after = await until('db-0 is back on the other node', async () => {
      const { items } = await cluster.json<{ items: PodObject[] }>(['get', 'pods', '-l', 'app=db']);
      const [item] = items;
      return item?.status.phase === 'Running' && item.spec.nodeName !== spec.nodeName ? item.status.podIP : undefined;
    });
    expect(after).toBe(before);
    await ping('a', before);
    await cluster.kubectl(['uncordon', spec.nodeName]);
    await cluster.kubectl(['delete', 'statefulset', 'db']);
    await until(
      'nothing is kept any more',
      async () => (await cluster.ask(['get', 'stickyaddresses', '-o', 'name'])) === '',
    );
  });

  it('are translated as each pool says', async () => {
    const { stdout } = await cluster.node('n1', ['nft', 'list', 'table', 'inet', 'weft-fabric']);
    const set = (wanted: string): string =>
      new RegExp(`set ${wanted} \\{[^}]*elements = \\{([^}]*)\\}`).exec(stdout)?.[1] ?? '';
    expect(set('pods4')).toContain('10.77.0.0/24');
    expect(set('pods4')).not.toContain('10.78.0.0');
    expect(set('direct4')).toContain('10.78.0.0/29');
  });
});
