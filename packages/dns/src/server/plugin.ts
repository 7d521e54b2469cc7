import type { KubeClient } from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import type { Address } from '../corefile/zones.ts';
import type { Directive } from '../corefile/directive.ts';
import type { Position } from '../corefile/error.ts';
import type { OptionSchema } from '../corefile/options.ts';
import type { Handler, Outcome } from './handler.ts';
import type { HttpHub } from './http.ts';
import type { DnsMetrics } from './metrics.ts';
import type { Request } from './request.ts';
import type { ListenSettings } from './settings.ts';

/** What a `kubernetes` block says about reaching the API server. */
export interface KubeAccess {
  /** `https://…`, `http://…` or `unix:///…`. */
  readonly endpoint?: string;
  readonly tls?: { readonly cert?: string; readonly key?: string; readonly ca?: string };
  readonly kubeconfig?: { readonly path: string; readonly context?: string };
}

/** The part of a client that the server needs; tests hand in their own. */
export type KubeSource = Pick<KubeClient, 'list' | 'watch'> & { close?(): void };

export type KubeFactory = (access: KubeAccess) => KubeSource | Promise<KubeSource>;

/** What lives as long as the server, through all reloads of its Corefile. */
export interface Runtime {
  readonly log: Logger;
  /** Version of the program, for metrics. */
  readonly version: string;
  readonly metrics: DnsMetrics;
  /** Registry of the loop and the informers. */
  readonly loopMetrics: Metrics;
  readonly http: HttpHub;
  readonly kube: KubeFactory;
  readonly clock: Clock;
  /** Things that configurations before and after a reload share, by key; the last one to let go closes them. */
  readonly shared: SharedThings;
  /** Path of the Corefile, when it came from a file. */
  readonly corefile: string | undefined;
  /** Reads the Corefile again. Rejects when it is invalid; the old configuration then stays. */
  reload(): Promise<void>;
  /** SHA-512 of the configuration in force, in hex. */
  configHash(): string;
  /** SHA-512 of what the Corefile says now. Throws when it does not parse. */
  currentHash(): string;
  /** Lets debug messages through, or no longer. */
  setDebug(on: boolean): void;
  /** Stops the server because going on would do harm. */
  fatal(error: Error): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

/** A reference-counted thing, kept under a key. */
export interface SharedThings {
  acquire<T>(
    key: string,
    make: () => { readonly value: T; readonly close: () => void },
  ): {
    readonly value: T;
    readonly release: () => void;
  };
}

/** The server block that a plugin is set up for. */
export interface Block {
  /** Zones of the block's keys, lower case with final dot. */
  readonly zones: readonly string[];
  readonly addresses: readonly Address[];
  readonly position: Position;
}

/** What a plugin's set-up may use. Set-up only reads the configuration: side effects start in `onStart`. */
export interface SetupContext {
  readonly block: Block;
  readonly runtime: Runtime;
  /** All blocks of the file, for plugins that ask what else is served. */
  readonly blocks: readonly Block[];
  /** Things that all blocks of one configuration share, for example the list of readiness checks. */
  readonly configuration: ConfigurationState;
  /** How the block's sockets are to behave; set-up writes into it. */
  readonly listen: ListenSettings;
  /** The path of a file that the Corefile names: relative ones are below what `root` says. */
  readonly path: (path: string) => string;
  /** Says where relative paths of the block start. */
  setRoot(folder: string): void;
  readonly warn: (position: Position, message: string) => void;
  /** Runs before the server answers its first query with this configuration. */
  onStart(start: (signal: AbortSignal) => void | Promise<void>): void;
  /** Runs once queries can arrive. */
  onListening(listening: () => void): void;
  /** Runs when this configuration is replaced or the server stops. */
  onStop(stop: () => void | Promise<void>): void;
  /** Runs only when the server stops for good, before it stops answering. */
  onShutdown(shutdown: () => void | Promise<void>): void;
  /** Says whether this plugin can answer already. */
  readiness(plugin: string, ready: () => boolean): void;
  /** Sets where the block listens instead of everywhere. */
  listenOn(hosts: readonly string[]): void;
  /** Asks the server itself, through the whole chain of the zone that holds the name. */
  readonly lookup: (name: Uint8Array, type: number, request: Request) => Outcome | Promise<Outcome>;
  /** Addresses that the block listens on; known once the server has started. */
  readonly localAddresses: () => readonly Uint8Array[];
  /** Host and port over which the server reaches itself; known once the server has started. */
  selfAddress(): { readonly host: string; readonly port: number } | undefined;
  /** Names of the plugins in this block, in chain order. */
  pluginNames(): readonly string[];
}

/** State that one configuration shares among its blocks. */
export interface ConfigurationState {
  readonly readiness: Map<string, () => boolean>;
  /** True while the server is leaving: still answering, but no longer ready. */
  leaving: boolean;
}

/** A plugin as the Corefile knows it. */
export interface Plugin {
  readonly name: string;
  /** True when a second use in one block is an error. */
  readonly once: boolean;
  /** Properties of the plugin's block, for documentation and lint. Undefined when it takes no block. */
  readonly options?: OptionSchema;
  /**
   * Several handlers stand one after the other in the chain; undefined when the plugin takes no part in answering.
   * @throws CorefileError when the configuration is wrong.
   */
  setup(directives: readonly Directive[], context: SetupContext): Handler | readonly Handler[] | undefined;
}
