import { createHash, randomBytes } from 'node:crypto';
import { closeSync, createReadStream, mkdirSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { WeftError } from '@weft/plan';
import { withFileLock } from './lock.ts';
import {
  type Descriptor,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  MEDIA,
  REF_NAME,
  SOURCE,
} from './oci.ts';
import { type ImageReference, parseImageReference } from './reference.ts';
import { applyLayer } from './untar.ts';

export type ImageSource = 'built' | 'loaded' | 'pulled';

/** An image of the store with what is needed to run it. */
export interface StoredImage {
  /** Canonical name it was found by. */
  readonly ref: string;
  readonly source: ImageSource;
  readonly manifestDigest: string;
  readonly configDigest: string;
  /** What Kubernetes shows as `imageID`. */
  readonly imageId: string;
  readonly config: ImageConfig;
  readonly layers: readonly Descriptor[];
  /** Bytes of configuration and layers. */
  readonly size: number;
}

/** A layer to be stored: plain tar bytes. */
export interface NewImage {
  readonly refs: readonly string[];
  readonly source: ImageSource;
  readonly config: Omit<ImageConfig, 'rootfs'>;
  readonly layers: readonly Uint8Array[];
}

export function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function firstBytes(file: string, count: number): Buffer {
  const fd = openSync(file, 'r');
  try {
    const out = Buffer.alloc(count);
    readSync(fd, out, 0, count, 0);
    return out;
  } finally {
    closeSync(fd);
  }
}

const hexOf = (digest: string): string => digest.slice('sha256:'.length);

/**
 * Images as an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/…`) shared by all nodes of a cluster, and
 * the root file systems unpacked from them (`rootfs/<config digest>`).
 */
export class ImageStore {
  readonly dir: string;
  #index: { stamp: string; images: Map<string, Descriptor> } = { stamp: '', images: new Map() };
  readonly #loaded = new Map<string, StoredImage>();
  readonly #unpacking = new Map<string, Promise<string>>();

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Opens the layout in `dir` and makes it when it is not there. */
  static open(dir: string): ImageStore {
    mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true });
    mkdirSync(join(dir, 'rootfs'), { recursive: true });
    return new ImageStore(dir);
  }

  blobPath(digest: string): string {
    return join(this.dir, 'blobs', 'sha256', hexOf(digest));
  }

  /** All names in the store. */
  list(): StoredImage[] {
    return [...this.#readIndex().keys()].flatMap((ref) => this.find(ref) ?? []);
  }

  /** The image of that name or digest, or undefined. Throws when the name is not one. */
  find(name: string | ImageReference): StoredImage | undefined {
    const ref = typeof name === 'string' ? parseImageReference(name) : name;
    const index = this.#readIndex();
    let descriptor = index.get(ref.canonical);
    if (descriptor === undefined && ref.digest !== undefined) {
      descriptor = [...index.values()].find((d) => d.digest === ref.digest);
    }
    return descriptor === undefined ? undefined : this.#describe(ref, descriptor);
  }

  /** Adds an image made here. Layers are stored uncompressed: nobody downloads them. */
  async add(image: NewImage): Promise<StoredImage> {
    const layers: Descriptor[] = [];
    for (const data of image.layers) {
      layers.push({ mediaType: MEDIA.layer, digest: await this.putBlob(data), size: data.length });
    }
    const config: ImageConfig = { ...image.config, rootfs: { type: 'layers', diff_ids: layers.map((l) => l.digest) } };
    const configData = Buffer.from(JSON.stringify(config));
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: { mediaType: MEDIA.config, digest: await this.putBlob(configData), size: configData.length },
      layers,
    };
    const data = Buffer.from(JSON.stringify(manifest));
    const digest = await this.putBlob(data);
    await this.tag(image.refs, { mediaType: MEDIA.manifest, digest, size: data.length }, image.source);
    return this.find(image.refs[0] as string) as StoredImage;
  }

  /** Gives a stored manifest its names. Names are canonical or short; an older image of the same name loses it. */
  async tag(names: readonly string[], descriptor: Descriptor, source: ImageSource): Promise<void> {
    const refs = names.map((name) => parseImageReference(name).canonical);
    await withFileLock(join(this.dir, '.lock'), async () => {
      const images = new Map(this.#readIndex());
      for (const ref of refs) {
        images.set(ref, { ...descriptor, annotations: { [REF_NAME]: ref, [SOURCE]: source } });
      }
      await this.#writeIndex(images);
    });
  }

  /** Takes a name away. True when it was there. Blobs stay until `prune`. */
  async untag(name: string): Promise<boolean> {
    const ref = parseImageReference(name).canonical;
    return withFileLock(join(this.dir, '.lock'), async () => {
      const images = new Map(this.#readIndex());
      const found = images.delete(ref);
      if (found) await this.#writeIndex(images);
      return found;
    });
  }

  async hasBlob(digest: string): Promise<boolean> {
    return access(this.blobPath(digest)).then(
      () => true,
      () => false,
    );
  }

  /** Stores bytes under their digest. */
  async putBlob(data: Uint8Array): Promise<string> {
    const digest = digestOf(data);
    if (!(await this.hasBlob(digest))) {
      const temporary = join(this.dir, `.new-${randomBytes(6).toString('hex')}`);
      await writeFile(temporary, data);
      await rename(temporary, this.blobPath(digest));
    }
    return digest;
  }

  /** Moves a file into the store after checking that it is what `digest` says. The file must be on the same disk. */
  async adoptBlob(file: string, digest: string): Promise<void> {
    if (await this.hasBlob(digest)) return;
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
    const found = `sha256:${hash.digest('hex')}`;
    if (found !== digest) {
      throw new WeftError({
        code: 'BAD_DIGEST',
        message: `blob ${digest} has the digest ${found}`,
        hint: 'fetch the image again',
      });
    }
    await rename(file, this.blobPath(digest));
  }

  /** The unpacked root file system of an image, for use as an overlay's lower directory. Unpacks on first use. */
  rootfs(image: StoredImage): Promise<string> {
    const key = hexOf(image.configDigest);
    let running = this.#unpacking.get(key);
    if (running === undefined) {
      running = this.#unpack(image, join(this.dir, 'rootfs', key));
      this.#unpacking.set(key, running);
      running.catch(() => this.#unpacking.delete(key));
    }
    return running;
  }

  async #unpack(image: StoredImage, target: string): Promise<string> {
    const there = await access(target).then(
      () => true,
      () => false,
    );
    if (there) return target;
    const temporary = `${target}.new-${randomBytes(6).toString('hex')}`;
    await mkdir(temporary, { mode: 0o755 });
    try {
      for (const [i, layer] of image.layers.entries()) {
        await this.#applyBlob(layer, image.config.rootfs.diff_ids[i], temporary);
      }
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      // Another node was faster: what it unpacked is the same.
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    }
    return target;
  }

  async #applyBlob(layer: Descriptor, diffId: string | undefined, root: string): Promise<void> {
    const file = this.blobPath(layer.digest);
    const magic = firstBytes(file, 4);
    const raw = createReadStream(file, { highWaterMark: 1 << 20 });
    let stream: AsyncIterable<Buffer> = raw;
    if (magic[0] === 0x1f && magic[1] === 0x8b) stream = raw.pipe(createGunzip());
    else if (magic.readUInt32LE(0) === 0xfd2fb528) {
      const zlib = (await import('node:zlib')) as { createZstdDecompress?: () => NodeJS.ReadWriteStream };
      if (zlib.createZstdDecompress === undefined) {
        throw new WeftError({
          code: 'UNSUPPORTED_LAYER',
          message: `layer ${layer.digest} is compressed with zstd, which Node ${process.versions.node} cannot read`,
          hint: 'use Node 22.15 or later',
        });
      }
      stream = raw.pipe(zlib.createZstdDecompress()) as unknown as AsyncIterable<Buffer>;
    }
    const hash = createHash('sha256');
    async function* hashed(): AsyncGenerator<Buffer> {
      for await (const chunk of stream) {
        hash.update(chunk);
        yield chunk;
      }
    }
    await applyLayer(hashed(), root);
    const found = `sha256:${hash.digest('hex')}`;
    if (diffId !== undefined && found !== diffId) {
      throw new WeftError({
        code: 'BAD_DIGEST',
        message: `layer ${layer.digest} unpacks to ${found}, not to ${diffId}`,
      });
    }
  }

  #describe(ref: ImageReference, descriptor: Descriptor): StoredImage | undefined {
    const source = (descriptor.annotations?.[SOURCE] ?? 'loaded') as ImageSource;
    const key = `${ref.canonical} ${source} ${descriptor.digest}`;
    const known = this.#loaded.get(key);
    if (known !== undefined) return known;
    let manifest: ImageManifest;
    let config: ImageConfig;
    try {
      manifest = JSON.parse(readFileSync(this.blobPath(descriptor.digest), 'utf8')) as ImageManifest;
      config = JSON.parse(readFileSync(this.blobPath(manifest.config.digest), 'utf8')) as ImageConfig;
    } catch {
      // A name whose blobs are gone (a full disk, a copied index) is as good as no name.
      return undefined;
    }
    const image: StoredImage = {
      ref: ref.canonical,
      source,
      manifestDigest: descriptor.digest,
      configDigest: manifest.config.digest,
      imageId: source === 'pulled' ? `${ref.registry}/${ref.repository}@${descriptor.digest}` : manifest.config.digest,
      config,
      layers: manifest.layers,
      size: manifest.layers.reduce((sum, l) => sum + l.size, manifest.config.size),
    };
    this.#loaded.set(key, image);
    return image;
  }

  #readIndex(): Map<string, Descriptor> {
    const file = join(this.dir, 'index.json');
    let stamp: string;
    try {
      const info = statSync(file, { bigint: true });
      stamp = `${info.ino}-${info.mtimeNs}-${info.size}`;
    } catch {
      return new Map();
    }
    if (stamp !== this.#index.stamp) {
      const index = JSON.parse(readFileSync(file, 'utf8')) as ImageIndex;
      const images = new Map<string, Descriptor>();
      for (const d of index.manifests) {
        const ref = d.annotations?.[REF_NAME];
        if (ref !== undefined) images.set(ref, d);
      }
      this.#index = { stamp, images };
    }
    return this.#index.images;
  }

  async #writeIndex(images: ReadonlyMap<string, Descriptor>): Promise<void> {
    const index: ImageIndex = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [...images.values()] };
    const put = async (name: string, text: string): Promise<void> => {
      const temporary = join(this.dir, `.${name}-${randomBytes(6).toString('hex')}`);
      await writeFile(temporary, text);
      await rename(temporary, join(this.dir, name));
    };
    const layout = join(this.dir, 'oci-layout');
    if ((await readFile(layout).catch(() => undefined)) === undefined) {
      await put('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    }
    await put('index.json', JSON.stringify(index, undefined, 1));
  }
}
