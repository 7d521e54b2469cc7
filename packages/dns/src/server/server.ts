import { readFileSync } from 'node:fs';
import { listenTcp } from '@weft/kernel';
import {
  Metrics,
  errorMessage,
  formatProvenance,
  type Logger,
  type Provenance,
  silentLogger,
  WeftError,
} from '@weft/plan';
import { EMPTY_COREFILE } from '../corefile/default.ts';
import { fileImports } from '../corefile/files.ts';
import { parseCorefile, type ServerBlock } from '../corefile/parser.ts';
import type { Position } from '../corefile/error.ts';
import { isDirective } from '../plugins/index.ts';
import { keyFromText } from '../wire/index.ts';
import { Configuration, configure, hashBlocks, type Listening, siteKey } from './configuration.ts';
import type { InKernel, InKernelOptions } from '../in-kernel/in-kernel.ts';
import { Fast, type FastOptions } from '../fast/fast.ts';
import { DebugLog } from './debug-log.ts';
import { HttpHub, type ListenFd } from './http.ts';
import { defaultKube } from './kube.ts';
import { type AddressListener, Listener } from './listeners.ts';
import { DnsMetrics } from './metrics.ts';
import { saveMemory } from './libc.ts';
import type { Clock, KubeFactory, KubeSource, Runtime } from './plugin.ts';
import { Shared } from './shared.ts';
import type { Observer } from './site.ts';
import { serveInspector } from '../inspect/inspector.ts';

export interface DnsOptions {
  /** Path of a Corefile, or its text. Without it the server is CoreDNS's default: whoami. */
  readonly corefile?: { readonly path: string } | { readonly text: string; readonly file?: string };
  /** The API client of `kubernetes` blocks, or how to make one from what a block says. Default: as the block says. */
  readonly kube?: KubeSource | KubeFactory;
  readonly log?: Logger;
  /** Registry for the figures of the loop and the informers; `/metrics` shows it too. */
  readonly metrics?: Metrics;
  /** Variables that a Corefile may name. Default: those of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Version of the program that runs the server, for metrics. */
  readonly version?: string;
  /** Port of blocks that name none. Default 53. */
  readonly port?: number;
  /** Addresses for blocks without `bind`. Default: all. */
  readonly hosts?: readonly string[];
  /**
   * Where to serve `/query` and `/top` over HTTP, as `127.0.0.1:9154`. They tell what clients ask and which objects
   * answers come from: keep to the loopback. Default: nowhere.
   */
  readonly inspect?: string;
  /**
   * Let others of the same user listen at the same addresses (SO_REUSEPORT), so that one server replaces another without
   * a query lost: a server that stops takes no more, and answers what it has taken. Needs FFI.
   */
  readonly share?: boolean;
  /** Answer what needs no chain in the kernel, where queries come in. Default: not at all. */
  readonly inKernel?: InKernelOptions;
  /** Take and answer UDP packets one by one with Node's own calls, although batches would be possible. */
  readonly dgramOnly?: boolean;
  /** Worker threads for UDP, and answers without the plugins where these allow it. False leaves all to the plugins. */
  readonly fast?: FastOptions | false;
  /** Stops the server, without the wait of `lameduck`. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Called when the server stops itself because going on would do harm. Default: exit code 1. */
  readonly onFatal?: (error: Error) => void;
}

/** Where a server answers. */
export interface DnsAddress {
  /** `dns`, `tls` or `https`. */
  readonly transport: string;
  /** Empty for all addresses. */
  readonly host: string;
  readonly port: number;
}

/** A configuration that takes over is given so long to know what it has to. */
const READY_MS = 30_000;
const LOOK_MS = 20;

/** Forwarded queries are answered, or given up, within this time (CoreDNS's deadline). */
const DRAIN_MS = 5000;

interface Current {
  readonly configuration: Configuration;
  readonly listeners: Map<string, AddressListener>;
}

/** A running DNS server. */
export class DnsServer {
  readonly metrics = new DnsMetrics();
  readonly #options: DnsOptions;
  readonly #log: DebugLog;
  readonly #http: HttpHub;
  readonly #listenFd: ListenFd | undefined;
  readonly #runtime: Runtime;
  #current: Current = { configuration: new Configuration(''), listeners: new Map() };
  #closing: Promise<void> | undefined;
  #reloading: Promise<void> | undefined;
  #fatal: Error | undefined;
  readonly #watchers = new Set<Observer>();
  #inKernel: InKernel | undefined;
  readonly #fast: Fast | undefined;
  readonly #onAbort = (): void => void this.close({ lameduck: false });

