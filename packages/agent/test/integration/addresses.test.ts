import { addressResources, resources } from '@weft/kube';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { World } from './world.ts';

// A machine that is busy with other things must not fail these.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const CALICO = 'cni.projectcalico.org';
const FROM_POOL = { [`${CALICO}/ipv4pools`]: '["p"]' };

let world: World;
beforeEach(async () => {
  world = await World.open();
  await world.client.create(addressResources.ippools, {
    metadata: { name: 'p' },
    spec: { cidr: '10.1.0.0/28', blockSize: 30 },
  });
  await Promise.all(['n1', 'n2', 'n3'].map((name, i) => world.node(name, `10.244.${i}.0/29`)));
});
afterEach(() => world.close());

const life = (name: string) => world.lives.get(name) as NonNullable<ReturnType<typeof world.lives.get>>;

describe('nodes that share pools', () => {
  it('give out every address of a pool once, from blocks and from each other', async () => {
    const names = Array.from({ length: 18 }, (_, i) => `c${i}`);
    const outcomes = await Promise.allSettled(
      names.map((name, i) => life(`n${1 + (i % 3)}`).add({ name, annotations: FROM_POOL })),
    );
    // Several nodes may have asked for one address at once and been refused: later all of them are given out.
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === 'rejected' && i < 16) {
        await life(`n${1 + (i % 3)}`)
          .add({ name: names[i] as string, annotations: FROM_POOL })
          .catch(() => {});
      }
    }
    const given = world.held().map(([address]) => address);
    expect(new Set(given).size).toBe(given.length);
    expect(given.length).toBe(16);
    await expect(life('n1').add({ name: 'late', annotations: FROM_POOL })).rejects.toThrow(/10\.1\.0|pool p/);
    for (const one of world.lives.values()) for (const { containerId } of one.ipam.list()) one.del(containerId);
    await world.until(
      async () => (await world.count('addressloans')) === 0 && (await world.count('ipamhandles')) === 0,
    );
  });

  it('do not lend what is in use, and give it when it is free', async () => {
    const exact = (ip: string) => ({ [`${CALICO}/ipAddrs`]: `["${ip}"]` });
    await life('n1').add({ name: 'a', annotations: exact('10.244.0.4') });
    const b = { name: 'b', annotations: exact('10.244.0.4') };
    await expect(life('n2').add(b)).rejects.toThrow('it is in use by pod default/a on node n1');
    // Not even when nobody of this life remembers.
    world.start('n1');
    await expect(life('n2').add(b)).rejects.toThrow('it is in use by pod default/a on node n1');
    life('n1').del('a');
    expect((await life('n2').add(b)).addresses).toEqual(['10.244.0.4']);
    // The lender is killed, and knows what it lent before it has heard of the API.
    world.start('n1');
    expect(life('n1').ipam.heldFor('10.244.0.4')).toContain('node n2');
    await expect(life('n3').add({ ...b, name: 'c' })).rejects.toThrow('it is lent to node n2');
    await expect(life('n1').add({ ...b, name: 'd' })).rejects.toThrow('is kept for node n2');
  });

  it('keep to their own blocks under strict affinity, and to the number of blocks they may have', async () => {
    await world.client.create(addressResources.ipamconfigs, {
      metadata: { name: 'default' },
      spec: { strictAffinity: true, maxBlocksPerHost: 1 },
    });
    for (const one of world.lives.values()) await world.until(() => one.cache.config().maxBlocksPerHost === 1);
    for (let i = 0; i < 4; i++) await life('n1').add({ name: `c${i}`, annotations: FROM_POOL });
    await life('n2').add({ name: 'x', annotations: FROM_POOL });
    await expect(life('n1').add({ name: 'c4', annotations: FROM_POOL })).rejects.toThrow(
      'no IP addresses available in 10.1.0.',
    );
    expect(await world.count('ipamblocks')).toBe(2);
    expect(await world.count('addressloans')).toBe(0);
  });

  it('leave out what is reserved, unless a pod asks for it by name', async () => {
    await world.client.create(addressResources.ipreservations, {
      metadata: { name: 'r' },
      spec: { reservedCIDRs: ['10.1.0.0/29', '10.1.0.8', '10.1.0.12/31'] },
    });
    for (const one of world.lives.values()) await world.until(() => one.cache.reservations().length === 1);
    const given: string[] = [];
    for (let i = 0; i < 5; i++) {
      given.push(...(await life('n1').add({ name: `c${i}`, annotations: FROM_POOL })).addresses);
    }
    expect(given.sort()).toEqual(['10.1.0.10', '10.1.0.11', '10.1.0.14', '10.1.0.15', '10.1.0.9']);
    const named = { name: 'n', annotations: { [`${CALICO}/ipAddrs`]: '["10.1.0.3"]' } };
    expect((await life('n2').add(named)).addresses).toEqual(['10.1.0.3']);
  });

  it('make a block again that is deleted under living pods', async () => {
    const { addresses } = await life('n1').add({ name: 'a', annotations: FROM_POOL });
    const [block] = (await world.client.list(addressResources.ipamblocks, undefined)).items;
    await world.client.delete(addressResources.ipamblocks, undefined, block?.metadata.name ?? '');
    world.start('n1');
    await world.until(async () => (await world.count('ipamblocks')) === 1);
    expect(
      life('n1')
        .ipam.list()
        .flatMap((a) => a.addresses),
    ).toEqual(addresses);
  });

  it('never give an address twice and never lose one, whatever comes together with whatever crash', async () => {
    const exacts = ['10.1.0.5', '10.244.0.3', '10.244.1.3'];
    const wish = fc.constantFrom({}, FROM_POOL, ...exacts.map((ip) => ({ [`${CALICO}/ipAddrs`]: `["${ip}"]` })), {
      ...FROM_POOL,
      'weft.dev/sticky-ip': 'true',
    });
    const node = fc.constantFrom('n1', 'n2', 'n3');
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('add' as const), node, pod: fc.nat(11), wish }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('del' as const), node, pod: fc.nat(11), wish }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), node, pod: fc.nat(11), wish }) },
    );
    const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { minLength: 3, maxLength: 8 });
    const check = (): void => {
      const seen = new Map<string, string>();
      for (const [address, who] of world.held()) {
        expect(seen.get(address), `${address} of ${who} and another`).toBeUndefined();
        seen.set(address, who);
      }
    };
    await fc.assert(
      fc.asyncProperty(batches, async (rounds) => {
        for (const round of rounds) {
          const running = round.map(async (s, i) => {
            // Each begins at another turn, so that a crash meets the others half-way.
            for (let turn = 0; turn < i; turn++) await new Promise((resolve) => setImmediate(resolve));
            const name = `c${s.pod}`;
            if (s.do === 'crash') world.start(s.node);
            else if (s.do === 'del') life(s.node).del(name);
            else if (![...world.lives.values()].some((l) => l.ipam.list().some((a) => a.containerId === name))) {
              await life(s.node).add({ name, annotations: s.wish });
            }
            check();
          });
          await Promise.allSettled(running);
          check();
        }
        // When all pods are gone, all that is left is what nobody has.
        for (const one of world.lives.values()) {
          for (const record of one.ipam.list()) {
            if (record.state === 'ready') one.del(record.containerId);
            else one.ipam.release(record);
          }
        }
        await world.until(async () => (await world.count('addressloans')) === 0);
        expect(world.held()).toEqual([]);
        for (const one of world.lives.values()) await world.until(() => one.ipam.holds().size === 0);
      }),
      { numRuns: Number(process.env['WEFT_ADDRESS_RUNS'] ?? 8) },
    );
  });
});

it('a pod gets the address again that it had, on whichever node', async () => {
  const pod = { name: 'db-0', annotations: { 'weft.dev/sticky-ip': 'true' } };
  const object = (nodeName: string) => ({
    metadata: { name: 'db-0', namespace: 'default', annotations: pod.annotations },
    spec: { nodeName, containers: [{ name: 'c', image: 'x' }] },
  });
  await world.client.create(resources.pods, object('n1'));
  await world.until(() => life('n1').cache.pods.get('default/db-0') !== undefined);
  const { addresses } = await life('n1').add(pod);
  await world.until(() => life('n2').cache.stickyOf('default/db-0') !== undefined);
  life('n1').del('db-0');
  world.start('n1');
  // Nobody else is given it, though all others of the range are.
  const others: string[] = [];
  for (let i = 0; i < 4; i++) others.push(...(await life('n1').add({ name: `o${i}`, annotations: {} })).addresses);
  expect(others).not.toContain(addresses[0]);
  expect((await life('n2').add(pod)).addresses).toEqual(addresses);
});
