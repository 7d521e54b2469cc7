import { afterEach, describe, expect, it } from 'vitest';
import {
  Assembler,
  BpfMap,
  BpfProgram,
  countRuns,
  isKernelError,
  possibleCpus,
  R,
  reg,
  Rtnl,
} from '../../src/index.ts';
import { inside, Namespaces } from './netns-fixture.ts';

const namespaces = new Namespaces();
const open: { close(): void }[] = [];
const keep = <T extends { close(): void }>(thing: T): T => {
  open.push(thing);
  return thing;
};
afterEach(() => {
  for (const thing of open.splice(0).reverse()) thing.close();
  namespaces.close();
});

const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

describe('maps', () => {
  it('hold, list, replace and give up entries', () => {
    const map = keep(BpfMap.create({ type: 'hash', name: 't', keySize: 4, valueSize: 8, maxEntries: 16 }));
    expect(map.get(u32(1))).toBeUndefined();
    map.set(u32(1), Buffer.from('12345678'));
    map.set(u32(2), Buffer.from('abcdefgh'));
    expect(map.get(u32(1))?.toString()).toBe('12345678');
    expect(new Set([...map.keys()].map((key) => key.readUInt32LE()))).toEqual(new Set([1, 2]));
    expect(() => map.set(u32(1), Buffer.alloc(8), 'absent')).toThrow(/EEXIST/);
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
    expect(() => map.set(Buffer.alloc(3), Buffer.alloc(8))).toThrow(/key of 3 bytes instead of 4/);
  });

  it('take many entries at once, and give them back', () => {
    const map = keep(BpfMap.create({ type: 'hash', name: 'many', keySize: 4, valueSize: 4, maxEntries: 1000 }));
    const keys = Buffer.concat(Array.from({ length: 500 }, (_, i) => u32(i)));
    const values = Buffer.concat(Array.from({ length: 500 }, (_, i) => u32(i * 2)));
    map.setMany(keys, values, 500);
    expect(map.get(u32(499))?.readUInt32LE()).toBe(998);
    const taken = map.take(1000);
    expect(taken.length).toBe(500);
    for (const { key, value } of taken) expect(value.readUInt32LE()).toBe(2 * key.readUInt32LE());
    expect([...map.keys()]).toEqual([]);
    expect(map.take(10)).toEqual([]);
  });

  it('have a value for every CPU', () => {
    const map = keep(BpfMap.create({ type: 'percpu_array', name: 'cpu', keySize: 4, valueSize: 8, maxEntries: 1 }));
    expect(map.get(u32(0))?.length).toBe(8 * possibleCpus());
  });
});

describe('programs', () => {
  it('run at a link, read and write maps, and are counted', async () => {
    const map = keep(BpfMap.create({ type: 'array', name: 'seen', keySize: 4, valueSize: 8, maxEntries: 1 }));
    // Counts packets and lets them pass.
    const code = new Assembler()
      .store(4, R.FP, -4, 0)
      .map(R.r1, map.fd)
      .mov(R.r2, reg(R.FP))
      .alu('add', R.r2, -4)
      .call('map_lookup_elem')
      .jump('eq', R.r0, 0, 'pass')
      .load(8, R.r1, R.r0, 0)
      .alu('add', R.r1, 1)
      .store(8, R.r0, 0, reg(R.r1))
      .label('pass')
      .mov(R.r0, 2)
      .exit()
      .build();
    const program = keep(BpfProgram.load({ type: 'xdp', name: 'count', code }));
    const ns = namespaces.make();
    const rt = Rtnl.open(ns);
    await rt.links.set('lo', { up: true });
    const index = (await rt.links.get('lo'))?.index ?? 0;
    rt.close();
    open.push({ close: countRuns() });
    const link = keep(ns.run(() => program.attachXdp(index, 'generic')));
    inside(ns, 'ping', '-c', '1', '127.0.0.1');
    const seen = Number(map.get(u32(0))?.readBigUInt64LE());
    expect(seen).toBe(2);
    expect(program.stats().runs).toBe(2);
    link.update(program);
    link.close();
    open.splice(open.indexOf(link), 1);
    inside(ns, 'ping', '-c', '1', '127.0.0.1');
    expect(Number(map.get(u32(0))?.readBigUInt64LE())).toBe(2);
  });

  it('are refused with the words of the verifier', () => {
    const code = new Assembler().exit().build();
    let error: unknown;
    try {
      BpfProgram.load({ type: 'xdp', name: 'bad', code });
    } catch (caught) {
      error = caught;
    }
    expect(isKernelError(error, 'EACCES')).toBe(true);
    expect((error as Error).message).toMatch(/cannot load BPF program bad: .*R0 !read_ok/);
    expect(() => new Assembler().goto('nowhere').build()).toThrow(/no label nowhere/);
  });
});
