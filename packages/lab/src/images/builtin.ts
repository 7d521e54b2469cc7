import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WeftError } from '@weft/plan';
import { hideApplet, PRINTENV, wgetScript } from './applets.ts';
import { withFileLock } from './lock.ts';
import { goArch, type ImageRunConfig } from './oci.ts';
import { parseImageReference } from './reference.ts';
import type { ImageStore, StoredImage } from './store.ts';
import { type TarEntry, writeTar } from './tar.ts';

const run = promisify(execFile);

/** Raised when a recipe below changes, so that images made by an older one are made again. */
const RECIPE = 3;

export type BuiltinName = 'busybox' | 'nginx';

/** Images that are made on this machine from Debian's own packages. */
export const BUILTIN_IMAGES: readonly BuiltinName[] = ['busybox', 'nginx'];

/** The repository of Docker Hub whose place a made image takes, or undefined. */
export function builtinFor(name: string): BuiltinName | undefined {
  const ref = parseImageReference(name);
  if (ref.registry !== 'docker.io' || ref.digest !== undefined) return undefined;
  return BUILTIN_IMAGES.find((builtin) => ref.repository === `library/${builtin}`);
}

interface Stamp {
  recipe: number;
  /** Files the image was made from, as `path size mtime`. */
  sources: string[];
}

interface Made {
  readonly layers: Uint8Array[];
  readonly sources: string[];
  readonly config: ImageRunConfig;
  readonly version: string;
  readonly package: string;
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function fingerprint(path: string): string {
  const info = statSync(path);
  return `${path} ${info.size} ${info.mtimeMs}`;
}

const first = (paths: readonly string[]): string | undefined => paths.find((path) => existsSync(path));

const dir = (path: string, mode?: number, uid?: number): TarEntry => ({
  path,
  type: 'dir',
  ...(mode === undefined ? {} : { mode }),
  ...(uid === undefined ? {} : { uid, gid: uid }),
});
const file = (path: string, content: string | Uint8Array, mode?: number): TarEntry => ({
  path,
  type: 'file',
  data: typeof content === 'string' ? Buffer.from(content) : content,
  ...(mode === undefined ? {} : { mode }),
});

function missing(image: string, debianPackage: string): WeftError {
  return new WeftError({
    code: 'IMAGE_SOURCE_MISSING',
    message: `cannot make the image "${image}": Debian's package ${debianPackage} is not installed`,
    hint: `apt-get install ${debianPackage}`,
  });
}

const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nginx:x:101:101:nginx:/nonexistent:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`;
const GROUP = `root:x:0:
daemon:x:1:
tty:x:5:
www-data:x:33:
nginx:x:101:
nogroup:x:65534:
`;

async function makeBusybox(): Promise<Made> {
  const binary = first(['/usr/bin/busybox', '/bin/busybox']);
  if (binary === undefined) throw missing('busybox', 'busybox-static');
  const { stdout } = await run(binary, ['--list'], { encoding: 'utf8' });
  const all = stdout.split('\n').filter((name) => name !== '');
  const applets = all.filter((name) => name !== 'busybox');
  const original = readFileSync(binary);
  const patched = hideApplet(original, all, 'wget');
  const wget: TarEntry[] =
    patched === undefined
      ? [{ path: 'bin/wget', type: 'symlink', target: 'busybox' }]
      : [
          file('bin/wget', wgetScript('/usr/lib/busybox/wget'), 0o755),
          ...['usr/lib', 'usr/lib/busybox'].map((path) => dir(path)),
          file('usr/lib/busybox/wget', original, 0o755),
        ];
  const version = /BusyBox v(\S+)/.exec(
    (await run(binary, ['busybox'], { encoding: 'utf8' }).catch(() => ({ stdout: '' }))).stdout,
  );
  const entries: TarEntry[] = [
    ...['bin', 'dev', 'etc', 'home', 'proc', 'sys', 'run', 'usr', 'usr/bin', 'usr/sbin', 'var', 'var/spool'].map(
      (path) => dir(path),
    ),
    dir('root', 0o700),
    dir('tmp', 0o1777),
    dir('var/tmp', 0o1777),
    { path: 'var/run', type: 'symlink', target: '../run' },
    file('etc/passwd', PASSWD),
    file('etc/group', GROUP),
    file('etc/shadow', 'root:*:::::::\n', 0o600),
    file('bin/busybox', patched ?? original, 0o755),
    ...wget,
    ...applets
      .filter((name) => name !== 'wget')
      .map((name): TarEntry => ({ path: `bin/${name}`, type: 'symlink', target: 'busybox' })),
    ...(applets.includes('printenv') ? [] : [file('bin/printenv', PRINTENV, 0o755)]),
    { path: 'usr/bin/env', type: 'symlink', target: '../../bin/busybox' },
  ];
  return {
    layers: [writeTar(entries)],
    sources: [binary],
    config: { Env: [PATH], Cmd: ['sh'] },
    version: version?.[1] ?? 'unknown',
    package: 'busybox-static',
  };
}

const NGINX_CONF = `user  nginx;
worker_processes  1;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile           on;
    keepalive_timeout  65;

