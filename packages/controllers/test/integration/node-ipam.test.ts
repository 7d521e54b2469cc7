import { KubeClient, type Node, resources } from '@weft/kube';
import { Metrics } from '@weft/plan';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startControllers } from '../../src/index.ts';
import { TestCluster } from '../support/cluster.ts';

// A machine that is busy with other things must not fail these.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
});
afterEach(() => cluster.stop());

const POOL = { clusterCidrs: ['10.244.0.0/23'], nodeCidrMaskSize: 24 };
const cidrOf = async (name: string): Promise<string | undefined> =>
  (await cluster.get(resources.nodes, name)).spec?.podCIDR;
const given = (name: string): Promise<string> => cluster.until(() => cidrOf(name));

test('when all blocks are taken it says so, and a deleted node makes room', async () => {
  await startControllers({ ...cluster.common, ...POOL });
  await cluster.node('a');
  await cluster.node('b');
  const taken = [await given('a'), await given('b')];
  expect(new Set(taken).size).toBe(2);
  await cluster.node('c');
  await cluster.until(async () =>
    (await cluster.events('c')).includes('Normal CIDRNotAvailable Node c status is now: CIDRNotAvailable'),
  );
  expect(await cidrOf('c')).toBeUndefined();
  await cluster.client.delete(resources.nodes, undefined, 'a');
  expect(await given('c')).toBe(taken[0]);
});

test('a restart keeps what was given and gives nothing twice', async () => {
  const first = new AbortController();
  const client = new KubeClient({ transport: { kind: 'unix', path: `${cluster.directory}/api.sock` } });
  await startControllers({ client, log: cluster.log, metrics: new Metrics(), signal: first.signal, ...POOL });
  await cluster.node('a');
  const block = await given('a');
  first.abort();
  client.close();
  await cluster.node('b');
  await startControllers({ ...cluster.common, ...POOL });
  expect(await given('b')).not.toBe(block);
  expect(await cidrOf('a')).toBe(block);
});

test('a node made anew under the same name is another node', async () => {
  await startControllers({ ...cluster.common, ...POOL });
  for (let round = 0; round < 5; round++) {
    await cluster.node('a');
    await given('a');
    await cluster.client.delete<Node>(resources.nodes, undefined, 'a');
  }
  await cluster.node('a');
  await cluster.node('b');
  expect(await given('a')).not.toBe(await given('b'));
});

test('nodes get a block per family, of the next range when one is full, and none that Services use', async () => {
  await startControllers({
    ...cluster.common,
    clusterCidrs: ['fd00:10::/63', '10.244.0.0/23', '10.96.0.0/12', '10.245.0.0/24'],
    serviceCidrs: ['10.96.0.0/12'],
    nodeCidrMaskSize: 24,
    nodeCidrMaskSizeIpv6: 64,
  });
  const cidrsOf = async (name: string): Promise<readonly string[] | undefined> =>
    (await cluster.get(resources.nodes, name)).spec?.podCIDRs;
  await cluster.node('a');
  expect(await cluster.until(() => cidrsOf('a'))).toEqual(['fd00:10::/64', '10.244.0.0/24']);
  await cluster.node('b', { spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] } });
  await cluster.node('c');
  expect(await cluster.until(() => cidrsOf('c'))).toEqual(['fd00:10:0:1::/64', '10.245.0.0/24']);
  // IPv6 is used up: a node does not get half of what it needs, and the IPv4 block it could have had is kept free.
  await cluster.node('d');
  await cluster.until(async () => (await cluster.events('d')).some((e) => e.includes('CIDRNotAvailable')));
  expect(await cidrsOf('d')).toBeUndefined();
});
