import type { Socket } from 'node:net';
import type { NetNs } from '@weft/kernel';
import { errorMessage, type Logger, sameValue } from '@weft/plan';
import { CEASE } from '../codec/index.ts';
import { Rib } from '../rib/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { Session, type SessionHost } from './session.ts';
import { Transport } from './transport.ts';

/** Time after which an address that could not be listened on is tried again, milliseconds. */
const LISTEN_AGAIN_MS = 5000;

export interface SpeakerOptions {
  /** Network namespace to speak in; default that of this process. */
  readonly ns?: NetNs;
  readonly log: Logger;
  /** Called with prefixes whose routes in use have changed. */
  readonly onRoutes: (prefixes: readonly string[]) => void;
  /**
   * An earlier speaker of this node has left routes in the kernel: peers are told that we forward as before, and
   * `onComplete` says when what was not heard of again may go.
   */
  readonly restarting?: boolean;
  /** Called once when all peers have told their routes, or after the restart time. */
  readonly onComplete?: () => void;
  /** Longest time to wait for that, milliseconds. Default 120,000. */
  readonly completeMs?: number;
}

/** A BGP-4 speaker: sessions with its peers, one table of routes. What becomes of the routes is its owner's matter. */
export class Speaker implements SessionHost {
  readonly rib: Rib;
  readonly transport: Transport;
  readonly log: Logger;
  readonly #options: SpeakerOptions;
  readonly #sessions = new Map<string, Session>();
  #self: SpeakerConfig;
  #restarting: boolean;
  #scheduled: NodeJS.Immediate | undefined;
  #waiting: NodeJS.Timeout | undefined;
  #listenAgain: NodeJS.Timeout | undefined;
  #listenError: string | undefined;
  #stopped = false;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.log = options.log.child({ component: 'bgp' });
    this.#self = { as: 0, routerId: '0.0.0.0', port: 0, peers: [], routes: [] };
    this.rib = new Rib(this.#self);
    this.transport = new Transport(options.ns, (socket, address) => this.#accepted(socket, address));
    this.#restarting = options.restarting ?? false;
    if (options.onComplete !== undefined || this.#restarting) {
      this.#waiting = setTimeout(() => this.#complete(), options.completeMs ?? 120_000);
    }
  }

  get self(): SpeakerConfig {
    return this.#self;
  }

  get restarting(): boolean {
    return this.#restarting;
  }

  get defers(): boolean {
    // Our own routes are known from the start; only who passes on others' must wait for them.
    const { as, clusterId, peers } = this.#self;
    return this.#restarting && (clusterId !== undefined || peers.some((peer) => peer.as !== as));
  }

  /** Why nobody can connect to us, when that is so. */
  get listenError(): string | undefined {
    return this.#listenError;
  }

  sessions(): readonly Session[] {
    return [...this.#sessions.values()];
  }

  /** Takes a configuration; only sessions that it changes are touched. */
  configure(config: SpeakerConfig): void {
    const before = this.#self;
    this.#self = config;
    const { as, routerId, clusterId } = config;
    if (before.as !== as || before.routerId !== routerId || before.clusterId !== clusterId) {
      this.rib.setSelf({ as, routerId, ...(clusterId === undefined ? {} : { clusterId }) });
      // All of it is in every OPEN or in every route.
      for (const name of this.#sessions.keys()) this.#remove(name, CEASE.configChange);
    }
    this.#listen();
    this.rib.setOwn(config.routes);
    const wanted = new Map(config.peers.map((peer) => [peer.name, peer]));
    for (const name of this.#sessions.keys()) if (!wanted.has(name)) this.#remove(name, CEASE.deconfigured);
    for (const peer of wanted.values()) this.#ensure(peer);
    this.changed();
    this.progressed();
  }

  /** Ends it. Peers that know of graceful restart keep our routes when `graceful`; else they are told to forget them. */
  stop(graceful: boolean): void {
    this.#stopped = true;
    clearTimeout(this.#waiting);
    clearTimeout(this.#listenAgain);
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    for (const session of this.#sessions.values()) {
      if (graceful) session.vanish();
      else session.stop(CEASE.shutdown);
    }
    this.#sessions.clear();
    this.transport.close();
  }

  changed(): void {
    if (this.#stopped) return;
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      const prefixes = this.rib.settle();
      if (prefixes.length === 0) return;
      for (const session of this.#sessions.values()) session.touch(prefixes);
      this.#options.onRoutes(prefixes);
    });
  }

  progressed(): void {
    if (this.#waiting === undefined || this.#self.peers.length === 0) return;
    const sessions = this.sessions();
    if (sessions.length >= this.#self.peers.length && sessions.every((session) => session.complete)) {
      // What the last of them told is settled first.
      setImmediate(() => setImmediate(() => this.#complete()));
    }
  }

  #complete(): void {
    if (this.#waiting === undefined || this.#stopped) return;
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#restarting = false;
    this.#options.onComplete?.();
    for (const session of this.#sessions.values()) session.pump();
  }

  #listen(): void {
    clearTimeout(this.#listenAgain);
    const { listen = ['0.0.0.0', '::'], port } = this.#self;
    try {
      this.transport.listen(listen, port);
      this.#listenError = undefined;
    } catch (error) {
      this.#listenError = errorMessage(error);
      this.log.error('cannot listen for BGP peers', { error, retryInMs: LISTEN_AGAIN_MS });
      this.#listenAgain = setTimeout(() => this.#listen(), LISTEN_AGAIN_MS);
    }
  }

  #remove(name: string, subcode: number): void {
    const session = this.#sessions.get(name);
    if (session === undefined) return;
    session.stop(subcode);
    this.transport.setKey(session.config.address, undefined);
    this.#sessions.delete(name);
  }

  #ensure(peer: PeerConfig): void {
    const session = this.#sessions.get(peer.name);
    if (session !== undefined) {
      if (sameValue(session.config, peer) || session.reconfigure(peer)) return;
      this.#remove(peer.name, CEASE.configChange);
    }
    try {
      this.transport.setKey(peer.address, peer.password);
    } catch (error) {
      this.log.error('cannot set the key of a peer', { peer: peer.name, error });
    }
    const fresh = new Session(this, peer);
    this.#sessions.set(peer.name, fresh);
    fresh.start();
  }

  #accepted(socket: Socket, address: string): void {
    const session = this.sessions().find((s) => s.config.address === address);
    if (session === undefined || this.#stopped) {
      this.log.warn('refused a connection of a stranger', { address });
      socket.destroy();
      return;
    }
    const { ttlSecurity } = session.config;
    if (ttlSecurity !== undefined) Transport.secure(socket, ttlSecurity);
    session.accept(socket);
  }
}