    include /etc/nginx/conf.d/*.conf;
}
`;
const NGINX_DEFAULT = `server {
    listen       80;
    listen  [::]:80;
    server_name  localhost;

    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }

    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
`;
const PAGE = (title: string, text: string): string =>
  `<!DOCTYPE html>\n<html>\n<head><title>${title}</title></head>\n<body>\n<h1>${title}</h1>\n<p>${text}</p>\n</body>\n</html>\n`;

async function makeNginx(): Promise<Made> {
  const binary = first(['/usr/sbin/nginx']);
  if (binary === undefined) throw missing('nginx', 'nginx-light');
  const base = await makeBusybox();
  const { stdout } = await run('ldd', [binary], { encoding: 'utf8' });
  const libraries = [...stdout.matchAll(/(?:=>\s*)?(\/\S+)\s+\(0x/g)].map((match) => match[1] as string);
  const version = /nginx\/(\S+)/.exec((await run(binary, ['-v'], { encoding: 'utf8' })).stderr)?.[1] ?? 'unknown';
  const mime = first(['/etc/nginx/mime.types']);
  const index = first(['/usr/share/nginx/html/index.html']);
  const dirs = new Set<string>();
  for (const path of [binary, ...libraries]) {
    const parts = path.split('/').slice(1, -1);
    parts.forEach((_, i) => dirs.add(parts.slice(0, i + 1).join('/')));
  }
  for (const path of ['etc/nginx', 'etc/nginx/conf.d', 'usr/share', 'usr/share/nginx', 'usr/share/nginx/html'])
    dirs.add(path);
  for (const path of ['var/log', 'var/log/nginx', 'var/cache', 'var/lib', 'var/lock']) dirs.add(path);
  const own = ['var/lib/nginx', 'var/cache/nginx'];
  const entries: TarEntry[] = [
    ...[...dirs].sort().map((path) => dir(path)),
    ...own.map((path) => dir(path, 0o755, 101)),
    file(binary, readFileSync(binary), 0o755),
    ...libraries.map((path) => file(path, readFileSync(path), 0o755)),
    file('etc/nginx/nginx.conf', NGINX_CONF),
    file('etc/nginx/mime.types', mime === undefined ? 'types { text/html html htm; }\n' : readFileSync(mime)),
    file('etc/nginx/conf.d/default.conf', NGINX_DEFAULT),
    file(
      'usr/share/nginx/html/index.html',
      index === undefined ? PAGE('Welcome to nginx!', 'The web server is working.') : readFileSync(index),
    ),
    file('usr/share/nginx/html/50x.html', PAGE('An error occurred.', 'The page is currently unavailable.')),
    { path: 'var/log/nginx/access.log', type: 'symlink', target: '/dev/stdout' },
    { path: 'var/log/nginx/error.log', type: 'symlink', target: '/dev/stderr' },
  ];
  return {
    layers: [...base.layers, writeTar(entries)],
    sources: [
      ...base.sources,
      binary,
      ...libraries,
      ...(mime === undefined ? [] : [mime]),
      ...(index === undefined ? [] : [index]),
    ],
    config: {
      Env: [PATH, `NGINX_VERSION=${version}`],
      Cmd: ['nginx', '-g', 'daemon off;'],
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGQUIT',
    },
    version,
    package: 'nginx',
  };
}

const RECIPES: Record<BuiltinName, () => Promise<Made>> = { busybox: makeBusybox, nginx: makeNginx };

async function isFresh(stampFile: string): Promise<boolean> {
  try {
    const stamp = JSON.parse(await readFile(stampFile, 'utf8')) as Stamp;
    return stamp.recipe === RECIPE && stamp.sources.every((line) => fingerprint(line.split(' ')[0] as string) === line);
  } catch {
    return false;
  }
}

/** The image of that name if it need not be made (again). */
export async function builtinReady(store: ImageStore, name: BuiltinName): Promise<StoredImage | undefined> {
  const found = store.find(name);
  if (found === undefined || found.source !== 'built') return found;
  return (await isFresh(join(store.dir, 'built', `${name}.json`))) ? found : undefined;
}

/**
 * The image `docker.io/library/<name>:latest` made from this machine's Debian packages; made at the first call and
 * again when a file it was made from changes. An image of that name which was pulled or loaded is left alone.
 * Throws WeftError IMAGE_SOURCE_MISSING when the Debian package is not there.
 */
export async function ensureBuiltin(store: ImageStore, name: BuiltinName): Promise<StoredImage> {
  const stampFile = join(store.dir, 'built', `${name}.json`);
  const ready = (): Promise<StoredImage | undefined> => builtinReady(store, name);
  const found = await ready();
  if (found !== undefined) return found;
  await mkdir(join(store.dir, 'built'), { recursive: true });
  return withFileLock(join(store.dir, 'built', '.lock'), async () => {
    const again = await ready();
    if (again !== undefined) return again;
    const made = await RECIPES[name]();
    const image = await store.add({
      refs: [`${name}:latest`, ...(/^[\w.-]+$/.test(made.version) ? [`${name}:${made.version}`] : [])],
      source: 'built',
      layers: made.layers,
      config: {
        created: '1970-01-01T00:00:00Z',
        architecture: goArch(),
        os: 'linux',
        config: { ...made.config, Labels: { 'dev.weft.image.package': made.package } },
        history: made.layers.map(() => ({
          created: '1970-01-01T00:00:00Z',
          created_by: `weft: from Debian's ${made.package} ${made.version}`,
        })),
      },
    });
    const stamp: Stamp = { recipe: RECIPE, sources: made.sources.map(fingerprint) };
    await writeFile(stampFile, JSON.stringify(stamp));
    return image;
  });
}
