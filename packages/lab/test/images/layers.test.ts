import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageStore, loadImages } from '../../src/images/index.ts';
import { digestOf } from '../../src/images/store.ts';
import { type TarEntry, writeTar } from '../../src/images/tar.ts';
import { applyLayer } from '../../src/images/untar.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-layers-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** In pieces of an awkward size, as a stream might come. */
async function* pieces(data: Buffer, size = 700): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}
const file = (path: string, data: string, mode = 0o644): TarEntry => ({
  path,
  type: 'file',
  data: Buffer.from(data),
  mode,
});
const apply = (entries: TarEntry[], root = join(dir)): Promise<void> => applyLayer(pieces(writeTar(entries)), root);

describe('layers', () => {
  it('come out as they went in', async () => {
    const long = `${'deep/'.repeat(30)}file`;
    await apply([
      { path: 'a', type: 'dir', mode: 0o750 },
      file('a/x', 'x'.repeat(2000), 0o4755),
      { path: 'a/link', type: 'symlink', target: '/a/x' },
      { path: 'a/hard', type: 'link', target: 'a/x' },
      file(long, 'far down'),
    ]);
    expect(readFileSync(join(dir, 'a/x'), 'utf8')).toBe('x'.repeat(2000));
    expect(statSync(join(dir, 'a/x')).mode & 0o7777).toBe(0o4755);
    expect(statSync(join(dir, 'a')).mode & 0o7777).toBe(0o750);
    expect(readlinkSync(join(dir, 'a/link'))).toBe('/a/x');
    expect(statSync(join(dir, 'a/hard')).ino).toBe(statSync(join(dir, 'a/x')).ino);
    expect(readFileSync(join(dir, long), 'utf8')).toBe('far down');
  });

  it('have the same bytes for the same entries', () => {
    expect(digestOf(writeTar([file('a', '1')]))).toBe(digestOf(writeTar([file('a', '1')])));
  });

  it('take away what a whiteout names and hide what an opaque directory had', async () => {
    await apply([{ path: 'd', type: 'dir' }, file('d/old', '1'), file('gone', '1'), file('kept', '1')]);
    await apply([file('.wh.gone', ''), { path: 'd', type: 'dir' }, file('d/new', '2'), file('d/.wh..wh..opq', '')]);
    expect(readdirSync(dir).sort()).toEqual(['d', 'kept']);
    expect(readdirSync(join(dir, 'd'))).toEqual(['new']);
  });

  it('never write outside of their root', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'weft-outside-'));
    const root = join(dir, 'root');
    mkdirSync(root);
    try {
      await apply(
        [
          { path: 'etc', type: 'symlink', target: outside },
          { path: 'up', type: 'symlink', target: '../../../../..' },
        ],
        root,
      );
      await apply([file('etc/evil', 'x'), file(`up${outside}/evil2`, 'x')], root);
      expect(readdirSync(outside)).toEqual([]);
      await expect(apply([file('../evil', 'x')], root)).resolves.toBeUndefined();
      expect(readdirSync(dir)).toEqual(['root']);
      // A link that is replaced, not written through.
      symlinkSync(join(outside, 'target'), join(root, 'file'));
      await apply([file('file', 'new')], root);
      expect(readdirSync(outside)).toEqual([]);
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });

  it('that end too soon are refused', async () => {
    const tar = writeTar([file('a', 'x'.repeat(5000))]);
    await expect(applyLayer(pieces(tar.subarray(0, 3000)), dir)).rejects.toThrow(/ends in the middle/);
  });
});

