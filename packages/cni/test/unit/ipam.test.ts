import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Link } from '@weft/kernel';
import { silentLogger } from '@weft/plan';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Allocation, Ipam } from '../../src/ipam/ipam.ts';
import { Journal } from '../../src/ipam/journal.ts';
import { AddressPool } from '../../src/ipam/pool.ts';
import { formatRange, rangeOfSubnet, rangeSetsFromConfig, rangeSetSize } from '../../src/ipam/range.ts';
import { planRecovery, recover } from '../../src/server/recovery.ts';

const STAMP = { boot: 'boot-1', netns: '4026531840' };
const sets = (...subnets: string[]) => rangeSetsFromConfig({ ranges: subnets.map((subnet) => [{ subnet }]) });
const set = (subnet: string) => sets(subnet)[0]!;

let dir: string;
let now = 1_000_000;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-ipam-'));
  now = 1_000_000;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function open(stamp = STAMP, reuseDelayMs = 30_000): Ipam {
  return new Ipam({ stateDir: dir, stamp, log: silentLogger, now: () => now, reuseDelayMs });
}
const request = (id: string) =>
  ({ network: 'n', containerId: id, ifname: 'eth0', kind: 'wired', link: `veth-${id}`, sandbox: '1' }) as const;

describe('ranges', () => {
  it('leave out network address, gateway and broadcast address', () => {
    expect(rangeSetSize(set('10.0.0.0/24'))).toBe(253n);
    expect(rangeSetSize(set('10.0.0.0/30'))).toBe(1n);
    expect(rangeSetSize(set('fd00::/126'))).toBe(2n);
    expect(formatRange(rangeOfSubnet('10.0.0.0/24'))).toBe('10.0.0.0/24');
    expect(formatRange(rangeOfSubnet('10.0.0.0/24', { rangeStart: '10.0.0.10', rangeEnd: '10.0.0.20' }))).toBe(
      '10.0.0.10-10.0.0.20 of 10.0.0.0/24',
    );
  });

  it('refuse what cannot work, naming it', () => {
    const bad = (ipam: object, text: RegExp) =>
      expect(() => rangeSetsFromConfig(ipam as Record<string, unknown>)).toThrow(text);
    bad({}, /no ranges/);
    bad({ subnet: '10.0.0.0/31' }, /10\.0\.0\.0\/31 is too small/);
    bad({ subnet: 'fd00::/127' }, /too small/);
    bad({ subnet: 'x' }, /not a CIDR block: x/);
    bad({ ranges: [[]] }, /ranges\[0\] is empty/);
    bad({ ranges: [[{ subnet: '10.0.0.0/24' }, { subnet: 'fd00::/64' }]] }, /mixes IPv4 and IPv6/);
    bad({ ranges: [[{ subnet: '10.0.0.0/24' }], [{ subnet: '10.0.0.0/16' }]] }, /overlap/);
    bad({ ranges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.1.1' }]] }, /rangeStart: 10\.0\.1\.1 is not in/);
    bad({ ranges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.9', rangeEnd: '10.0.0.8' }]] }, /is after rangeEnd/);
    bad(
      { ranges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.1', rangeEnd: '10.0.0.1' }]] },
      /no address besides its gateway/,
    );
  });

  it('of one subnet may be split', () => {
    const split = {
      ranges: [
        [
          { subnet: '10.0.0.0/24', rangeEnd: '10.0.0.9' },
          { subnet: '10.0.0.0/24', rangeStart: '10.0.0.20' },
        ],
      ],
    };
    expect(rangeSetSize(rangeSetsFromConfig(split)[0]!)).toBe(8n + 235n);
  });
});

describe('the pool', () => {
  it('goes round, and gives freed addresses a rest', () => {
    const pool = new AddressPool({ reuseDelayMs: 100 });
    const s = set('10.0.0.0/29');
    const take = (at: number) => pool.take(s, 'x', at).address;
    expect([take(0), take(0)]).toEqual(['10.0.0.2', '10.0.0.3']);
    pool.release('10.0.0.2', 'x', 0);
    expect([take(10), take(10), take(10)]).toEqual(['10.0.0.4', '10.0.0.5', '10.0.0.6']);
    // Nothing else is left: better an address that rested little than none.
    expect(take(20)).toBe('10.0.0.2');
    expect(() => take(30)).toThrow('no IP addresses available in 10.0.0.0/29: 5 of 5 are in use');
    pool.release('10.0.0.4', 'x', 30);
    pool.release('10.0.0.3', 'x', 40);
    expect(take(200)).toBe('10.0.0.3');
  });

  it('never gives an address twice, and gives all of them', () => {
    const step = fc.oneof(fc.constant('take' as const), fc.nat(40));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(50), (steps, delay) => {
        const pool = new AddressPool({ reuseDelayMs: delay });
        const s = set('10.0.0.0/27');
        const held: string[] = [];
        steps.forEach((action, time) => {
          if (action !== 'take') {
            const [gone] = held.splice(action % Math.max(1, held.length), 1);
            if (gone !== undefined) pool.release(gone, 'x', time);
            return;
          }
          if (held.length === 29) expect(() => pool.take(s, 'x', time)).toThrow('29 of 29');
          else {
            const { address } = pool.take(s, 'x', time);
            expect(held).not.toContain(address);
            held.push(address);
          }
        });
      }),
    );
  });
});

describe('allocations', () => {
  it('survive a restart and go on behind the last', () => {
    const first = open();
    for (const id of ['a', 'b']) first.ready(first.reserve(request(id), sets('10.0.0.0/24', 'fd00::/64')).allocation);
    first.close();
    const second = open();
    expect(second.list().map((a) => [a.containerId, a.state, ...a.addresses])).toEqual([
      ['a', 'ready', '10.0.0.2', 'fd00::2'],
      ['b', 'ready', '10.0.0.3', 'fd00::3'],
    ]);
    expect(second.reserve(request('c'), sets('10.0.0.0/24')).allocation.addresses).toEqual(['10.0.0.4']);
    second.close();
  });

  it('keep a freed address resting across a restart', () => {
    const first = open();
    const { allocation } = first.reserve(request('a'), sets('10.0.0.0/29'));
    first.ready(allocation);
    first.release(allocation);
    first.close();
    const second = open();
    expect(second.reserve(request('b'), sets('10.0.0.0/29')).allocation.addresses).toEqual(['10.0.0.3']);
    second.close();
  });

  it.each([
    ['boot', { ...STAMP, boot: 'boot-2' }],
    ['netns', { ...STAMP, netns: '1' }],
  ])('of an earlier %s are void', (why, stamp) => {
    const first = open();
    first.reserve(request('a'), sets('10.0.0.0/24'));
    first.close();
    const second = open(stamp);
    expect(second.found.dropped).toEqual({ count: 1, why });
    expect(second.list()).toEqual([]);
    second.close();
  });

  it('refuse a second one for the same attachment, and take nothing when they fail', () => {
    const ipam = open();
    ipam.reserve(request('a'), sets('10.0.0.0/29'));
    expect(() => ipam.reserve(request('a'), sets('10.0.0.0/29'))).toThrow('n/a/eth0 has an allocation already');
    expect(() => ipam.reserve(request('b'), [set('10.0.0.0/29'), set('10.1.0.0/30'), set('10.1.0.0/30')])).toThrow(
      '1 of 1',
    );
    expect(ipam.usage(set('10.0.0.0/29')).used).toBe(1);
    expect(ipam.usage(set('10.1.0.0/30')).used).toBe(0);
    ipam.close();
  });

  it('survive a torn last line, and lines that were damaged', () => {
    const first = open();
    first.ready(first.reserve(request('a'), sets('10.0.0.0/24')).allocation);
    first.close();
    const path = join(dir, 'allocations.journal');
    appendFileSync(path, '{"put":"n/b/eth0","record":{"addr');
    const second = open();
    expect(second.found.damagedLines).toBe(0);
    second.reserve(request('c'), sets('10.0.0.0/24'));
    second.close();
    const lines = readFileSync(path, 'utf8').split('\n');
    writeFileSync(path, [lines[0], 'garbage', ...lines.slice(1)].join('\n'));
    const third = open();
    expect(third.found.damagedLines).toBe(1);
    expect(third.list().map((a) => a.containerId)).toEqual(['a', 'c']);
    third.close();
  });
});

describe('the journal', () => {
  it('is rewritten when it is mostly history, and says the same', () => {
    const { journal } = Journal.open<number>(join(dir, 'j'), STAMP, silentLogger);
    for (let i = 0; i < 5000; i++) journal.put(`k${i % 7}`, i);
    journal.remove('k3', 5);
    journal.close();
    expect(readFileSync(join(dir, 'j'), 'utf8').split('\n').length).toBeLessThan(2000);
    const { journal: again, contents } = Journal.open<number>(join(dir, 'j'), STAMP, silentLogger);
    expect([...contents.records.keys()].sort()).toEqual(['k0', 'k1', 'k2', 'k4', 'k5', 'k6']);
    again.close();
  });
});

/** A model of what kernel and runtime hold while an agent dies again and again. */
describe('a crash at any step', () => {
  interface World {
    /** Link name → address it carries. */
    readonly links: Map<string, Allocation>;
    /** Containers whose ADD the runtime saw succeed. */
    readonly told: Map<string, string>;
  }
  const steps = ['reserved', 'wired', 'ready', 'told'] as const;
  const downSteps = ['removing', 'unlinked', 'released', 'told'] as const;

  function restart(world: World): Ipam {
    const ipam = open(STAMP, 0);
    const links = [...world.links].map(
      ([name, a]) => ({ name, alias: `weft n/${a.containerId}/eth0 ${a.addresses.join(',')}` }) as Link,
    );
    const takeDown = (a: Allocation): void => {
      world.links.delete(a.link ?? '');
      ipam.release(a);
    };
    recover(planRecovery(ipam.list(), links, now), ipam, takeDown, silentLogger);
    return ipam;
  }

  function check(world: World, ipam: Ipam): void {
    const held = ipam.list().flatMap((a) => a.addresses);
    expect(new Set(held).size).toBe(held.length);
    for (const [container, address] of world.told) {
      expect(ipam.get('n', { containerId: container, ifname: 'eth0' })?.addresses).toEqual([address]);
      expect(world.links.has(`veth-${container}`)).toBe(true);
    }
    // A link without a record, or a record without a link, would be a leak.
    expect([...world.links.keys()].sort()).toEqual(
      ipam
        .list()
        .map((a) => String(a.link))
        .sort(),
    );
  }

  it('leaks no address and doubles none', () => {
    const crash = fc.record({ container: fc.nat(12), verb: fc.constantFrom('ADD', 'DEL'), upTo: fc.nat(4) });
    fc.assert(
      fc.property(fc.array(crash, { maxLength: 40 }), (calls) => {
        rmSync(dir, { recursive: true, force: true });
        const world: World = { links: new Map(), told: new Map() };
        let ipam = restart(world);
        for (const { container, verb, upTo } of calls) {
          const id = `c${container}`;
          const existing = ipam.get('n', { containerId: id, ifname: 'eth0' });
          now += 1;
          if (verb === 'ADD' && existing === undefined) {
            let allocation: Allocation | undefined;
            for (const step of steps.slice(0, upTo)) {
              if (step === 'reserved') allocation = ipam.reserve(request(id), sets('10.0.0.0/28')).allocation;
              else if (step === 'wired') world.links.set(`veth-${id}`, allocation!);
              else if (step === 'ready') ipam.ready(allocation!);
              else world.told.set(id, allocation!.addresses[0]!);
            }
          } else if (verb === 'DEL' && existing !== undefined) {
            // From here on the runtime counts the container as gone, whatever it is told.
            if (upTo > 0) world.told.delete(id);
            for (const step of downSteps.slice(0, upTo)) {
              if (step === 'removing') ipam.removing(existing);
              else if (step === 'unlinked') world.links.delete(`veth-${id}`);
              else if (step === 'released') ipam.release(existing);
            }
          }
          ipam.close();
          ipam = restart(world);
          check(world, ipam);
        }
        ipam.close();
      }),
      { numRuns: 60 },
    );
  });
});
