import fs, { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports as syncBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@weft/plan';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Store, type StoreOptions } from '../../src/store/store.ts';
import type { AnyObject } from '../../src/store/stored.ts';

let directory: string;
const open: Store[] = [];

function openStore(options: Partial<StoreOptions> = {}): Store {
  const store = new Store({ directory, durability: 'none', log: silentLogger, ...options });
  open.push(store);
  return store;
}

/** As after kill -9: the lock's owner is gone, and nothing was tidied up. */
function crash(store: Store): void {
  open.splice(open.indexOf(store), 1);
  rmSync(join(directory, 'lock'));
}

const object = (name: string, value = 0): AnyObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data: { value: String(value) },
});

const put = (store: Store, name: string, value = 0): Promise<void> =>
  store.commit([{ collection: '/configmaps', key: `default/${name}`, object: object(name, value) }]).durable;
const remove = (store: Store, name: string): Promise<void> =>
  store.commit([{ collection: '/configmaps', key: `default/${name}`, object: undefined }]).durable;
const names = (store: Store): string[] =>
  store
    .collection('/configmaps')
    .list()
    .map((s) => `${s.object.metadata.name}=${(s.object.data as { value: string }).value}@${s.rv}`);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-store-'));
});

afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('store', () => {
  it('has the same objects after a crash, and goes on with higher versions', () => {
    const store = openStore();
    void put(store, 'a', 1);
    void put(store, 'b', 1);
    void put(store, 'a', 2);
    void remove(store, 'b');
    const before = names(store);
    const { rv } = store;
    crash(store);
    const again = openStore();
    expect(names(again)).toEqual(before);
    expect(again.rv).toBeGreaterThan(rv);
  });

  it('keeps the version across an orderly end, so that watches can go on', async () => {
    const store = openStore();
    void put(store, 'a');
    const { rv } = store;
    await store.close();
    const again = openStore();
    expect(again.rv).toBe(rv);
    void put(again, 'b');
    expect(again.isExpired(again.collection('/configmaps'), rv)).toBe(false);
    expect(
      again
        .collection('/configmaps')
        .since(rv)
        ?.map((e) => e.type),
    ).toEqual(['ADDED']);
  });

  it('refuses to resume from versions that a crash may have lost', () => {
    const store = openStore();
    void put(store, 'a');
    const { rv } = store;
    crash(store);
    const again = openStore();
    const collection = again.collection('/configmaps');
    expect(again.isExpired(collection, rv)).toBe(false);
    expect(again.isExpired(collection, rv + 1)).toBe(true);
    expect(again.isExpired(collection, again.rv + 1)).toBe(true);
  });

  it('lists in the order of keys, whatever the order of writes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-d]{1,3}$/), fc.boolean()), { maxLength: 60 }), (steps) => {
        const store = new Store({
          directory: mkdtempSync(join(directory, 'x')),
          durability: 'none',
          log: silentLogger,
        });
        const model = new Map<string, true>();
        for (const [name, add] of steps) {
          void (add ? put(store, name) : remove(store, name));
          if (add) model.set(name, true);
          else model.delete(name);
        }
        const listed = store
          .collection('/configmaps')
          .list()
          .map((s) => s.object.metadata.name);
        expect(listed).toEqual([...model.keys()].sort());
        expect(store.collection('/configmaps').bytes).toBe(
          store
            .collection('/configmaps')
            .list()
            .reduce((sum, s) => sum + s.json.length, 0),
        );
        void store.close();
      }),
      { numRuns: 30 },
    );
  });

  it('has the same objects after compaction and a crash, with writes before, during and after', async () => {
    const store = openStore();
    for (let i = 0; i < 200; i++) void put(store, `n${i % 20}`, i);
    const done = store.compact();
    for (let i = 0; i < 50; i++) void put(store, `m${i}`, i);
    await done;
    for (let i = 0; i < 10; i++) void remove(store, `m${i}`);
    const before = names(store);
    expect(readdirSync(directory).filter((n) => n.startsWith('log-'))).toHaveLength(1);
    crash(store);
    expect(names(openStore())).toEqual(before);
  });

  it('compacts by itself when the log is much larger than what is alive', async () => {
    const store = openStore({ compactAbove: 20_000 });
    let written = 0;
    while (!readdirSync(directory).some((n) => /^snapshot-\d+$/.test(n))) {
      await put(store, 'a', written++);
      await new Promise((resolve) => setImmediate(resolve));
      expect(written).toBeLessThan(100_000);
    }
    await store.close();
    open.splice(0);
    expect(names(openStore())[0]).toMatch(`a=${written - 1}@`);
  });

  it('survives an interrupted compaction', () => {
    const store = openStore();
    void put(store, 'a', 1);
    const before = names(store);
    crash(store);
    writeFileSync(join(directory, 'snapshot-00000002.tmp'), 'half');
    expect(names(openStore())).toEqual(before);
    expect(readdirSync(directory)).not.toContain('snapshot-00000002.tmp');
  });

  it('drops a torn tail and writes on behind the last whole record', () => {
    const store = openStore();
    void put(store, 'a', 1);
    crash(store);
    appendFileSync(join(directory, 'log-00000001'), Buffer.from([40, 0, 0, 0, 1, 2, 3, 4, 0]));
    const again = openStore();
    void put(again, 'b', 2);
    const before = names(again);
    crash(again);
    expect(names(openStore())).toEqual(before);
    expect(before).toHaveLength(2);
  });

  it('says so when the disk has changed bytes in the middle', () => {
    const store = openStore();
    void put(store, 'a', 1);
    void put(store, 'b', 1);
    crash(store);
    const path = join(directory, 'log-00000001');
    const data = readFileSync(path);
    data.writeUInt8(data.readUInt8(30) ^ 1, 30);
    writeFileSync(path, data);
    expect(() => openStore()).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
  });

  it('refuses a directory of another format, with a hint', async () => {
    await openStore().close();
    open.splice(0);
    writeFileSync(join(directory, 'format.json'), '{"format":"weft-apiserver-store","version":99}');
    expect(() => openStore()).toThrow(
      expect.objectContaining({ code: 'STORE_INCOMPATIBLE', hint: expect.stringContaining('data directory') }),
    );
  });

  it('refuses a directory that another process uses, and takes over a dead one', () => {
    const store = openStore();
    expect(() => openStore()).toThrow(expect.objectContaining({ code: 'DATA_DIR_IN_USE' }));
    crash(store);
    writeFileSync(join(directory, 'lock'), JSON.stringify({ pid: process.pid, started: '1' }));
    expect(() => openStore()).not.toThrow();
  });

  it('refuses a write on a full disk, changes nothing, and works again when there is room', () => {
    const store = openStore();
    void put(store, 'a', 1);
    const before = names(store);
    const { rv } = store;
    // A limit of the process stands in for a full disk: the kernel refuses the write the same way.
    const original = fs.writeSync;
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    fs.writeSync = () => {
      throw full;
    };
    syncBuiltin();
    try {
      expect(() => put(store, 'b', 1)).toThrow(expect.objectContaining({ code: 'STORE_FULL' }));
    } finally {
      fs.writeSync = original;
      syncBuiltin();
    }
    expect(names(store)).toEqual(before);
    expect(store.rv).toBe(rv);
    void put(store, 'b', 2);
    const after = names(store);
    crash(store);
    expect(names(openStore())).toEqual(after);
  });

  it('resolves durable writes only after the sync, many with one', async () => {
    const store = openStore({ durability: 'fsync' });
    await Promise.all(Array.from({ length: 200 }, (_, i) => put(store, `n${i}`)));
    expect(store.collection('/configmaps').size).toBe(200);
  });

  it('forgets events beyond its history, and says what it still knows', () => {
    const store = openStore({ history: 10 });
    const start = store.rv;
    for (let i = 0; i < 25; i++) void put(store, 'a', i);
    const collection = store.collection('/configmaps');
    expect(collection.since(start)).toBeUndefined();
    expect(collection.floor).toBe(start + 15);
    expect(collection.since(start + 15)?.map((e) => e.rv)).toEqual(
      Array.from({ length: 10 }, (_, i) => start + 16 + i),
    );
    expect(collection.since(store.rv)).toEqual([]);
  });
});