describe('the store', () => {
  const config = { architecture: 'amd64', os: 'linux', config: { Cmd: ['sh'] } };

  it('finds an image by its names and by digest', async () => {
    const store = ImageStore.open(dir);
    const image = await store.add({
      refs: ['app:1', 'app:2'],
      source: 'built',
      config,
      layers: [writeTar([file('a', '1')])],
    });
    expect(store.find('docker.io/library/app:2')?.configDigest).toBe(image.configDigest);
    expect(store.find(`other@${image.manifestDigest}`)?.configDigest).toBe(image.configDigest);
    expect(store.find('app:3')).toBeUndefined();
    expect(await store.untag('app:1')).toBe(true);
    expect(store.find('app:1')).toBeUndefined();
    // Another process sees the same.
    expect(
      ImageStore.open(dir)
        .list()
        .map((i) => i.ref),
    ).toEqual(['docker.io/library/app:2']);
  });

  it('unpacks once, layer over layer', async () => {
    const store = ImageStore.open(dir);
    const layers = [writeTar([file('a', '1'), file('b', '1')]), writeTar([file('a', '2'), file('.wh.b', '')])];
    const image = await store.add({ refs: ['app'], source: 'built', config, layers });
    const [one, two] = await Promise.all([store.rootfs(image), ImageStore.open(dir).rootfs(image)]);
    expect(one).toBe(two);
    expect(readdirSync(one)).toEqual(['a']);
    expect(readFileSync(join(one, 'a'), 'utf8')).toBe('2');
    expect(readdirSync(join(dir, 'rootfs'))).toHaveLength(1);
  });

  it('refuses a blob that is not what its digest says', async () => {
    const store = ImageStore.open(dir);
    writeFileSync(join(dir, 'x'), 'not it');
    await expect(store.adoptBlob(join(dir, 'x'), digestOf(Buffer.from('it')))).rejects.toThrow(/has the digest/);
    const image = await store.add({ refs: ['app'], source: 'built', config, layers: [writeTar([file('a', '1')])] });
    writeFileSync(store.blobPath(image.layers[0]?.digest as string), writeTar([file('a', 'changed')]));
    await expect(store.rootfs(image)).rejects.toThrow(/unpacks to/);
    expect(readdirSync(join(dir, 'rootfs'))).toEqual([]);
  });

  it.each(['plain', 'compressed'])('loads a docker archive (%s)', async (kind) => {
    const layer = writeTar([file('hello', 'world')]);
    const stored = kind === 'plain' ? layer : gzipSync(layer);
    const image = { ...config, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } };
    const archive = writeTar([
      file('abc.json', JSON.stringify(image)),
      { path: 'l1', type: 'dir' },
      { path: 'l1/layer.tar', type: 'file', data: stored },
      file('manifest.json', JSON.stringify([{ Config: 'abc.json', RepoTags: ['mine:1'], Layers: ['l1/layer.tar'] }])),
    ]);
    writeFileSync(join(dir, 'image.tar'), archive);
    const store = ImageStore.open(join(dir, 'store'));
    expect(await loadImages(store, join(dir, 'image.tar'))).toEqual(['docker.io/library/mine:1']);
    const found = store.find('mine:1');
    expect(found?.source).toBe('loaded');
    expect(readFileSync(join(await store.rootfs(found as never), 'hello'), 'utf8')).toBe('world');
    expect(readdirSync(store.dir).filter((name) => name.startsWith('.load'))).toEqual([]);
  });

  it('loads an OCI archive that another store wrote, by a name of our choice', async () => {
    const from = ImageStore.open(join(dir, 'from'));
    await from.add({ refs: ['app:1'], source: 'built', config, layers: [writeTar([file('a', '1')])] });
    const store = ImageStore.open(join(dir, 'store'));
    expect(await loadImages(store, from.dir, ['registry.example/app:2'])).toEqual(['registry.example/app:2']);
    expect(store.find('registry.example/app:2')?.source).toBe('loaded');
  });

  it('says what it is not', async () => {
    const store = ImageStore.open(join(dir, 'store'));
    writeFileSync(join(dir, 'x.tar'), 'hello');
    await expect(loadImages(store, join(dir, 'x.tar'))).rejects.toThrow(/neither a docker archive/);
    await expect(loadImages(store, join(dir, 'absent'))).rejects.toThrow(/no such file/);
  });
});
