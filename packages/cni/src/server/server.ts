import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { flock, LOCK_EX, LOCK_NB, NetNs } from '@weft/kernel';
import { type Counter, type Gauge, type Histogram, type Logger, type Metrics, WeftError } from '@weft/plan';
import { type Allocation, attachmentKey, Ipam } from '../ipam/ipam.ts';
import { Journal, type JournalStamp } from '../ipam/journal.ts';
import { PortmapPlugin, type PortRecord } from '../plugins/portmap.ts';
import { PluginRegistry, type PluginSource } from '../plugins/registry.ts';
import { WeftPlugin } from '../plugins/weft.ts';
import type { AddressAuthority } from '../pools/authority.ts';
import type { PluginCall } from '../runtime/runtime.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment, Plugin, PluginRequest } from '../spec/types.ts';
import { NodeNetwork } from '../wiring/node.ts';
import { type Deferred, prepareDeferred, readDeferred } from './deferred.ts';
import { dispatch, type Outcome } from './dispatch.ts';
import { Executables } from './executables.ts';
import { type Call, decodeCall, encodeAnswer } from './framing.ts';
import { Locks } from '../locks.ts';
import { NETWORKS_PLUGINS } from '../networks/plan.ts';
import { NetworksPlugin } from '../networks/plugin.ts';
import type { NetworkSource } from '../networks/source.ts';
import { planRecovery, recover } from './recovery.ts';

export interface CniServerOptions {
  /** Path of the Unix socket that the shim calls; made with mode 0600. */
  readonly socketPath: string;
  /** Directory of the node's journals; one agent at a time uses it. */
  readonly stateDir: string;
  /** The node's network namespace; default: the one of this process. Stays open for as long as the server runs. */
  readonly ns?: NetNs;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Rest of a freed pod address before it is given out again, milliseconds. Default 30,000. */
  readonly reuseDelayMs?: number;
  /** Chooses the addresses of networks whose IPAM type is `weft`; without it these get those of their ranges. */
  readonly addresses?: AddressAuthority;
  /** Why pods cannot be given a working network now, for STATUS of the main plugin; undefined when they can. */
  readonly problem?: () => string | undefined;
  /** Period of `sweep`, milliseconds. Default 60,000; 0 leaves it to the caller. */
  readonly sweepMs?: number;
  /** Knows the networks and annotations of pods; without it, pods get what their runtime's configuration says. */
  readonly networks?: NetworkSource;
  /** Configurations of networks by name, for definitions that have none of their own. */
  readonly confDir?: string;
  /** More plugins, by name; they replace built-in ones of the same name. */
  readonly plugins?: readonly Plugin[];
}

/** A pod network attachment of the node. */
export type PodAttachment = Pick<
  Allocation,
  'network' | 'containerId' | 'ifname' | 'addresses' | 'link' | 'since' | 'pod'
>;

const SWEEP_MS = 60_000;
/**
 * Plugins that other plugins call for the attachment they are at work on, perhaps by way of a program: their calls must
 * not wait for those of the others.
 */
const IPAM_PLUGINS: ReadonlySet<string> = new Set(['host-local', 'static', 'dhcp']);
/** What a server that does not run has to offer. */
const NO_PLUGINS: PluginSource = { names: [], find: () => Promise.resolve(undefined) };
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** The agent's side of CNI: answers the shim. Plugins are found by `PluginRegistry`. */
export class CniServer {
  readonly #options: CniServerOptions;
  readonly #log: Logger;
  readonly #locks = new Locks();
  /** Of plugins that call other plugins, which may come back to this server by a program of their own. */
  readonly #outer = new Locks();
  /** Of the plugins that give addresses to those above. */
  readonly #inner = new Locks();
  readonly #executables = new Executables();
  readonly #connections = new Set<Socket>();
  readonly #duration: Histogram;
  readonly #errors: Counter;
  readonly #attached: Gauge;
  /** Links that the last sweep missed, by name, with the time their attachment was made. */
  #missing = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #recovering: Promise<void> | undefined;
  #running: Running | undefined;

