// Several networks per pod: NetworkAttachmentDefinitions and Multus' annotations, with stock kubectl.
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustMatch, until } from './support/run.ts';

const NETWORKS = 'k8s.v1.cni.cncf.io/networks';
const STATUS = 'k8s.v1.cni.cncf.io/network-status';
const DEFAULT = 'v1.multus-cni.io/default-network';

interface PodObject {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status: { readonly podIP?: string; readonly phase: string };
}
interface NetworkStatus {
  readonly name: string;
  readonly interface: string;
  readonly ips: readonly string[];
  readonly default?: boolean;
  readonly gateway?: readonly string[];
}

const network = (name: string, config: object, namespace = 'default'): object => ({
  apiVersion: 'k8s.cni.cncf.io/v1',
  kind: 'NetworkAttachmentDefinition',
  metadata: { name, namespace },
  spec: { config: JSON.stringify({ cniVersion: '1.0.0', ...config }) },
});
const pod = (name: string, node: string, annotations: Readonly<Record<string, string>>): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, annotations },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image: 'busybox', command: ['sleep', '1000000'] }],
  },
});

describe.skipIf(!existsSync('/usr/lib/cni/macvlan'))('several networks per pod', () => {
  const cluster = useCluster({ name: 'nets', flags: ['--nodes', '2', '--no-demo'] });

  const statusOf = (name: string): Promise<NetworkStatus[]> =>
    until(`${name} runs and has its network-status`, async () => {
      const { metadata, status } = await cluster.json<PodObject>(['get', 'pod', name]);
      const text = metadata.annotations?.[STATUS];
      return status.phase === 'Running' && text !== undefined ? (JSON.parse(text) as NetworkStatus[]) : undefined;
    });
  const eventsOf = (name: string): Promise<string> =>
    cluster.ask([
      'get',
      'events',
      '--field-selector',
      `involvedObject.name=${name}`,
      '-o',
      'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}',
    ]);
  const ping = async (from: string, to: string, ifname: string): Promise<void> =>
    void mustMatch(
      await cluster.kubectl(['exec', from, '--', 'ping', '-c1', '-W5', '-I', ifname, to]),
      /1 packets received/,
    );

  it('reach other nodes over a second network, beside the first', async () => {
    await cluster.apply([
      network('lan', { type: 'macvlan', master: 'eth0', capabilities: { ips: true }, ipam: { type: 'static' } }),
      pod('a', 'n1', { [NETWORKS]: '[{"name":"lan","interface":"lan0","ips":["10.199.0.1/24"]}]' }),
      pod('b', 'n2', { [NETWORKS]: '[{"name":"lan","ips":["10.199.0.2/24"],"mac":"02:00:00:00:19:02"}]' }),
    ]);
    const [a, b] = [await statusOf('a'), await statusOf('b')];
    expect(a.map((s) => [s.name, s.interface, s.default ?? false])).toEqual([
      ['weft', 'eth0', true],
      ['default/lan', 'lan0', false],
    ]);
    expect(b.map((s) => s.interface)).toEqual(['eth0', 'net1']);
    expect(a[1]?.ips).toEqual(['10.199.0.1']);
    const { status } = await cluster.json<PodObject>(['get', 'pod', 'a']);
    expect(a[0]?.ips).toEqual([status.podIP]);
    expect(await cluster.ask(['exec', 'a', '--', 'ip', '-o', 'addr', 'show', 'lan0'])).toContain('10.199.0.1/24');
    expect(await cluster.ask(['exec', 'b', '--', 'cat', '/sys/class/net/net1/address'])).toBe('02:00:00:00:19:02');
    await ping('a', '10.199.0.2', 'lan0');
    await ping('b', status.podIP as string, 'eth0');
    const weft = async (...args: string[]): Promise<unknown> =>
      JSON.parse((await cluster.weft(['networks', ...args, '--name', cluster.name, '-o', 'json'])).stdout);
    expect(await weft()).toEqual([{ network: 'default/lan', plugins: ['macvlan'], pods: ['default/a', 'default/b'] }]);
    expect(await weft('of', 'a')).toMatchObject([{ interface: 'eth0' }, { interface: 'lan0', ips: ['10.199.0.1'] }]);
    expect(await eventsOf('a')).toContain('AddedInterface: Add lan0 [10.199.0.1] from default/lan');
  });

  it('can be made of what is defined later, and go without it', async () => {
    const blue = {
      type: 'bridge',
      bridge: 'blue0',
      isGateway: true,
      ipam: { type: 'host-local', subnet: '10.198.0.0/24' },
    };
    await cluster.apply([
      pod('c', 'n1', { [NETWORKS]: 'blue@blue' }),
      pod('d', 'n1', { [NETWORKS]: '[{"name":"blue","default-route":["10.198.0.1"]}]' }),
    ]);
    await until('the pods say what they lack', async () => (await eventsOf('c')).includes('NoNetworkFound'));
    expect(await eventsOf('c')).toContain('cannot find a network-attachment-definition (blue) in namespace (default)');
    await cluster.apply([network('blue', blue)]);
    const [, c] = await statusOf('c');
    const [first, d] = await statusOf('d');
    await ping('c', d?.ips[0] as string, 'blue');
    expect([first?.gateway, d?.gateway]).toEqual([undefined, ['10.198.0.1']]);
    expect(await cluster.ask(['exec', 'd', '--', 'ip', 'route', 'show', 'default'])).toMatch(
      /^default via 10\.198\.0\.1 dev net1/,
    );
    await cluster.kubectl(['delete', 'network-attachment-definitions', 'blue']);
    await cluster.kubectl(['delete', 'pod', 'c', 'd', '--wait']);
    await until('their ports are gone', async () => {
      const { stdout } = await cluster.node('n1', ['ip', '-j', 'link', 'show', 'master', 'blue0']);
      return (JSON.parse(stdout || '[]') as object[]).length === 0;
    });
    expect(c?.ips).toHaveLength(1);
  });

  it('may begin with another first network', async () => {
    const lab = {
      type: 'bridge',
      bridge: 'lab0',
      isGateway: true,
      ipam: { type: 'host-local', subnet: '10.197.0.0/24' },
    };
    await cluster.apply([network('lab', lab), pod('e', 'n2', { [DEFAULT]: 'default/lab' })]);
    const [only, ...others] = await statusOf('e');
    expect([only?.name, only?.interface, others]).toEqual(['default/lab', 'eth0', []]);
    const { status } = await cluster.json<PodObject>(['get', 'pod', 'e']);
    expect(status.podIP).toMatch(/^10\.197\.0\./);
  });

  it('tell a pod what is wrong with its annotation', async () => {
    await cluster.apply([pod('f', 'n1', { [NETWORKS]: '[{"name":"lan","ips":["10.199.0.300"]}]' })]);
    await until('an event names the field', async () =>
      (await eventsOf('f')).includes(`InvalidNetworks: ${NETWORKS}[0].ips[0]: "10.199.0.300" is not an address`),
    );
    await cluster.kubectl(['delete', 'pod', 'f']);
  });
});
