import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetNs, Rtnl } from '@weft/kernel';
import { Metrics, silentLogger } from '@weft/plan';
import {
  CniRuntime,
  CniServer,
  type CniServerOptions,
  defaultConflist,
  installPlugins,
  type NetworkList,
} from '../../src/index.ts';
import { parseNetworkList } from '../../src/index.ts';

/** A throw-away node: a namespace, an agent's CNI server in it, a plugin directory and a runtime. */
export class Bed {
  readonly dir: string;
  readonly node: NetNs;
  readonly runtime: CniRuntime;
  server: CniServer;
  readonly #pods: string[] = [];
  #serial = 0;

  private constructor(dir: string, node: NetNs, server: CniServer) {
    this.dir = dir;
    this.node = node;
    this.server = server;
    this.runtime = new CniRuntime({
      confDir: join(dir, 'net.d'),
      binDirs: [join(dir, 'bin'), '/usr/lib/cni'],
      cacheDir: join(dir, 'cache'),
    });
  }

  static async open(
    options: { readonly install?: boolean } & Pick<CniServerOptions, 'reuseDelayMs' | 'addresses' | 'networks'> = {},
  ): Promise<Bed> {
    const dir = mkdtempSync(join(tmpdir(), 'weft-cni-'));
    mkdirSync(join(dir, 'net.d'));
    const node = NetNs.create(join(dir, 'node'));
    const rtnl = Rtnl.open(node);
    await rtnl.links.set('lo', { up: true });
    // A way out, so that the node has a default route.
    await rtnl.links.add({ name: 'out0', kind: 'veth', up: true, peer: { name: 'out1', up: true } });
    const out = await rtnl.links.get('out0');
    await rtnl.addresses.add({ index: out?.index ?? 0, address: '192.0.2.10/24' });
    await rtnl.addresses.add({ index: out?.index ?? 0, address: '2001:db8::10/64', noDad: true });
    await rtnl.routes.add({ dst: 'default', family: 4, via: '192.0.2.1' });
    rtnl.close();
    const bed = new Bed(dir, node, Bed.#server(dir, node, options));
    if (options.install !== false) {
      const cacheDir = join(tmpdir(), 'weft-cni-shim-cache');
      await installPlugins({ binDir: join(dir, 'bin'), agentSocket: bed.socket, cacheDir });
    }
    await bed.server.start();
    return bed;
  }

  static #server(dir: string, node: NetNs, options: Partial<CniServerOptions> = {}): CniServer {
    return new CniServer({
      socketPath: join(dir, 'agent.sock'),
      stateDir: join(dir, 'state'),
      ns: node,
      log: silentLogger,
      metrics: new Metrics(),
      ...options,
    });
  }

  get socket(): string {
    return join(this.dir, 'agent.sock');
  }

  async restart(options: Partial<CniServerOptions> = {}): Promise<void> {
    await this.server.stop();
    this.server = Bed.#server(this.dir, this.node, options);
    await this.server.start();
  }

  /** A network list, by default ours. */
  list(
    change: Partial<Record<string, unknown>> = {},
    podCidrs = ['10.244.1.0/24'],
    mode: 'ptp' | 'bridge' = 'ptp',
  ): NetworkList {
    const conflist = { ...defaultConflist({ mtu: 1450, podCidrs, agentSocket: this.socket, mode }), ...change };
    return parseNetworkList(JSON.stringify(conflist), '');
  }

  writeConflist(name: string, value: unknown): void {
    writeFileSync(join(this.dir, 'net.d', name), JSON.stringify(value));
  }

  /** A new pod's namespace. */
  pod(): { readonly containerId: string; readonly ifname: string; readonly netns: string } {
    const netns = join(this.dir, `pod${++this.#serial}`);
    NetNs.create(netns).close();
    this.#pods.push(netns);
    return { containerId: `c${this.#serial}`, ifname: 'eth0', netns };
  }

  async close(): Promise<void> {
    await this.server.stop();
    this.node.close();
    for (const path of [...this.#pods, join(this.dir, 'node')]) NetNs.remove(path);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs a program in a namespace; its stdout. Throws with its stderr when it fails. */
export function sh(netns: string, ...command: string[]): string {
  const done = spawnSync('nsenter', [`--net=${netns}`, ...command], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command.join(' ')}: exit ${done.status}: ${done.stderr}${done.stdout}`);
  return done.stdout;
}

/** What `ip -j` prints in a namespace. */
export function ipj(netns: string, ...args: string[]): Record<string, unknown>[] {
  return JSON.parse(sh(netns, 'ip', '-j', ...args) || '[]') as Record<string, unknown>[];
}

/** True when a ping is answered. */
export function pings(netns: string, address: string, ...args: string[]): boolean {
  return spawnSync('nsenter', [`--net=${netns}`, 'ping', '-c1', '-W2', ...args, address]).status === 0;
}