  constructor(options: CniServerOptions) {
    this.#options = options;
    this.#log = options.log.child({ component: 'cni' });
    const m = options.metrics;
    this.#duration = m.histogram('weft_cni_request_duration_seconds', 'Time to answer one call of a CNI plugin.');
    this.#errors = m.counter('weft_cni_errors_total', 'CNI calls answered with an error, by CNI error code.');
    this.#attached = m.gauge('weft_cni_attachments', 'Pod interfaces that hold addresses of this node.');
    m.beforeRender(() => this.#attached.set(this.#running?.ipam.list().length ?? 0));
  }

  /**
   * Takes over what an earlier agent left (finishing or undoing what it was doing when it died), then listens.
   * Rejects when another agent uses the state directory.
   */
  async start(): Promise<void> {
    const { stateDir, ns, reuseDelayMs } = this.#options;
    const lock = takeLock(stateDir);
    try {
      const stamp = stampOf(ns);
      const log = this.#log;
      const ipam = new Ipam({ stateDir, stamp, log, ...(reuseDelayMs === undefined ? {} : { reuseDelayMs }) });
      const ports = Journal.open<PortRecord>(join(stateDir, 'hostports.journal'), stamp, log);
      const node = new NodeNetwork({ log, ...(ns === undefined ? {} : { ns }) });
      const { addresses: authority } = this.#options;
      const weft = new WeftPlugin({ node, ipam, log, ...(authority === undefined ? {} : { authority }) });
      const portmap = new PortmapPlugin({ node, journal: ports.journal, records: ports.contents.records, log });
      const { networks: source, confDir } = this.#options;
      const networks = new NetworksPlugin({
        stateDir: join(stateDir, 'networks'),
        inProcess: (call) => this.#inProcess(call),
        exclusive: (containerId, work) => this.#outer.keyed(containerId, work),
        log,
        ...(source === undefined ? {} : { source }),
        ...(confDir === undefined ? {} : { confDir }),
      });
      const own = [weft, portmap, ...(this.#options.plugins ?? [])];
      const byName = new Map<string, Plugin>(own.map((plugin) => [plugin.name, plugin]));
      for (const name of NETWORKS_PLUGINS) byName.set(name, networks);
      const plugins = new PluginRegistry(node, log, byName);
      const plan = planRecovery(ipam.list(), await node.rtnl.links.list({ kind: 'veth' }), Date.now());
      recover(plan, ipam, (allocation) => void weft.takeDown(allocation), log);
      await portmap.restore();
      await portmap.keepOnly(isNot(plan.release));
      authority?.begin(ipam);
      const server = createServer((socket) => this.#serve(socket));
      this.#running = { lock, ipam, ports: ports.journal, node, weft, portmap, plugins, networks, server };
      prepareDeferred(this.#options.socketPath);
      await listen(server, this.#options.socketPath);
      await this.#removeDeferred(plugins);
      this.#recovering = this.#afterwards('finish what an earlier agent had begun', (networks) => networks.recover());
      const period = this.#options.sweepMs ?? SWEEP_MS;
      if (period > 0) this.#timer = setInterval(() => void this.#sweepOrWarn(), period).unref();
    } catch (error) {
      if (this.#running === undefined) closeSync(lock);
      else await this.stop();
      throw error;
    }
  }

  /** Stops listening, lets calls under way end, and closes everything. What was wired stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    clearInterval(this.#timer);
    const closed = new Promise<void>((resolve) => running.server.close(() => resolve()));
    await this.#outer.exclusive(() =>
      this.#locks.exclusive(() =>
        this.#inner.exclusive(async () => {
          this.#running = undefined;
        }),
      ),
    );
    await running.node.reaper.idle();
    // Answers are on their way; idle connections of nobody are not worth waiting for.
    for (const socket of this.#connections) socket.destroySoon();
    await closed;
    running.portmap.close();
    running.node.close();
    running.ipam.close();
    running.ports.close();
    closeSync(running.lock);
  }

  /** The attachments this node's pods have. */
  attachments(): readonly PodAttachment[] {
    return this.#running?.ipam.list().filter((a) => a.state === 'ready') ?? [];
  }

  /** Resolves when links of removed pods are gone from the kernel (DEL answers before that). */
  async flush(): Promise<void> {
    await this.#recovering;
    await this.#running?.node.reaper.idle();
  }

  /**
   * Frees what sandboxes hold that are not in the list, for runtimes that never call GC. An undefined list means
   * nothing is known, and nothing is freed; an empty one means that no sandbox is valid. An attachment with an empty
   * `ifname` stands for all interfaces of the container. Attachments made after `asOf` (milliseconds since the epoch,
   * when the list was taken; default now) are left alone.
   */
  async reconcile(
    valid: readonly Attachment[] | undefined,
    options: { readonly asOf?: number } = {},
  ): Promise<{ readonly freed: readonly PodAttachment[] }> {
    const asOf = options.asOf ?? Date.now();
    if (valid === undefined || this.#running === undefined) return { freed: [] };
    const named = new Set(valid.map((v) => `${v.containerId}/${v.ifname}`));
    const keep = (a: Attachment & { readonly since: number }): boolean =>
      a.since > asOf || named.has(`${a.containerId}/${a.ifname}`) || named.has(`${a.containerId}/`);
    const done = await this.#locks.exclusive(async () => {
      const running = this.#running;
      if (running === undefined) return { freed: [] };
      const stale = running.ipam.list().filter((a) => !keep(a));
      await Promise.all(
        stale.map(async (a) => (a.kind === 'wired' ? running.weft.takeDown(a) : running.ipam.release(a))),
      );
      await running.portmap.keepOnly(keep);
      if (stale.length > 0) this.#log.info('freed attachments of sandboxes that are gone', { count: stale.length });
      return { freed: stale };
    });
    await this.#afterwards('free networks of vanished sandboxes', (networks) => networks.reconcile(keep));
    return done;
  }

  /**
   * Frees attachments whose pair the kernel has taken away with the sandbox's namespace, for runtimes that forgot the
   * pod. Only what is missing two sweeps in a row goes. The kernel is the witness: a pod that lives has its pair, so no
   * mistake about paths or lists can cost it its address.
   */
  async sweep(): Promise<{ readonly freed: readonly PodAttachment[] }> {
    await this.#afterwards('free networks of vanished containers', (networks) => networks.sweep());
    return this.#locks.exclusive(async () => {
      const running = this.#running;
      if (running === undefined) return { freed: [] };
      const links = new Set((await running.node.rtnl.links.list({ kind: 'veth' })).map((link) => link.name));
      const gone = running.ipam
        .list()
        .filter((a) => a.kind === 'wired' && a.state === 'ready' && a.link !== undefined && !links.has(a.link));
      const freed = gone.filter((a) => this.#missing.get(a.link as string) === a.since);
      this.#missing = new Map(gone.map((a) => [a.link as string, a.since]));
      if (freed.length === 0) return { freed };
      await Promise.all(freed.map((a) => running.weft.takeDown(a)));
      await running.portmap.keepOnly(isNot(freed));
      this.#log.info('freed attachments whose network namespace is gone', { count: freed.length });
      return { freed };
    });
  }

  async #afterwards(what: string, work: (networks: NetworksPlugin) => Promise<void>): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    await work(running.networks).catch((error: unknown) => this.#log.warn(`cannot ${what}`, { error }));
  }

  async #sweepOrWarn(): Promise<void> {
    try {
      await this.sweep();
    } catch (error) {
      this.#log.warn('cannot look for attachments of vanished pods', { error });
    }
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    let received: Buffer = Buffer.alloc(0);
    let called = false;
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      if (called) return;
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      try {
        const call = decodeCall(received);
        if (call === undefined) return;
        called = true;
        void this.#answer(socket, call);
      } catch (error) {
        this.#log.warn('a stranger called the CNI socket', { error });
        socket.destroy();
      }
    });
  }

  async #answer(socket: Socket, call: NonNullable<ReturnType<typeof decodeCall>>): Promise<void> {
    const { answer } = await this.#dispatch(call);
    socket.end(encodeAnswer(answer));
  }

