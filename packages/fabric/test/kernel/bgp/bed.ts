import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetNs, Rtnl } from '@weft/kernel';
import { silentLogger } from '@weft/plan';
import { expect } from 'vitest';
import {
  BGP_PORT,
  DEFAULT_CONNECT_RETRY,
  DEFAULT_HOLD_TIME,
  DEFAULT_MAX_PREFIXES,
  DEFAULT_RESTART_TIME,
  type PeerConfig,
  Speaker,
  type SpeakerConfig,
  type SpeakerOptions,
} from '../../../src/bgp/speaker/index.ts';
import { ACCEPT_ALL, type RibRoute } from '../../../src/bgp/rib/index.ts';

/** How long a state may take to come about on a loaded machine. */
export const PATIENCE = { timeout: 20_000, interval: 50 };

/** A machine on the bed's one network: 10.9.0.N/24 and fd09::N/64. */
export interface Host {
  readonly ns: NetNs;
  readonly ip: string;
  readonly ip6: string;
}

/** Runs a program in a namespace; its output. */
export function run(ns: NetNs, ...command: string[]): string {
  const done = spawnSync('nsenter', [`--net=${ns.path}`, ...command], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return `${done.stdout}${done.status === 0 ? '' : done.stderr}`;
}

/** A router of somebody else's making. */
export class Daemon {
  readonly #start: () => ChildProcess;
  readonly #ask: (command: string) => string;
  #child: ChildProcess | undefined;

  constructor(start: () => ChildProcess, ask: (command: string) => string) {
    this.#start = start;
    this.#ask = ask;
    this.start();
  }

  start(): void {
    this.#child = this.#start();
  }

  ask(command: string): string {
    return this.#ask(command);
  }

  /** Ends it at once, as a crash would, or in order. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => {
      child.once('exit', resolve);
      child.kill(signal);
    });
  }
}

/** Machines on one bridge in throw-away namespaces, with BIRD, FRR and our speakers on them. */
export class BgpBed {
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-bgp-'));
  readonly #paths: string[] = [];
  readonly #open: NetNs[] = [];
  readonly #stops: (() => void | Promise<void>)[] = [];
  readonly #switch: NetNs;

  constructor() {
    this.#switch = this.#namespace('switch');
  }

  #namespace(name: string): NetNs {
    const path = join(this.dir, name);
    const ns = NetNs.create(path);
    this.#paths.push(path);
    this.#open.push(ns);
    return ns;
  }

  async host(number: number): Promise<Host> {
    const hub = Rtnl.open(this.#switch);
    if ((await hub.links.get('br0')) === undefined) await hub.links.add({ name: 'br0', kind: 'bridge', up: true });
    const ns = this.#namespace(`h${number}`);
    const master = (await hub.links.get('br0'))?.index ?? 0;
    await hub.links.add({ name: `p${number}`, kind: 'veth', up: true, master, peer: { name: 'eth0', ns, up: true } });
    hub.close();
    const host = { ns, ip: `10.9.0.${number}`, ip6: `fd09::${number}` };
    const rtnl = Rtnl.open(ns);
    await rtnl.links.set('lo', { up: true });
    const index = (await rtnl.links.get('eth0'))?.index ?? 0;
    await rtnl.addresses.add({ index, address: `${host.ip}/24` });
    await rtnl.addresses.add({ index, address: `${host.ip6}/64`, noDad: true });
    rtnl.close();
    return host;
  }

  /** Takes a machine off the network, or puts it back. */
  async plug(number: number, up: boolean): Promise<void> {
    const hub = Rtnl.open(this.#switch);
    await hub.links.set(`p${number}`, { up });
    hub.close();
  }

  /** BIRD 2 with a configuration, which gets its router id and a device protocol. */
  bird(host: Host, config: string): Daemon {
    const name = `bird-${host.ip}`;
    const file = join(this.dir, `${name}.conf`);
    const socket = join(this.dir, `${name}.ctl`);
    writeFileSync(file, `router id ${host.ip};\nprotocol device {}\n${config}`);
    const start = (): ChildProcess => {
      const args = [`--net=${host.ns.path}`, 'bird', '-f', '-c', file, '-s', socket];
      return spawn('nsenter', args, {
        stdio: ['ignore', 'ignore', process.env['WEFT_BGP_DEBUG'] === undefined ? 'ignore' : 'inherit'],
      });
    };
    const ask = (command: string): string =>
      spawnSync('birdc', ['-s', socket, ...command.split(' ')], { encoding: 'utf8', maxBuffer: 1 << 26 }).stdout;
    return this.#daemon(new Daemon(start, ask));
  }

  /** FRR's bgpd with a configuration. */
  frr(host: Host, config: string): Daemon {
    const dir = join(this.dir, `frr-${host.ip}`);
    mkdirSync(dir);
    const file = join(dir, 'bgpd.conf');
    writeFileSync(file, `hostname frr\n${config}\n`);
    const start = (): ChildProcess => {
      const paths = ['-f', file, '-i', join(dir, 'pid'), '--vty_socket', dir, '-z', join(dir, 'zserv')];
      const args = [`--net=${host.ns.path}`, '/usr/lib/frr/bgpd', '-n', '-Z', '-S', ...paths, '-P', '0'];
      return spawn('nsenter', args, {
        stdio: ['ignore', 'ignore', process.env['WEFT_BGP_DEBUG'] === undefined ? 'ignore' : 'inherit'],
      });
    };
    const ask = (command: string): string =>
      existsSync(join(dir, 'bgpd.vty'))
        ? spawnSync('vtysh', ['--vty_socket', dir, '-d', 'bgpd', '-c', command], {
            encoding: 'utf8',
            maxBuffer: 1 << 26,
          }).stdout
        : '';
    return this.#daemon(new Daemon(start, ask));
  }

  #daemon(daemon: Daemon): Daemon {
    this.#stops.push(() => daemon.stop());
    return daemon;
  }

  /** A speaker of ours. */
  speaker(host: Host, config: Partial<SpeakerConfig>, options: Partial<SpeakerOptions> = {}): Speaker {
    const speaker = new Speaker({ ns: host.ns, log: silentLogger, onRoutes: () => {}, ...options });
    speaker.configure({ as: 64512, routerId: host.ip, port: 179, peers: [], routes: [], ...config });
    this.#stops.push(() => speaker.stop(false));
    return speaker;
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) await stop();
    for (const ns of this.#open) ns.close();
    for (const path of this.#paths) NetNs.remove(path);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A peer at another machine, with what a test leaves to defaults. */
export function peer(from: Host, to: Host, change: Partial<PeerConfig> = {}): PeerConfig {
  return {
    name: change.families?.[0] === 6 && change.address === undefined ? to.ip6 : to.ip,
    cause: { kind: 'BGPPeer', name: 'test' },
    address: to.ip,
    port: BGP_PORT,
    as: 64512,
    localAs: 64512,
    localAddress: { 4: from.ip, 6: from.ip6 },
    families: [4, 6],
    passive: false,
    holdTime: DEFAULT_HOLD_TIME / 10,
    connectRetry: DEFAULT_CONNECT_RETRY / 5,
    restartTime: DEFAULT_RESTART_TIME,
    client: false,
    nextHop: 'auto',
    allowOwnAs: 0,
    maxPrefixes: DEFAULT_MAX_PREFIXES,
    import: ACCEPT_ALL,
    export: ACCEPT_ALL,
    ...change,
  };
}

/** Routes of our own. */
export function own(...prefixes: string[]): RibRoute[] {
  return prefixes.map((prefix) => ({
    prefix,
    family: prefix.includes(':') ? 6 : 4,
    attributes: { origin: 'igp', asPath: [] },
  }));
}

/** `prefix via next hops`, of everything that a speaker uses and was not its own. */
export function learned(speaker: Speaker): string[] {
  return [...speaker.rib.prefixes()]
    .filter((prefix) => speaker.rib.best(prefix)[0]?.peer !== undefined)
    .map(
      (prefix) =>
        `${prefix} via ${speaker.rib
          .best(prefix)
          .map((c) => c.route.nextHop)
          .join(', ')}`,
    )
    .sort();
}

export function states(speaker: Speaker): string[] {
  return speaker.sessions().map((session) => session.state);
}

/** Waits until something is as it should be. */
export async function eventually<T>(look: () => T, expected: T): Promise<void> {
  await expect.poll(look, PATIENCE).toEqual(expected);
}
