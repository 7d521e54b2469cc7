import { createReadStream } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { WeftError } from '@weft/plan';
import { resolveInRoot } from './in-root.ts';
import {
  type Descriptor,
  goArch,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  MEDIA,
  REF_NAME,
} from './oci.ts';
import { parseImageReference } from './reference.ts';
import { digestOf, type ImageSource, type ImageStore } from './store.ts';
import { applyLayer } from './untar.ts';

interface DockerManifest {
  Config: string;
  RepoTags: string[] | null;
  Layers: string[];
}

function notAnImage(file: string): WeftError {
  return new WeftError({
    code: 'NOT_AN_IMAGE',
    message: `${file} is neither a docker archive (manifest.json) nor an OCI layout (index.json)`,
    hint: 'make one with "docker save -o FILE IMAGE" or "skopeo copy docker://IMAGE oci-archive:FILE:NAME"',
  });
}

async function readJson<T>(root: string, name: string): Promise<T> {
  return JSON.parse(await readFile(await resolveInRoot(root, name), 'utf8')) as T;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

async function loadDocker(store: ImageStore, root: string, names: readonly string[]): Promise<string[]> {
  const loaded: string[] = [];
  for (const entry of await readJson<DockerManifest[]>(root, 'manifest.json')) {
    const configData = await readFile(await resolveInRoot(root, entry.Config));
    const config = JSON.parse(configData.toString('utf8')) as ImageConfig;
    const layers: Descriptor[] = [];
    for (const [i, layer] of entry.Layers.entries()) {
      const path = await resolveInRoot(root, layer);
      const size = (await stat(path)).size;
      const handle = await open(path);
      const magic = Buffer.alloc(2);
      await handle.read(magic, 0, 2, 0);
      await handle.close();
      // A docker archive names plain layers only by their diff id; a compressed one has to be hashed.
      const plain = !(magic[0] === 0x1f && magic[1] === 0x8b);
      const digest = plain ? (config.rootfs.diff_ids[i] ?? '') : digestOf(await readFile(path));
      await store.adoptBlob(path, digest);
      layers.push({ mediaType: plain ? MEDIA.layer : `${MEDIA.layer}+gzip`, digest, size });
    }
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: { mediaType: MEDIA.config, digest: await store.putBlob(configData), size: configData.length },
      layers,
    };
    const data = Buffer.from(JSON.stringify(manifest));
    const digest = await store.putBlob(data);
    const refs = [...(entry.RepoTags ?? []), ...names];
    if (refs.length === 0) refs.push(`sha256-${digest.slice(7, 19)}`);
    await store.tag(refs, { mediaType: MEDIA.manifest, digest, size: data.length }, 'loaded');
    loaded.push(...refs.map((ref) => parseImageReference(ref).canonical));
  }
  return loaded;
}

async function adoptManifest(store: ImageStore, root: string, descriptor: Descriptor): Promise<Descriptor> {
  const blob = (digest: string): Promise<string> => resolveInRoot(root, `blobs/${digest.replace(':', '/')}`);
  if (descriptor.mediaType === MEDIA.index || descriptor.mediaType === MEDIA.dockerList) {
    const index = JSON.parse(await readFile(await blob(descriptor.digest), 'utf8')) as ImageIndex;
    const wanted = goArch();
    const match = index.manifests.find((m) => m.platform?.architecture === wanted && m.platform.os === 'linux');
    if (match === undefined) {
      throw new WeftError({
        code: 'NO_PLATFORM',
        message: `no match for platform in manifest: the image has nothing for linux/${wanted}`,
      });
    }
    return adoptManifest(store, root, match);
  }
  const path = await blob(descriptor.digest);
  const manifest = JSON.parse(await readFile(path, 'utf8')) as ImageManifest;
  for (const part of [manifest.config, ...manifest.layers]) await store.adoptBlob(await blob(part.digest), part.digest);
  await store.adoptBlob(path, descriptor.digest);
  return { mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size };
}

/** Takes the images of an unpacked OCI layout into the store; its blobs are moved. Returns their canonical names. */
export async function adoptLayout(
  store: ImageStore,
  root: string,
  names: readonly string[],
  source: ImageSource,
): Promise<string[]> {
  const index = await readJson<ImageIndex>(root, 'index.json');
  const loaded: string[] = [];
  for (const descriptor of index.manifests) {
    const own = descriptor.annotations?.['io.containerd.image.name'] ?? descriptor.annotations?.[REF_NAME];
    const refs = names.length > 0 ? names : own === undefined ? [] : [own];
    const kept = await adoptManifest(store, root, descriptor);
    const all = refs.length === 0 ? [`sha256-${kept.digest.slice(7, 19)}`] : refs;
    await store.tag(all, kept, source);
    loaded.push(...all.map((ref) => parseImageReference(ref).canonical));
  }
  return loaded;
}

/**
 * Loads images from a docker archive (`docker save`), an OCI archive or an OCI layout directory, all digests checked.
 * `names` are given to the image besides its own (docker) or instead of it (OCI). Returns the canonical names.
 */
export async function loadImages(store: ImageStore, path: string, names: readonly string[] = []): Promise<string[]> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new WeftError({ code: 'NO_SUCH_FILE', message: `no such file: ${path}` });
  // Inside the store, so that blobs can be moved rather than copied.
  const root = await mkdtemp(join(store.dir, '.load-'));
  try {
    if (info.isDirectory()) {
      const { cp } = await import('node:fs/promises');
      await cp(path, root, { recursive: true });
    } else {
      const handle = await open(path);
      const magic = Buffer.alloc(2);
      await handle.read(magic, 0, 2, 0);
      await handle.close();
      const raw = createReadStream(path, { highWaterMark: 1 << 20 });
      try {
        await applyLayer(magic[0] === 0x1f && magic[1] === 0x8b ? raw.pipe(createGunzip()) : raw, root);
      } catch (error) {
        throw error instanceof WeftError && error.code !== 'BAD_LAYER' ? error : notAnImage(path);
      }
    }
    if (await isFile(join(root, 'manifest.json'))) return await loadDocker(store, root, names);
    if (await isFile(join(root, 'index.json'))) return await adoptLayout(store, root, names, 'loaded');
    const inner = await readdir(root);
    if (inner.length === 1 && (await isFile(join(root, inner[0] as string, 'index.json')))) {
      return await adoptLayout(store, join(root, inner[0] as string), names, 'loaded');
    }
    throw notAnImage(path);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
