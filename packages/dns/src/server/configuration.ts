import { createHash } from 'node:crypto';
import { isAbsolute, join } from 'node:path';
import { networkInterfaces } from 'node:os';
import { parseIp } from '@weft/net';
import { directivesOf } from '../corefile/directive.ts';
import { CorefileError, inPlugin, type Position, parsingError } from '../corefile/error.ts';
import type { ServerBlock } from '../corefile/parser.ts';
import { type Address, addressesFromKey, formatAddress, type Transport } from '../corefile/zones.ts';
import { ORDER, PLUGINS } from '../plugins/index.ts';
import { UNSERVED } from '../plugins/unserved.ts';
import { CLASS, nameKey, labelOffsets, type Query, type Rr } from '../wire/index.ts';
import { andThen, bareReply, chain, type Handler, type Outcome, type Serve } from './handler.ts';
import type { Block, ConfigurationState, Runtime, SetupContext } from './plugin.ts';
import { INTERNAL, Request } from './request.ts';
import { planQuick } from './quick.ts';
import type { ListenSettings } from './settings.ts';
import { Places } from './places.ts';
import { Site } from './site.ts';

/** Where to listen and what to serve there. */
export interface Listening {
  readonly transport: Transport;
  /** Empty for all addresses. */
  readonly host: string;
  readonly port: number;
  readonly site: Site;
}

/** Name of a place to listen at, the same in every configuration. */
export function siteKey({ transport, host, port }: Pick<Listening, 'transport' | 'host' | 'port'>): string {
  return `${transport}://${host} ${port}`;
}

interface Hooks {
  readonly start: ((signal: AbortSignal) => void | Promise<void>)[];
  readonly listening: (() => void)[];
  readonly stop: (() => void | Promise<void>)[];
  readonly shutdown: (() => void | Promise<void>)[];
}

/** Blocks of these classes take CHAOS queries. */
const CHAOS = new Set(['chaos', 'forward', 'proxy']);
const MAX_DEPTH = 8;
const SERVED: ReadonlySet<Transport> = new Set(['dns', 'tls', 'https']);

/** Everything that one reading of a Corefile asks for, set up but not started. */
export class Configuration {
  readonly sites = new Map<string, Listening>();
  /** Handlers of all blocks, for explanations. */
  readonly handlers: Handler[] = [];
  readonly state: ConfigurationState = { readiness: new Map(), leaving: false };
  readonly hash: string;
  readonly #hooks: Hooks = { start: [], listening: [], stop: [], shutdown: [] };
  readonly #stop = new AbortController();
  /** Host and port of a site as opened; the port matters when the Corefile says 0. */
  #opened: (listening: Listening) => { host: string; port: number } | undefined = () => undefined;

  constructor(hash: string) {
    this.hash = hash;
  }

  get hooks(): Hooks {
    return this.#hooks;
  }

  get ready(): boolean {
    return this.unready.length === 0;
  }

  /** Plugins that cannot answer yet. */
  get unready(): string[] {
    return [...this.state.readiness].filter(([, ready]) => !ready()).map(([name]) => name);
  }