  /** What a plugin that calls other plugins gets without a program, when the plugin is ours. */
  #inProcess({ type, path, env, stdin }: PluginCall): Promise<string> | undefined {
    if (this.#running?.plugins.names.includes(type) !== true || !this.#executables.isOurs(type, path)) return undefined;
    const own = new Map(Object.entries(env).filter(([key]) => /^(CNI_|TRACEPARENT$|TRACESTATE$|BAGGAGE$)/.test(key)));
    return this.#dispatch({ env: own.set('WEFT_PLUGIN', type), stdin }).then(({ answer, error }) => {
      if (error !== undefined) throw error;
      return answer.stdout;
    });
  }

  async #dispatch(call: Call): Promise<Outcome> {
    const started = performance.now();
    const plugins = this.#running?.plugins ?? NO_PLUGINS;
    const outcome = await dispatch(call, plugins, (request, run) => this.#guard(request, run));
    const { command, plugin, error } = outcome;
    this.#duration.observe((performance.now() - started) / 1000, { command, plugin });
    if (error === undefined) return outcome;
    this.#errors.inc({ command, plugin, code: String(error.cniCode) });
    const container = call.env.get('CNI_CONTAINERID');
    // W3C trace context, which newer runtimes hand to plugins: version-trace-span-flags.
    const trace = call.env.get('TRACEPARENT')?.split('-')[1];
    const about = { command, plugin, container, ...(trace === undefined ? {} : { trace }) };
    this.#log.warn('CNI call failed', { ...about, cniCode: error.cniCode, error: error.message });
    return outcome;
  }

  async #status(request: PluginRequest, run: () => Promise<string>): Promise<string> {
    const problem = request.plugin === 'weft' ? this.#options.problem?.() : undefined;
    if (problem === undefined) return run();
    throw new CniError(CniCode.unavailable, `network ${request.network}: ${problem}`);
  }

  /** Does what containers left to be done that went while no agent was there; all other calls wait. */
  async #removeDeferred(plugins: PluginSource): Promise<void> {
    const deferred = readDeferred(this.#options.socketPath, this.#log);
    if (deferred.length === 0) return;
    const remove = async ({ call, file }: Deferred): Promise<void> => {
      const { error } = await dispatch(call, plugins, (_, run) => run());
      const container = call.env.get('CNI_CONTAINERID');
      if (error !== undefined) this.#log.warn('a deferred removal failed', { container, error: error.message });
      rmSync(file, { force: true });
    };
    const isOuter = ({ call }: Deferred): boolean => NETWORKS_PLUGINS.includes(call.env.get('WEFT_PLUGIN') ?? '');
    await this.#outer.exclusive(async () => {
      await this.#locks.exclusive(async () => {
        for (const one of deferred) if (!isOuter(one)) await remove(one);
      });
      // The plugins they call are not held off: their calls may come by a program.
      for (const one of deferred) if (isOuter(one)) await remove(one);
    });
    this.#log.info('removed what containers left that went without an agent', { count: deferred.length });
  }

  #guard(request: PluginRequest, run: () => Promise<string>): Promise<string> {
    if (NETWORKS_PLUGINS.includes(request.plugin)) {
      if (request.command === 'STATUS') return run();
      return request.command === 'GC' ? this.#outer.exclusive(run) : this.#outer.keyed(request.containerId, run);
    }
    const locks = IPAM_PLUGINS.has(request.plugin) ? this.#inner : this.#locks;
    switch (request.command) {
      case 'STATUS':
        return this.#status(request, run);
      case 'GC':
        return locks.exclusive(run);
      default:
        // By plugin, because one that we answer for may execute another that we answer for.
        return locks.keyed(`${request.plugin}/${request.containerId}/${request.ifname}`, run);
    }
  }
}

