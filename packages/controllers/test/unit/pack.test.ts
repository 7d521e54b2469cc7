import type { Endpoint, EndpointSlice } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type EndpointGroup, packSlices, type SliceChanges } from '../../src/index.ts';

const PORTS = [
  [{ name: 'http', protocol: 'TCP' as const, port: 80 }],
  [{ name: 'http', protocol: 'TCP' as const, port: 8080 }],
];

function endpoint(n: number, ready = true): Endpoint {
  return {
    addresses: [`10.0.${n >> 8}.${n & 255}`],
    conditions: { ready, serving: ready, terminating: false },
    targetRef: { kind: 'Pod', namespace: 'default', name: `p${n}`, uid: `u${n}` },
  };
}

/** Pod numbers → whether it is ready and on which port it serves. */
type World = ReadonlyMap<number, { ready: boolean; port: number }>;

function groups(world: World): EndpointGroup[] {
  return PORTS.flatMap((ports, i) => {
    const endpoints = [...world].filter(([, p]) => p.port === i).map(([n, p]) => endpoint(n, p.ready));
    return endpoints.length === 0 ? [] : [{ addressType: 'IPv4' as const, ports, endpoints }];
  });
}

let names = 0;
function write(slices: readonly EndpointSlice[], changes: SliceChanges): EndpointSlice[] {
  const updated = new Map(changes.update.map((u) => [u.slice, u.content]));
  const next = slices
    .filter((slice) => !changes.remove.includes(slice))
    .map((slice) => {
      const content = updated.get(slice);
      return content === undefined ? slice : { ...slice, ports: [...content.ports], endpoints: [...content.endpoints] };
    });
  for (const content of changes.create) {
    next.push({
      metadata: { name: `s${names++}` },
      addressType: content.addressType,
      ports: [...content.ports],
      endpoints: [...content.endpoints],
    });
  }
  return next;
}

const OPTIONS = { placeholder: true, addressTypes: ['IPv4' as const], maxEndpoints: 5 };
const writesOf = (c: SliceChanges): number => c.create.length + c.update.length + c.remove.length;
const held = (slices: readonly EndpointSlice[]): string[] =>
  slices
    .flatMap((s) => (s.endpoints ?? []).map((e) => `${e.addresses[0]}:${s.ports?.[0]?.port} ${e.conditions?.ready}`))
    .sort();
const wanted = (world: World): string[] =>
  [...world].map(([n, p]) => `${endpoint(n).addresses[0]}:${PORTS[p.port]?.[0]?.port} ${p.ready}`).sort();

const worlds = fc.array(
  fc.uniqueArray(fc.tuple(fc.nat(40), fc.boolean(), fc.nat(1)), { selector: ([n]) => n, maxLength: 40 }),
  { minLength: 1, maxLength: 6 },
);
const worldOf = (pods: readonly (readonly [number, boolean, number])[]): World =>
  new Map(pods.map(([n, ready, port]) => [n, { ready, port }]));

describe('packSlices', () => {
  test('whatever changes, the slices hold exactly the endpoints, each once, never too many', () => {
    fc.assert(
      fc.property(worlds, (steps) => {
        let slices: EndpointSlice[] = [];
        for (const pods of steps) {
          const world = worldOf(pods);
          slices = write(slices, packSlices(slices, groups(world), OPTIONS));
          expect(held(slices)).toEqual(wanted(world));
          for (const slice of slices) expect(slice.endpoints?.length).toBeLessThanOrEqual(5);
          expect(slices.length).toBeGreaterThan(0);
          // What is right is left alone.
          expect(writesOf(packSlices(slices, groups(world), OPTIONS))).toBe(0);
        }
      }),
    );
  });

  test('one pod more or less, or ready or not, is one write', () => {
    fc.assert(
      fc.property(fc.nat(60), fc.nat(60), fc.boolean(), (size, which, ready) => {
        const world = new Map(Array.from({ length: size }, (_, n) => [n, { ready: true, port: 0 }]));
        const slices = write([], packSlices([], groups(world), OPTIONS));
        const next = new Map(world);
        if (ready || !next.delete(which)) next.set(which, { ready, port: 0 });
        expect(writesOf(packSlices(slices, groups(next), OPTIONS))).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('an endpoint stays in its slice', () => {
    const slices = write(
      [],
      packSlices([], groups(new Map(range(10).map((n) => [n, { ready: true, port: 0 }]))), OPTIONS),
    );
    const without = new Map(
      range(10)
        .filter((n) => n !== 2)
        .map((n) => [n, { ready: true, port: 0 }]),
    );
    const changes = packSlices(slices, groups(without), OPTIONS);
    expect(changes.create).toEqual([]);
    expect(changes.update.map((u) => u.slice)).toEqual([slices[0]]);
  });

  test('new endpoints fill the slice that is written anyway, then the fullest with room for all', () => {
    const a = slice('a', [1, 2, 3]);
    const b = slice('b', [4, 5, 6, 7]);
    const add = (extra: number[], gone: number[] = []): SliceChanges =>
      packSlices(
        [a, b],
        groups(
          new Map(
            [1, 2, 3, 4, 5, 6, 7, ...extra].filter((n) => !gone.includes(n)).map((n) => [n, { ready: true, port: 0 }]),
          ),
        ),
        OPTIONS,
      );
    expect(add([8]).update.map((u) => u.slice.metadata.name)).toEqual(['b']);
    expect(add([8, 9]).update.map((u) => u.slice.metadata.name)).toEqual(['a']);
    expect(add([8, 9], [1]).update.map((u) => u.slice.metadata.name)).toEqual(['a']);
    const many = add([8, 9, 10]);
    expect(many.update).toEqual([]);
    expect(many.create.map((c) => c.endpoints.length)).toEqual([3]);
  });

  test('a slice whose port changed is rewritten, not replaced', () => {
    const changes = packSlices([slice('a', [1])], groups(new Map([[1, { ready: true, port: 1 }]])), OPTIONS);
    expect(changes.create).toEqual([]);
    expect(changes.remove).toEqual([]);
    expect(changes.update.map((u) => [u.slice.metadata.name, u.content.ports[0]?.port])).toEqual([['a', 8080]]);
  });

  test('labels that changed are written to all slices', () => {
    const world = groups(new Map([1, 2].map((n) => [n, { ready: true, port: 0 }])));
    const changes = packSlices([slice('a', [1]), slice('b', [2])], world, { ...OPTIONS, stale: () => true });
    expect(changes.update.map((u) => u.slice.metadata.name)).toEqual(['a', 'b']);
  });

  test('slices of a family that the Service no longer has are removed', () => {
    const six: EndpointSlice = { metadata: { name: 'six' }, addressType: 'IPv6', endpoints: [], ports: [] };
    const changes = packSlices([slice('a', [1]), six], groups(new Map([[1, { ready: true, port: 0 }]])), OPTIONS);
    expect(changes.remove).toEqual([six]);
    expect(changes.update).toEqual([]);
  });
});

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

function slice(name: string, pods: readonly number[]): EndpointSlice {
  return { metadata: { name }, addressType: 'IPv4', ports: PORTS[0] ?? [], endpoints: pods.map((n) => endpoint(n)) };
}
