import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Blocks } from '../src/ebpf/blocks.ts';
import { type MapChanges, SocketMaps } from '../src/ebpf/sockets.ts';
import { formatEndpoint, packAddress, unpackList } from '../src/model/packed.ts';
import { frontendKey, type Planned, type ServicePort } from '../src/model/types.ts';
import { Feed } from './support/harness.ts';
import { events, service, slice } from './support/worlds.ts';

/** Maps that do what they are told. */
class ModelMaps {
  readonly services = new Map<string, { readonly first: number; readonly count: number }>();
  readonly backends = new Map<number, string>();

  play(changes: MapChanges): void {
    for (const { index, value } of changes.backends) this.backends.set(index, value.toString('hex'));
    for (const { key, value } of changes.set) {
      this.services.set(key.toString('hex'), { first: value.readUInt32LE(0), count: value.readUInt32LE(4) });
    }
    for (const key of changes.deleted) {
      expect(this.services.delete(key.toString('hex')), 'only what is there is deleted').toBe(true);
    }
  }

  /** Frontends with what a program that looks for them may draw. */
  get text(): string[] {
    return [...this.services]
      .map(([key, { first, count }]) => {
        const drawn = Array.from({ length: count }, (_, i) => this.backends.get(first + i) ?? 'nothing');
        return `${key} ${drawn.join(',')}`;
      })
      .sort();
  }
}

/** What the specification of the plane says, read from the plan directly: TCP, ClusterIP, no affinity, no contest. */
function expected(plan: Iterable<Planned>): string[] {
  const ports = [...plan].filter((one): one is ServicePort => one.type === 'ServicePort');
  const claims = ports.flatMap((port) => port.frontends.map((frontend) => frontend.key));
  const out: string[] = [];
  for (const port of ports) {
    const list = port.internal === 'Local' ? port.local : port.cluster;
    if (port.protocol !== 'TCP' || port.affinitySeconds > 0 || list === '') continue;
    const own = new Set(unpackList(port.hairpin, 4));
    const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
    const drawn = unpackList(list, 6).map((e) => `${hex(e)}${own.has(e.slice(0, 4)) ? '0100' : '0000'}`);
    for (const { kind, key } of port.frontends) {
      if (kind !== 'ClusterIP' || claims.filter((other) => other === key).length > 1) continue;
      out.push(`${hex(key.slice(0, 4))}${hex(key.slice(-2))}0000 ${drawn.join(',')}`);
    }
  }
  return out.sort();
}

it('any history ends with what the plan alone says, and no frontend ever leads to nothing', () => {
  let led = 0;
  fc.assert(
    fc.property(events, fc.array(fc.nat(5000), { maxLength: 30 }), (history, waits) => {
      const feed = new Feed();
      const maps = new ModelMaps();
      const state = new SocketMaps(4);
      let now = 0;
      for (const [i, event] of history.entries()) {
        // One of the addresses that are contested is a ClusterIP.
        feed.push({ object: undefined, ...JSON.parse(JSON.stringify(event).replaceAll('192.0.2.2', '10.96.0.1')) });
        const changes = state.update(feed.take(), (now += waits[i] ?? 0));
        maps.play(changes as MapChanges);
        for (const line of maps.text) expect(line).not.toContain('nothing');
      }
      const plan = [...feed.applied.values()].map(({ value }) => value);
      expect(maps.text).toEqual(expected(plan));
      expect(maps.text.length).toBe(state.held);
      const again = new ModelMaps();
      again.play({ ...state.wanted(), deleted: [] });
      expect(again.text).toEqual(maps.text);
      const cold = new SocketMaps(4, plan);
      const first = new ModelMaps();
      first.play(cold.update(feed.whole(), 0) as MapChanges);
      expect(first.text).toEqual(maps.text);
      led += maps.services.size;
    }),
  );
  expect(led).toBeGreaterThan(0);
});

it('leaves an address that two Services have to packets, and leads it when one of them goes', () => {
  const feed = new Feed();
  const maps = new ModelMaps();
  const state = new SocketMaps(4);
  const step = (...list: Parameters<Feed['push']>[0][]): void => {
    for (const event of list) feed.push(event);
    maps.play(state.update(feed.take(), 0) as MapChanges);
  };
  step(
    { kind: 'service', name: 'a', object: service('a', { clusterIP: '10.96.0.1' }) },
    { kind: 'slice', name: 'a-1', object: slice('a-1', 'a', [{ address: '10.244.0.13', nodeName: 'node' }]) },
  );
  expect(maps.services.size).toBe(1);
  const other = service('b', { clusterIP: '10.96.0.2', externalIPs: ['10.96.0.1'] });
  step({ kind: 'service', name: 'b', object: other });
  expect(maps.services.size).toBe(0);
  step({ kind: 'service', name: 'b', object: undefined });
  const key = Buffer.from(frontendKey(packAddress('10.96.0.1') ?? '', 'TCP', 80), 'latin1');
  expect([...maps.services.keys()]).toEqual([`${key.subarray(0, 4).toString('hex')}00500000`]);
  expect(formatEndpoint(Buffer.from((maps.backends.get(0) ?? '').slice(0, 12), 'hex').toString('latin1'))).toBe(
    '10.244.0.13:8080',
  );
});

it('asks for larger maps when the plan outgrows them', () => {
  const feed = new Feed();
  const state = new SocketMaps(4);
  const many = Array.from({ length: 1000 }, (_, i) => ({ address: `10.244.${i >> 8}.${i & 255}` }));
  let refused = 0;
  for (let i = 0; i < 6; i++) {
    feed.push({ kind: 'service', name: `s${i}`, object: service(`s${i}`, { clusterIP: `10.96.0.${i + 1}` }) });
    feed.push({ kind: 'slice', name: `s${i}-1`, object: slice(`s${i}-1`, `s${i}`, many) });
    if (state.update(feed.take(), 0) === undefined) refused += 1;
  }
  expect(refused).toBeGreaterThan(0);
  const plan = [...feed.applied.values()].map(({ value }) => value);
  const larger = new SocketMaps(4, plan);
  expect(larger.update(feed.whole(), 0)?.set).toHaveLength(6);
  expect(larger.size.backends).toBeGreaterThanOrEqual(12_000);
});

it('gives elements to another only when they have rested', () => {
  const blocks = new Blocks(10);
  expect(blocks.take(5, 0)).toBe(0);
  blocks.give(0, 5, 0);
  expect(blocks.take(5, 500)).toBe(5);
  expect(blocks.take(5, 999)).toBeUndefined();
  expect(blocks.take(5, 1000)).toBe(0);
});
