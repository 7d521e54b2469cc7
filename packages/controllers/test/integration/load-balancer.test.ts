import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Node, resources, type Service } from '@weft/kube';
import { ANNOUNCED_BY, IP_ADDRESS_POOL_CRD, startControllers } from '../../src/index.ts';
import { IP_ADDRESS_POOLS } from '../../src/load-balancer/pool.ts';
import { TestCluster } from '../support/cluster.ts';

describe('Services of type LoadBalancer', () => {
  let cluster: TestCluster;

  beforeEach(async () => {
    cluster = await TestCluster.start();
    await cluster.client.create(resources.customresourcedefinitions, IP_ADDRESS_POOL_CRD as never);
    await expect
      .poll(() =>
        cluster.client.list(IP_ADDRESS_POOLS).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    await cluster.client.create(resources.namespaces, { metadata: { name: 'metallb-system' } });
    for (const name of ['n1', 'n2']) {
      await cluster.client.create(resources.nodes, {
        metadata: { name },
        status: { conditions: [{ type: 'Ready', status: 'True' }] },
      } as Node);
    }
    await startControllers({ ...cluster.common, clusterCidrs: [], nodeCidrMaskSize: 24, loadBalancer: true });
    return () => cluster.stop();
  });
  afterEach(() => {});

  const pool = (name: string, ...addresses: string[]): Promise<unknown> =>
    cluster.client.create(IP_ADDRESS_POOLS, { metadata: { name, namespace: 'metallb-system' }, spec: { addresses } });
  const create = (name: string, spec: object = {}): Promise<Service> =>
    cluster.create(resources.services, {
      metadata: { name },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
    } as never);
  const get = (name: string): Promise<Service> => cluster.client.get(resources.services, 'default', name);
  const ips = async (name: string): Promise<string[]> =>
    ((await get(name)).status?.loadBalancer?.ingress ?? []).map((i) => `${i.ip} ${i.ipMode}`);
  const settles = (name: string, ...wanted: string[]): Promise<void> =>
    expect.poll(() => ips(name), { timeout: 5000 }).toEqual(wanted.map((ip) => `${ip} VIP`));
  const events = async (reason: string): Promise<string[]> =>
    (await cluster.client.list(resources.events, 'default')).items
      .filter((e) => e.reason === reason)
      .map((e) => e.message ?? '');

  it('get addresses when there are any, and wait when there are not', async () => {
    await create('early');
    await expect.poll(() => events('AllocationFailed')).toHaveLength(1);
    await pool('first', '192.0.2.1-192.0.2.2');
    await settles('early', '192.0.2.1');
    await create('second');
    await settles('second', '192.0.2.2');
    await create('third');
    await expect
      .poll(() => events('AllocationFailed'))
      .toContain('Failed to allocate IP for "default/third": no available IPs');
    expect(await ips('third')).toEqual([]);
    await cluster.client.delete(resources.services, 'default', 'early');
    await settles('third', '192.0.2.1');
    expect(await events('IPAllocated')).toContain('Assigned IP ["192.0.2.1"]');
  });

  it('lose their address when they change their type', async () => {
    await pool('first', '192.0.2.1/32');
    await create('web');
    await settles('web', '192.0.2.1');
    await cluster.client.patch(resources.services, 'default', 'web', { spec: { type: 'ClusterIP' } });
    await settles('web');
    await expect.poll(async () => (await get('web')).metadata.annotations?.[ANNOUNCED_BY]).toBeUndefined();
    await create('next');
    await settles('next', '192.0.2.1');
  });

  it('are announced by a ready node, and by another one when it goes', async () => {
    await pool('first', '192.0.2.1/32');
    await create('web');
    const by = async (): Promise<string | undefined> => (await get('web')).metadata.annotations?.[ANNOUNCED_BY];
    await expect.poll(by, { timeout: 5000 }).toMatch(/^n[12]$/);
    const first = (await by()) as string;
    const node = await cluster.client.get(resources.nodes, undefined, first);
    const down = { ...node, status: { ...node.status, conditions: [{ type: 'Ready', status: 'Unknown' as const }] } };
    await cluster.client.updateStatus(resources.nodes, down as Node);
    await expect.poll(by, { timeout: 5000 }).toBe(first === 'n1' ? 'n2' : 'n1');
  });

  it('of another class are left alone, with what their own controller wrote', async () => {
    await pool('first', '192.0.2.1/32');
    await create('theirs', { loadBalancerClass: 'example.com/other' });
    const status = { status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } };
    await cluster.client.patch(resources.services, 'default', 'theirs', status, { subresource: 'status' });
    await create('ours');
    await settles('ours', '192.0.2.1');
    expect(await ips('theirs')).toEqual(['192.0.2.1 VIP']);
  });

  it('are given nothing of a pool that is wrong, which an event says', async () => {
    await pool('wrong', '192.0.2.9-192.0.2.1');
    await create('web');
    const said = async (): Promise<string[]> =>
      (await cluster.client.list(resources.events, 'metallb-system')).items
        .filter((e) => e.reason === 'InvalidPool')
        .map((e) => e.message ?? '');
    await expect.poll(said, { timeout: 5000 }).toEqual([expect.stringContaining('spec.addresses[0]')]);
    expect(await ips('web')).toEqual([]);
  });
});
