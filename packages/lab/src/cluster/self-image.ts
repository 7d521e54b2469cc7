import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { type ImageStore, type StoredImage } from '../images/index.ts';
import { goArch } from '../images/oci.ts';
import { type TarEntry, writeTar } from '../images/tar.ts';
import { SELF_IMAGE } from './addons.ts';

const FINGERPRINT_LABEL = 'dev.weft.image.fingerprint';
const ENTRY = '/opt/weft/weft.mjs';
const NODE = '/usr/local/bin/node';

/** Name of the CNI plugin executable in the build. */
const SHIM = 'cni-shim';

function bundleFiles(distDir: string): string[] {
  return readdirSync(distDir)
    .filter((name) => name.endsWith('.mjs') || name === SHIM)
    .sort();
}

function fingerprint(nodePath: string, distDir: string): string {
  const hash = createHash('sha256');
  const ffi = ffiFiles().map(([, from]) => from);
  for (const file of [nodePath, ...bundleFiles(distDir).map((name) => path.join(distDir, name)), ...ffi]) {
    const { size, mtimeMs } = statSync(file);
    // Not by its directory: every cluster runs a kept copy of the build.
    hash.update(`${path.basename(file)} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

function directories(files: readonly string[]): TarEntry[] {
  const found = new Set<string>();
  for (const file of files) {
    const parts = file.split('/').filter(Boolean).slice(0, -1);
    parts.forEach((_, i) => found.add(parts.slice(0, i + 1).join('/')));
  }
  return [...found].sort().map((dir) => ({ path: dir, type: 'dir' }));
}

/** Files of the FFI library that this machine needs, by their place in node_modules. Empty where it is not installed. */
function ffiFiles(): [string, string][] {
  let home: string;
  try {
    home = path.dirname(createRequire(import.meta.url).resolve('koffi'));
  } catch {
    return [];
  }
  const native = path.join(path.dirname(home), '@koromix', `koffi-linux-${process.arch}`);
  const files = (from: string, wanted: RegExp): [string, string][] =>
    readdirSync(from, { recursive: true, encoding: 'utf8' })
      .filter((name) => wanted.test(name) && statSync(path.join(from, name)).isFile())
      .sort()
      .map((name) => [path.join(path.relative(path.dirname(home), from), name), path.join(from, name)]);
  return [
    ...files(home, /^(package\.json|index\.c?js|src\/koffi\/.*\.c?js)$/),
    ...(existsSync(native) ? files(native, /^(package\.json|index\.js|linux_.*\.node)$/) : []),
  ];
}

function nodeLayer(nodePath: string): Uint8Array {
  const listed = execFileSync('ldd', [nodePath], { encoding: 'utf8' });
  const libraries = [...listed.matchAll(/(?:=>\s*)?(\/\S+)\s+\(0x/g)].map((match) => match[1] as string);
  const resolver = ['/lib/x86_64-linux-gnu/libnss_files.so.2', '/lib/x86_64-linux-gnu/libnss_dns.so.2'].filter(
    existsSync,
  );
  const files: [string, string][] = [
    [NODE, nodePath],
    ...[...libraries, ...resolver].map((l): [string, string] => [l, l]),
  ];
  const extra = ['dev', 'proc', 'sys', 'run', 'etc'].map((name): TarEntry => ({ path: name, type: 'dir' }));
  return writeTar([
    ...extra,
    { path: 'tmp', type: 'dir', mode: 0o1777 },
    ...directories(files.map(([to]) => to)),
    ...files.map(([to, from]): TarEntry => ({ path: to, type: 'file', mode: 0o755, data: readFileSync(from) })),
    { path: 'etc/passwd', type: 'file', data: Buffer.from('root:x:0:0:root:/:/bin/false\n') },
  ]);
}

/**
 * The image that holds Weft itself, for the parts of it that run in pods: this Node, its libraries, and this build.
 * Made again when either changes.
 */
async function ensureSelfImage(
  store: ImageStore,
  distDir: string,
  nodePath: string,
): Promise<{ image: StoredImage; made: boolean }> {
  const wanted = fingerprint(nodePath, distDir);
  const found = store.find(SELF_IMAGE);
  if (found !== undefined && found.config.config?.Labels?.[FINGERPRINT_LABEL] === wanted)
    return { image: found, made: false };
  const bundle = bundleFiles(distDir).map(
    (name): TarEntry => ({
      path: path.join(path.dirname(ENTRY), name),
      type: 'file',
      ...(name === SHIM ? { mode: 0o755 } : {}),
      data: readFileSync(path.join(distDir, name)),
    }),
  );
  const modules = ffiFiles().map(
    ([to, from]): TarEntry => ({
      path: path.join(path.dirname(ENTRY), 'node_modules', to),
      type: 'file',
      data: readFileSync(from),
    }),
  );
  const files = [...bundle, ...modules];
  const image = await store.add({
    refs: [SELF_IMAGE],
    source: 'built',
    layers: [nodeLayer(nodePath), writeTar([...directories(files.map((file) => file.path)), ...files])],
    config: {
      created: '1970-01-01T00:00:00Z',
      architecture: goArch(),
      os: 'linux',
      config: {
        Entrypoint: [NODE, '--max-semi-space-size=1', '--optimize-for-size', ENTRY],
        Env: ['PATH=/usr/local/bin', `WEFT_HOME=${path.dirname(ENTRY)}`],
        Labels: { [FINGERPRINT_LABEL]: wanted },
      },
    },
  });
  return { image, made: true };
}

/** True when every image that a cluster starts with is in the store, unpacked and up to date. Cheap. */
export async function imagesReady(imagesDir: string, distDir: string, nodePath: string): Promise<boolean> {
  const { builtinReady, BUILTIN_IMAGES, ImageStore } = await import('../images/index.ts');
  const store = ImageStore.open(imagesDir);
  const self = store.find(SELF_IMAGE);
  if (self?.config.config?.Labels?.[FINGERPRINT_LABEL] !== fingerprint(nodePath, distDir)) return false;
  return (await Promise.all(BUILTIN_IMAGES.map((name) => builtinReady(store, name)))).every((i) => i !== undefined);
}

/** Makes sure that the images a cluster starts with are in the store and unpacked. Returns what was done, for people. */
export async function prepareImages(imagesDir: string, distDir: string, nodePath: string): Promise<string> {
  const { ensureBuiltin, BUILTIN_IMAGES, ImageStore } = await import('../images/index.ts');
  const store = ImageStore.open(imagesDir);
  const before = new Set(store.list().map((i) => i.manifestDigest));
  const images = [
    ...(await Promise.all(BUILTIN_IMAGES.map((name) => ensureBuiltin(store, name)))),
    (await ensureSelfImage(store, distDir, nodePath)).image,
  ];
  await Promise.all(images.map((image) => store.rootfs(image)));
  const made = images.filter((i) => !before.has(i.manifestDigest));
  return made.length === 0 ? `${images.length} in store` : `made ${made.map((i) => i.ref).join(', ')}`;
}
