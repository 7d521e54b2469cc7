import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { errorMessage, WeftError } from '@weft/plan';
import { adoptLayout } from './load.ts';
import type { ImageReference } from './reference.ts';
import type { ImageStore } from './store.ts';

/** No registry could be reached, as opposed to one that answered and refused. */
export const NO_REGISTRY = 'NO_REGISTRY';

export interface PullOptions {
  /** Milliseconds to wait for the registry to accept a connection. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds for the whole pull. */
  readonly timeoutMs?: number;
  /** A docker `config.json` with credentials. */
  readonly authFile?: string;
  /** Gives the pull up. */
  readonly signal?: AbortSignal;
}

/** Milliseconds for which a registry that did not answer is not asked again. */
const SILENCE_MS = 30_000;
const silentUntil = new Map<string, number>();

function endpoint(registry: string): { host: string; port: number } {
  if (registry === 'docker.io') return { host: 'registry-1.docker.io', port: 443 };
  const match = /^(.*?)(?::(\d+))?$/.exec(registry) as RegExpExecArray;
  const port = match[2] === undefined ? (registry.startsWith('localhost') ? 80 : 443) : Number(match[2]);
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port };
}

function reach(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (why: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(why);
    };
    const timer = setTimeout(() => end(`dial tcp ${host}:${port}: i/o timeout`), timeoutMs);
    socket.once('connect', () => end(undefined));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN') end(`dial tcp: lookup ${host}: no such host`);
      else end(`dial tcp ${host}:${port}: ${error.message}`);
    });
  });
}

const prefix = (ref: ImageReference): string =>
  `failed to pull and unpack image "${ref.canonical}": failed to resolve reference "${ref.canonical}": `;

/** The last, telling part of what skopeo wrote. */
function reason(stderr: string): string {
  const match = /msg="(.*)"\s*$/m.exec(stderr.trim().split('\n').at(-1) ?? '');
  return (match?.[1] ?? stderr.trim()).replaceAll('\\"', '"');
}

/**
 * Pulls an image from its registry with skopeo. Throws WeftError NO_REGISTRY when the registry cannot be reached (soon:
 * a lab often has no way out) and PULL_FAILED when it refuses; both messages are containerd's.
 */
export async function pullImage(store: ImageStore, ref: ImageReference, options: PullOptions = {}): Promise<void> {
  const { host, port } = endpoint(ref.registry);
  const url = `https://${host}/v2/${ref.repository}/manifests/${ref.digest ?? ref.tag}`;
  const silent = silentUntil.get(ref.registry);
  const why =
    silent !== undefined && silent > Date.now()
      ? `dial tcp ${host}:${port}: i/o timeout`
      : await reach(host, port, options.connectTimeoutMs ?? 1500);
  if (why !== undefined) {
    if (silent === undefined || silent <= Date.now()) silentUntil.set(ref.registry, Date.now() + SILENCE_MS);
    throw new WeftError({
      code: NO_REGISTRY,
      message: `${prefix(ref)}failed to do request: Head "${url}": ${why}`,
      hint: 'load the image by hand: weft image load FILE',
    });
  }
  silentUntil.delete(ref.registry);
  const target = await mkdtemp(join(store.dir, '.pull-'));
  const source = `docker://${ref.registry}/${ref.repository}${ref.digest === undefined ? `:${ref.tag}` : `@${ref.digest}`}`;
  const args = ['--insecure-policy', '--override-os', 'linux', 'copy', '--quiet'];
  if (options.authFile !== undefined) args.push('--authfile', options.authFile);
  args.push(source, `oci:${target}:image`);
  const { signal } = options;
  const settings = { timeout: options.timeoutMs ?? 300_000, encoding: 'utf8' as const, ...(signal && { signal }) };
  try {
    await new Promise<void>((resolve, reject) => {
      execFile('skopeo', args, settings, (error, _out, stderr) => {
        if (error === null) return resolve();
        const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
        reject(
          new WeftError({
            code: 'PULL_FAILED',
            message: prefix(ref) + (missing ? 'skopeo is not installed' : reason(stderr) || errorMessage(error)),
            ...(missing ? { hint: 'apt-get install skopeo' } : {}),
          }),
        );
      });
    });
    await adoptLayout(store, target, [ref.canonical], 'pulled');
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}