/** True for what belongs to none of these attachments. */
function isNot(attachments: readonly Allocation[]): (a: PortRecord) => boolean {
  const named = new Set(attachments.map((a) => attachmentKey(a.network, a)));
  return (a) => !named.has(attachmentKey(a.network, a));
}

interface Running {
  readonly lock: number;
  readonly ipam: Ipam;
  readonly ports: Journal<PortRecord>;
  readonly node: NodeNetwork;
  readonly weft: WeftPlugin;
  readonly portmap: PortmapPlugin;
  readonly plugins: PluginSource;
  readonly networks: NetworksPlugin;
  readonly server: Server;
}

function takeLock(stateDir: string): number {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const fd = openSync(join(stateDir, 'lock'), 'w', 0o600);
  if (flock(fd, LOCK_EX | LOCK_NB)) return fd;
  closeSync(fd);
  throw new WeftError({
    code: 'CNI_STATE_IN_USE',
    message: `another agent uses the CNI state directory ${stateDir}`,
    hint: 'stop it, or give this agent a state directory of its own',
  });
}

function stampOf(ns: NetNs | undefined): JournalStamp {
  const own = ns ?? NetNs.current();
  const netns = own.inode.toString();
  if (ns === undefined) own.close();
  return { boot: readFileSync(BOOT_ID, 'utf8').trim(), netns };
}

async function listen(server: Server, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  // We hold the lock of the state directory, so nobody lives behind an old socket of ours.
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, 4096, resolve);
  });
  chmodSync(path, 0o600);
}
