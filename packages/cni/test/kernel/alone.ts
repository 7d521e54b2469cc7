import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetNs, Rtnl } from '@weft/kernel';
import { build } from 'esbuild';
import { installPlugins, PLUGIN_NAMES } from '../../src/index.ts';

const MODULES = join(import.meta.dirname, '../../../../node_modules');
/** Directory of Debian's containernetworking-plugins. */
export const REFERENCE = '/usr/lib/cni';
export const hasReference: boolean = existsSync(join(REFERENCE, 'bridge'));

/** What a plugin executable said. */
export interface Said {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
  /** stdout as JSON; undefined when it is none. */
  readonly json: Record<string, unknown> | undefined;
}

export interface PodRef {
  readonly containerId: string;
  readonly netns: string;
}

let bundle: Promise<string> | undefined;

/** The standalone program, bundled once per test file. */
function program(): Promise<string> {
  bundle ??= (async () => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-cni-alone-'));
    process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
    await build({
      entryPoints: [join(import.meta.dirname, '../../src/standalone/main.ts')],
      outdir: dir,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
      nodePaths: [MODULES],
      logLevel: 'error',
    });
    return join(dir, 'main.mjs');
  })();
  return bundle;
}

/**
 * A throw-away node without an agent: a namespace with a way out, and two directories of plugins that run in it: ours,
 * each call a process of its own, and the reference plugins.
 */
export class LonelyNode {
  readonly dir: string;
  readonly netns: string;
  readonly #ns: NetNs;
  readonly #pods: string[] = [];
  #serial = 0;

  private constructor(dir: string, ns: NetNs) {
    this.dir = dir;
    this.netns = join(dir, 'node');
    this.#ns = ns;
  }

  static async open(): Promise<LonelyNode> {
    const dir = mkdtempSync(join(tmpdir(), 'weft-alone-'));
    const ns = NetNs.create(join(dir, 'node'));
    const rtnl = Rtnl.open(ns);
    await rtnl.links.set('lo', { up: true });
    rtnl.close();
    const node = new LonelyNode(dir, ns);
    const script = await program();
    await installPlugins({
      binDir: join(dir, 'shim'),
      standalone: [process.execPath, script],
      cacheDir: join(tmpdir(), 'weft-cni-shim-cache'),
    });
    node.#wrap('ours', join(dir, 'shim'), PLUGIN_NAMES);
    node.#wrap(
      'reference',
      REFERENCE,
      PLUGIN_NAMES.filter((name) => existsSync(join(REFERENCE, name))),
    );
    return node;
  }

  /** Executables that run those of `from` in the node's namespace. */
  #wrap(to: string, from: string, names: readonly string[]): void {
    mkdirSync(join(this.dir, to));
    for (const name of names) {
      const file = join(this.dir, to, name);
      writeFileSync(file, `#!/bin/sh\nexec nsenter --net=${this.netns} ${join(from, name)}\n`);
      chmodSync(file, 0o755);
    }
  }

  get ours(): string {
    return join(this.dir, 'ours');
  }

  get reference(): string {
    return join(this.dir, 'reference');
  }

  pod(): PodRef {
    const netns = join(this.dir, `pod${++this.#serial}`);
    NetNs.create(netns).close();
    this.#pods.push(netns);
    return { containerId: `c${this.#serial}`, netns };
  }

  /** Calls a plugin as a runtime does. `bin` is `ours` or `reference`. */
  async call(
    bin: string,
    command: string,
    config: Readonly<Record<string, unknown>>,
    pod: Partial<PodRef> & { readonly ifname?: string; readonly args?: string } = {},
  ): Promise<Said> {
    const env: Record<string, string> = {
      PATH: process.env['PATH'] ?? '',
      NODE_PATH: MODULES,
      CNI_COMMAND: command,
      CNI_PATH: bin,
      ...(pod.containerId === undefined ? {} : { CNI_CONTAINERID: pod.containerId, CNI_IFNAME: pod.ifname ?? 'eth0' }),
      ...(pod.netns === undefined ? {} : { CNI_NETNS: pod.netns }),
      ...(pod.args === undefined ? {} : { CNI_ARGS: pod.args }),
    };
    const child = spawn(join(bin, String(config['type'])), [], { env });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.stdin.on('error', () => {});
    child.stdin.end(JSON.stringify(config));
    const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
    let json: Said['json'];
    try {
      json = JSON.parse(out) as Said['json'];
    } catch {
      json = undefined;
    }
    return { status, out, err, json };
  }

  close(): void {
    this.#ns.close();
    for (const path of [...this.#pods, this.netns]) NetNs.remove(path);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
