import { addressDefinitions, addressResources, type IPAMBlock, resources } from '@weft/kube';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startControllers } from '../../src/index.ts';
import { TestCluster } from '../support/cluster.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
  for (const definition of addressDefinitions()) await cluster.create(resources.customresourcedefinitions, definition);
  await cluster.until(async () => {
    const all = await cluster.list(resources.customresourcedefinitions);
    return all.every((d) => d.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True'));
  });
});
afterEach(() => cluster.stop());

const block = (cidr: string, node: string): { metadata: { name: string }; spec: IPAMBlock['spec'] } => ({
  metadata: { name: cidr.replace(/[./]/g, '-') },
  spec: {
    cidr,
    affinity: `host:${node}`,
    allocations: [0, null],
    attributes: [{ handle_id: `weft.${node}`, secondary: { namespace: 'default', pod: 'p', node } }],
    unallocated: [1],
    strictAffinity: false,
  },
});

async function populate(): Promise<void> {
  for (const [cidr, node] of [
    ['10.1.0.0/31', 'stays'],
    ['10.1.0.2/31', 'goes'],
  ] as const) {
    await cluster.node(node);
    const made = block(cidr, node);
    await cluster.create(addressResources.ipamblocks, made);
    await cluster.create(addressResources.blockaffinities, {
      metadata: { name: `${node}-${made.metadata.name}` },
      spec: { cidr, node, state: 'confirmed', deleted: 'false' },
    });
    await cluster.create(addressResources.ipamhandles, {
      metadata: { name: `weft.${node}` },
      spec: { handleID: `weft.${node}`, block: { [cidr]: 1 } },
    });
  }
  // Each has borrowed an address of the other.
  for (const [address, node] of [
    ['10.1.0.3', 'stays'],
    ['10.1.0.1', 'goes'],
  ] as const) {
    await cluster.create(addressResources.addressloans, {
      metadata: { name: address.replaceAll('.', '-') },
      spec: { address, node },
    });
  }
}

const names = async (type: keyof typeof addressResources): Promise<string[]> =>
  (await cluster.client.list(addressResources[type] as never, undefined)).items.map(
    (o: { metadata: { name: string } }) => o.metadata.name,
  );

test('what a deleted node had is removed, and nothing of those that live', async () => {
  await populate();
  await startControllers({
    ...cluster.common,
    clusterCidrs: [],
    nodeCidrMaskSize: 24,
    addressGc: { graceMs: 1, periodMs: 20 },
  });
  await cluster.client.delete(resources.nodes, undefined, 'goes');
  await cluster.until(async () => (await names('ipamhandles')).length === 1);
  expect(await names('ipamblocks')).toEqual(['10-1-0-0-31']);
  expect(await names('blockaffinities')).toEqual(['stays-10-1-0-0-31']);
  expect(await names('ipamhandles')).toEqual(['weft.stays']);
  // What the living node has borrowed of the other stays its own.
  expect(await names('addressloans')).toEqual(['10-1-0-3']);
});

test('a node that has been gone for a moment only keeps everything', async () => {
  await populate();
  const running = await startControllers({ ...cluster.common, clusterCidrs: [], nodeCidrMaskSize: 24 });
  await cluster.client.delete(resources.nodes, undefined, 'goes');
  await running.idle();
  await cluster.node('goes');
  await running.idle();
  expect(await names('ipamblocks')).toHaveLength(2);
  expect(await names('addressloans')).toHaveLength(2);
});