  constructor(options: DnsOptions) {
    this.#options = options;
    this.#log = new DebugLog(options.log ?? silentLogger);
    this.#listenFd =
      options.share === true
        ? (host, port, v6Only = false) => listenTcp(host, port, undefined, { share: true, v6Only })
        : undefined;
    this.#http = new HttpHub(this.#listenFd);
    const { kube } = options;
    const factory: KubeFactory = kube === undefined ? defaultKube : typeof kube === 'function' ? kube : () => kube;
    const clock = options.clock ?? { now: () => Date.now() };
    // Workers have no clock but the machine's.
    const fast = options.clock === undefined || options.fast === false ? options.fast : { workers: 0 };
    this.#fast = fast === false ? undefined : new Fast(fast ?? {}, this.metrics, clock, this.#log);
    this.#runtime = {
      log: this.#log,
      version: options.version ?? '0.0.0-dev',
      metrics: this.metrics,
      loopMetrics: options.metrics ?? new Metrics(),
      http: this.#http,
      kube: factory,
      clock,
      shared: new Shared(),
      corefile: options.corefile !== undefined && 'path' in options.corefile ? options.corefile.path : undefined,
      reload: () => this.reload(),
      configHash: () => this.#current.configuration.hash,
      currentHash: () => hashBlocks(this.#parse()),
      setDebug: (on) => {
        this.#log.debugging = on;
      },
      fatal: (error) => this.#die(error),
    };
  }