  /** Runs what must run before the first answer. */
  async start(): Promise<void> {
    await Promise.all(this.#hooks.start.map(async (start) => start(this.#stop.signal)));
  }

  /** Tells the plugins that queries can arrive, and where. */
  listening(opened: (listening: Listening) => { host: string; port: number } | undefined): void {
    this.#opened = opened;
    for (const listening of this.#hooks.listening) listening();
  }

  opened(listening: Listening): { host: string; port: number } | undefined {
    return this.#opened(listening);
  }

  /** Prepares the end while queries are still answered. */
  async shutdown(): Promise<void> {
    this.state.leaving = true;
    await Promise.all(this.#hooks.shutdown.map(async (shutdown) => shutdown()));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#hooks.stop.map(async (stop) => stop()));
  }
}

/** SHA-512 over the words of the blocks: equal when nothing but blanks, comments or file layout changed. */
export function hashBlocks(blocks: readonly ServerBlock[]): string {
  const words = blocks.map((block) => [
    block.keys.map((key) => key.text),
    [...block.directives].map(([name, tokens]) => [name, tokens.map((token) => `${token.file}:${token.text}`)]),
  ]);
  return createHash('sha512').update(JSON.stringify(words)).digest('hex');
}

export interface ConfigureOptions {
  readonly runtime: Runtime;
  /** Port of blocks that name none. Default 53. */
  readonly defaultPort?: number;
  /** Where to listen instead of on all addresses when no block says. */
  readonly hosts?: readonly string[];
  readonly warn: (position: Position, message: string) => void;
}

/** Sets up all blocks. @throws CorefileError. */
export function configure(blocks: readonly ServerBlock[], options: ConfigureOptions): Configuration {
  const configuration = new Configuration(hashBlocks(blocks));
  const parsed = blocks.map((block): Block => {
    const addresses = block.keys.flatMap((key) => addressesFromKey(key, options.defaultPort));
    const at = block.keys[0] as Position;
    const unserved = addresses.find(({ transport }) => !SERVED.has(transport));
    if (unserved !== undefined) {
      throw new CorefileError(
        at,
        `cannot serve ${formatAddress(unserved)}: dns://, tls:// and https:// are served`,
        'use one of these',
      );
    }
    return { zones: addresses.map(({ zone }) => zone), addresses, position: { file: at.file, line: at.line } };
  });
  const places = new Places();
  blocks.forEach((source, i) => {
    const block = parsed[i] as Block;
    setUpBlock({ source, block, blocks: parsed, configuration, options, places });
  });
  return configuration;
}

/** A block that is being set up, and what its plugins have said so far. */
interface Draft {
  readonly source: ServerBlock;
  readonly block: Block;
  readonly blocks: readonly Block[];
  readonly configuration: Configuration;
  readonly options: ConfigureOptions;
  readonly places: Places;
}

function setUpBlock(draft: Draft): void {
  const { block, configuration, options } = draft;
  const said: Said = { names: [], listen: {}, root: '', hosts: options.hosts ?? [''] };
  const handlers = setUpPlugins(draft, said);
  handlers.forEach((handler, i) => handler.linked?.(handlers.slice(i + 1)));
  configuration.handlers.push(...handlers);
  const serve: Serve | undefined = handlers.length === 0 ? undefined : chain(handlers);
  const view = handlers.find((handler) => handler.filter !== undefined)?.filter;
  const collect = handlers.find((handler) => handler.collect !== undefined)?.collect;
  for (const host of said.hosts) {
    for (const address of block.addresses) {
      draft.places.take(address, host, view !== undefined, block.position);
      const { site } = siteAt(configuration, options.runtime, host, address);
      Object.assign(site.settings, said.listen);
      const server = `${address.transport}://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
      const at = { server, zone: address.zone, view: view?.name ?? '' };
      const observers = handlers.flatMap((handler) => handler.observer?.(at) ?? []);
      site.add(address.zone, {
        serve,
        at,
        handlers,
        observers,
        quick: planQuick(handlers),
        view,
        collect,
        next: undefined,
      });
      if (said.names.some((name) => CHAOS.has(name))) site.chaos = true;
      const counting = handlers.find(({ name }) => name === 'prometheus');
      site.dropped ??= counting?.observer?.({ server, zone: 'dropped', view: '' });
    }
  }
  const transport = block.addresses.find((address) => address.transport !== 'dns')?.transport;
  if (transport !== undefined && said.listen.tls === undefined)
    options.warn(block.position, `${transport}:// without the plugin tls is served in the clear`);
}

/** What the plugins of a block have said about the block itself. */
interface Said {
  readonly names: string[];
  readonly listen: ListenSettings;
  root: string;
  hosts: readonly string[];
}

function setUpPlugins(draft: Draft, said: Said): Handler[] {
  const handlers: Handler[] = [];
  for (const name of ORDER) {
    const words = draft.source.directives.get(name);
    const first = words?.[0];
    if (words === undefined || first === undefined) continue;
    const plugin = PLUGINS.get(name);
    if (plugin === undefined) {
      throw parsingError(
        first,
        `plugin '${name}' is not served: ${UNSERVED.get(name) ?? 'Weft does not have it'}`,
        `remove '${name}': it is a plugin of CoreDNS that Weft does not have`,
      );
    }
    said.names.push(name);
    try {
      const directives = directivesOf(words);
      if (plugin.once && directives.length > 1) {
        throw parsingError(
          (directives[1] as (typeof directives)[number]).name,
          'this plugin can only be used once per Server Block',
        );
      }
      handlers.push(...[plugin.setup(directives, contextFor(name, draft, said)) ?? []].flat());
    } catch (error) {
      throw inPlugin(name, first, error);
    }
  }
  return handlers;
}

function siteAt(configuration: Configuration, runtime: Runtime, host: string, at: Address): Listening {
  const { transport, port } = at;
  const key = siteKey({ transport, host, port });
  let listening = configuration.sites.get(key);
  if (listening === undefined) {
    const panics = runtime.metrics
      .counter('coredns_panics_total', 'A metrics that counts the number of panics.')
      .cell();
    listening = { transport, host, port, site: new Site(runtime.log, panics) };
    configuration.sites.set(key, listening);
  }
  return listening;
}

function contextFor(plugin: string, draft: Draft, said: Said): SetupContext {
  const { block, blocks, configuration, options } = draft;
  const { hooks } = configuration;
  const ownSites = (): Listening[] =>
    [...configuration.sites.values()].filter(({ site }) =>
      block.zones.some((zone) => site.zones.get(zone) !== undefined),
    );
  return {
    block,
    blocks,
    runtime: options.runtime,
    configuration: configuration.state,
    listen: said.listen,
    path: (path) => (isAbsolute(path) || said.root === '' ? path : join(said.root, path)),
    setRoot: (folder) => {
      said.root = folder;
    },
    warn: (position, message) => options.warn(position, `plugin/${plugin}: ${message}`),
    onStart: (start) => void hooks.start.push(start),
    onListening: (listening) => void hooks.listening.push(listening),
    onStop: (stop) => void hooks.stop.push(stop),
    onShutdown: (shutdown) => void hooks.shutdown.push(shutdown),
    readiness: (name, ready) => void configuration.state.readiness.set(name, ready),
    listenOn: (hosts) => {
      said.hosts = hosts;
    },
    pluginNames: () => said.names,
    lookup: (name, type, request) => lookup(ownSites()[0]?.site, name, type, request),
    localAddresses: () => localAddresses(ownSites().map(({ host }) => host)),
    selfAddress: () => {
      const own = ownSites().find(({ transport }) => transport === 'dns');
      return own === undefined ? undefined : configuration.opened(own);
    },
  };
}

/** How deep the server is in questions to itself: an alias that leads back would go on for ever. */
let depth = 0;

function lookup(site: Site | undefined, name: Uint8Array, type: number, request: Request): Outcome | Promise<Outcome> {
  if (site === undefined || depth >= MAX_DEPTH) return bareReply(2);
  const key = nameKey(name);
  const query: Query = { ...request.query, qname: name, key, labels: labelOffsets(key), type, class: CLASS.IN };
  depth += 1;
  try {
    return andThen(site.ask(new Request(query, INTERNAL)), withTtls);
  } finally {
    depth -= 1;
  }
}

/** Records that others put into answers of their own have to bring their TTLs. */
function withTtls(outcome: Outcome): Outcome {
  if (outcome.kind !== 'reply' || outcome.ttl === undefined) return outcome;
  const { ttl } = outcome;
  const aged = (records: readonly Rr[]): readonly Rr[] => records.map((rr) => ({ ...rr, ttl }));
  return {
    ...outcome,
    ttl: undefined,
    answers: aged(outcome.answers),
    authority: aged(outcome.authority),
    additional: aged(outcome.additional),
  };
}

function localAddresses(hosts: readonly string[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  const add = (text: string): void => {
    const ip = parseIp(text.split('%')[0] as string);
    if (ip === undefined) return;
    const loopback = ip.family === 4 ? ip.bytes[0] === 127 : ip.bytes.every((b, i) => b === (i === 15 ? 1 : 0));
    const linkLocal = ip.family === 6 && ip.bytes[0] === 0xfe && ((ip.bytes[1] as number) & 0xc0) === 0x80;
    if (!loopback && !linkLocal) out.push(ip.bytes);
  };
  for (const host of hosts) {
    if (host !== '' && host !== '::' && host !== '0.0.0.0') add(host);
    else for (const list of Object.values(networkInterfaces())) for (const { address } of list ?? []) add(address);
  }
  return out;
}