  /** Where the server answers, with the ports it got. */
  get addresses(): DnsAddress[] {
    return [...this.#current.listeners].map(([key, { host, port }]) => ({
      transport: key.slice(0, key.indexOf(':')),
      host,
      port,
    }));
  }

  /** Zones as CoreDNS lists them at its start: `example.org.:53`, `tls://.:853 on 10.0.0.1`. */
  get zones(): string[] {
    return [...this.#current.configuration.sites.values()].flatMap(({ transport, host, port, site }) =>
      [...site.zones.names()]
        .map(
          (zone) => `${transport === 'dns' ? '' : `${transport}://`}${zone}:${port}${host === '' ? '' : ` on ${host}`}`,
        )
        .sort(),
    );
  }

  /** True when every plugin that has to load something has loaded it. */
  get ready(): boolean {
    return this.#closing === undefined && this.#current.configuration.ready;
  }

  /** Why the server stopped itself, if it did. */
  get fatalError(): Error | undefined {
    return this.#fatal;
  }

  /** Ports of the HTTP endpoints by address as written in the Corefile. */
  get httpPorts(): Record<string, number> {
    return this.#http.ports();
  }

  /** Everything that `/metrics` shows. */
  renderMetrics(): string {
    return this.metrics.render() + this.#runtime.loopMetrics.render();
  }

  /** The API objects behind the answers to a name, and the plugin that gives them. */
  explain(
    name: string,
  ): { readonly plugin: string; readonly causes: readonly Provenance[]; readonly text: string[] }[] {
    const key = keyFromText(name);
    return this.#current.configuration.handlers.flatMap((handler) => {
      const causes = handler.explain?.(key) ?? [];
      return causes.length === 0 ? [] : [{ plugin: handler.name, causes, text: causes.map(formatProvenance) }];
    });
  }

  /** Lets an observer see every finished query, until the returned function is called. */
  watch(observer: Observer): () => void {
    this.#watchers.add(observer);
    this.#pause();
    return () => {
      this.#watchers.delete(observer);
      this.#pause();
    };
  }

  /** Only the chain shows queries to those who watch. */
  #pause(): void {
    const paused = this.#watchers.size > 0;
    this.#inKernel?.pause(paused);
    this.#fast?.pause(paused);
  }

  async start(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    saveMemory();
    await this.#switchTo(this.#configure());
    saveMemory();
    await this.#openInKernel();
    if (this.#options.inspect !== undefined) {
      await serveInspector(this.#http, this.#options.inspect, {
        sites: () => [...this.#current.listeners.values()],
        causes: (name) => this.explain(name),
        watch: (observer) => this.watch(observer),
      });
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  async #openInKernel(): Promise<void> {
    const { inKernel } = this.#options;
    const port = this.addresses.find(({ transport }) => transport === 'dns')?.port;
    if (inKernel === undefined || port === undefined) return;
    // Loaded only here: a server without it needs no rights and no FFI.
    const { InKernel } = await import('../in-kernel/in-kernel.ts');
    this.#inKernel = await InKernel.open(inKernel, port, this.#log, this.metrics);
    this.#followInKernel();
    this.#log.info(`answering in the kernel at ${inKernel.link}`);
  }

  #followInKernel(): void {
    const { listeners, configuration } = this.#current;
    const first = [...listeners].find(([key]) => key.startsWith('dns:'));
    const site = first?.[1].site;
    if (site === undefined) return;
    const sources = configuration.handlers.flatMap((handler) => handler.source ?? []);
    this.#inKernel?.follow(site, sources);
  }

  /** How often the program in the kernel ran, while the kernel counts that; undefined when there is none. */
  get inKernelStats(): { readonly runs: number; readonly nanoseconds: number } | undefined {
    return this.#inKernel?.stats();
  }

  /** Reads the Corefile again. Rejects when it cannot be served; the configuration in force then stays. */
  reload(): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => {
      this.#reloading = undefined;
    });
    return this.#reloading;
  }

  /** Stops the server; with `lameduck` it first answers for as long as `health` says. Safe to call twice. */
  close(options: { readonly lameduck?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(options.lameduck ?? false);
    return this.#closing;
  }

  async #reload(): Promise<void> {
    const failed = this.metrics
      .counter('coredns_reload_failed_total', 'Counter of the number of failed reload attempts.')
      .cell();
    try {
      await this.#switchTo(this.#configure());
      this.#log.info('Reloading complete');
    } catch (error) {
      failed.value += 1;
      this.#log.error(`Corefile changed but reload failed: ${errorMessage(error)}`, { error });
      throw error;
    }
  }

  #parse(): ServerBlock[] {
    const { corefile, env } = this.#options;
    let text = EMPTY_COREFILE;
    let file = 'Corefile';
    if (corefile !== undefined && 'path' in corefile) {
      text = readFileSync(corefile.path, 'utf8');
      file = corefile.path;
    } else if (corefile !== undefined) {
      text = corefile.text;
      file = corefile.file ?? file;
    }
    const options = { env: env ?? process.env, imports: fileImports, isDirective, warn: this.#warn };
    const blocks = parseCorefile(text, file, options);
    return blocks.length > 0 ? blocks : parseCorefile(EMPTY_COREFILE, 'Corefile', options);
  }

  readonly #warn = (position: Position, message: string): void =>
    this.#log.warn(`${position.file}:${position.line} - ${message}`);

  #configure(): Configuration {
    const { port, hosts } = this.#options;
    return configure(this.#parse(), {
      runtime: this.#runtime,
      warn: this.#warn,
      ...(port === undefined ? {} : { defaultPort: port }),
      ...(hosts === undefined ? {} : { hosts }),
    });
  }

  /** Starts a configuration beside the one in force, hands the sockets over, and stops the old one. */
  async #switchTo(next: Configuration): Promise<void> {
    const before = this.#current;
    const fresh: AddressListener[] = [];
    const listeners = new Map<string, AddressListener>();
    try {
      await next.start();
      if (before.listeners.size > 0 && before.configuration.ready) await this.#becomeReady(next);
      for (const [key, listening] of next.sites) {
        listening.site.watchers = this.#watchers;
        let listener = before.listeners.get(key);
        if (listener === undefined) {
          listener = await this.#listenerFor(listening);
          fresh.push(listener);
          await listener.open();
        }
        listeners.set(key, listener);
      }
    } catch (error) {
      await Promise.all(fresh.map((listener) => listener.close()));
      await next.stop();
      throw error;
    }
    for (const [key, { site, host }] of next.sites) {
      const listener = listeners.get(key) as AddressListener;
      site.bound = { address: host === '' ? '::' : host, port: listener.port };
      listener.site = site;
    }
    this.#current = { configuration: next, listeners };
    this.#followInKernel();
    for (const [key, listener] of before.listeners) if (!listeners.has(key)) await listener.close();
    await before.configuration.stop();
    next.listening((asked) => listeners.get(siteKey(asked))?.reachable);
  }

  /**
   * A server that is ready stays so through a reload: until the new configuration can answer, the old one does. Replicas
   * that read the same Corefile are not all unready at once then, even when the API is away.
   */
  async #becomeReady(next: Configuration): Promise<void> {
    const limit = performance.now() + READY_MS;
    while (!next.ready && this.#closing === undefined && performance.now() < limit)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    if (next.ready) return;
    throw new WeftError({
      code: 'DNS_NOT_READY',
      message: `the new configuration is not ready: ${next.unready.join(', ')}`,
      hint: 'the old one stays in force; is the API server there?',
    });
  }

  /** Encrypted transports are loaded only where a Corefile asks for them. */
  async #listenerFor({ transport, host, port, site }: Listening): Promise<AddressListener> {
    if (transport === 'dns') {
      const path = this.#fast?.path(siteKey({ transport, host, port }));
      const fast = this.#fast === undefined || path === undefined ? undefined : { fast: this.#fast, path };
      return new Listener(host, port, site, this.#log, this.#options.dgramOnly, this.#listenFd, fast);
    }
    const { secureListener } = await import('./secure-listener.ts');
    return secureListener(transport, host, port, site, this.#log, this.metrics, this.#listenFd);
  }

  #die(error: Error): void {
    if (this.#fatal !== undefined) return;
    this.#fatal = error;
    this.#log.error(error.message, { error });
    if (this.#options.onFatal !== undefined) this.#options.onFatal(error);
    else process.exitCode = 1;
    void this.close();
  }

  async #close(lameduck: boolean): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    await this.#reloading?.catch(() => {});
    const { configuration, listeners } = this.#current;
    if (lameduck) await configuration.shutdown();
    this.#inKernel?.close();
    this.#inKernel = undefined;
    if (lameduck) await Promise.all([...listeners.values()].map((listener) => listener.drain(DRAIN_MS)));
    await Promise.all([...listeners.values()].map((listener) => listener.close()));
    await this.#fast?.close();
    await configuration.stop();
    await this.#http.close();
  }
}

/** Starts a server. Rejects with CorefileError when the Corefile is wrong and `DNS_LISTEN` when an address is taken. */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  const server = new DnsServer(options);
  try {
    await server.start();
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}
