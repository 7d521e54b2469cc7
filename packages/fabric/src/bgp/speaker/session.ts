import type { Socket } from 'node:net';
import { type Logger, sameValue } from '@weft/plan';
import {
  BgpError,
  CEASE,
  decodeMessage,
  encodeEndOfRib,
  encodeMessage,
  MessageStream,
  NOTIFY,
  type UpdateMessage,
} from '../codec/index.ts';
import {
  INITIAL,
  type Negotiated,
  type PeerAction,
  type PeerEvent,
  type PeerState,
  type SessionOptions,
  sessionState,
  type SessionState,
  step,
  type Timer,
} from '../fsm/index.ts';
import { Outgoing, type Rib } from '../rib/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { RestartHelper } from './restart.ts';
import type { Transport } from './transport.ts';

/** Prefixes that are worked off before the socket is looked at again. */
const BATCH = 2000;
/** Shortest time for which a peer may not read what we send, milliseconds (RFC 9687 §5). */
const SEND_HOLD_MS = 480_000;

/** Time after which a peer that does not say so has told all its routes, milliseconds. */
const UNTOLD_MS = 3000;

/** What a session needs of its speaker. */
export interface SessionHost {
  readonly rib: Rib;
  readonly transport: Transport;
  readonly log: Logger;
  readonly self: SpeakerConfig;
  /** We have restarted and do not know everything yet. */
  readonly restarting: boolean;
  /** What we pass on is not complete yet: the ends of tables are not told. */
  readonly defers: boolean;
  /** Something in the table has changed. */
  changed(): void;
  /** The session is up or down, or the peer has told all of its routes. */
  progressed(): void;
}

export interface SessionCounters {
  messagesIn: number;
  messagesOut: number;
  updatesIn: number;
  updatesOut: number;
  faults: number;
  /** Times that the session came up. */
  established: number;
}

interface Link {
  readonly socket: Socket;
  readonly stream: MessageStream;
}

/** One peer: runs its state machine over sockets and timers, and carries routes between it and the table. */
export class Session {
  readonly counters: SessionCounters = {
    messagesIn: 0,
    messagesOut: 0,
    updatesIn: 0,
    updatesOut: 0,
    faults: 0,
    established: 0,
  };
  readonly #host: SessionHost;
  #config: PeerConfig;
  #state: PeerState = INITIAL;
  readonly #links = new Map<number, Link>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #helper: RestartHelper;
  #next = 1;
  #active: { readonly connection: number; readonly negotiated: Negotiated; readonly outgoing: Outgoing } | undefined;
  #blocked: NodeJS.Timeout | undefined;
  #untold: NodeJS.Timeout | undefined;
  #endSent = false;
  readonly #ended = new Set<number>();
  #lastError: string | undefined;
  #since = Date.now();
  #cancelDial: (() => void) | undefined;

  constructor(host: SessionHost, config: PeerConfig) {
    this.#host = host;
    this.#config = config;
    this.#helper = new RestartHelper(config.name, host);
    this.#tellRib();
  }

  get config(): PeerConfig {
    return this.#config;
  }

  get state(): SessionState {
    return sessionState(this.#state);
  }

  get negotiated(): Negotiated | undefined {
    return this.#active?.negotiated;
  }

  /** When the state last changed between up and down, milliseconds since the epoch. */
  get since(): number {
    return this.#since;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Routes that the peer has of us. */
  get advertised(): number {
    return this.#active?.outgoing.size ?? 0;
  }

  /** Prefixes that the peer must still be told of. */
  get pending(): number {
    return this.#active?.outgoing.pending ?? 0;
  }

  /** The peer has told everything it had when the session came up, or it will never say so. */
  get complete(): boolean {
    const negotiated = this.negotiated;
    if (negotiated === undefined) return false;
    const restart = negotiated.capabilities.gracefulRestart;
    if (restart === undefined) return Date.now() - this.#since >= UNTOLD_MS;
    // Two speakers that both pass on what they hear would wait for each other (RFC 4724 §4.1).
    if (restart.restarting && this.#host.defers) return true;
    return negotiated.families.every((family) => this.#ended.has(family));
  }

  /** Addresses of the connection, once there is one. */
  get endpoint(): { readonly local: string; readonly remotePort: number } | undefined {
    const socket = this.#active === undefined ? undefined : this.#links.get(this.#active.connection)?.socket;
    if (socket?.localAddress === undefined) return undefined;
    return { local: socket.localAddress, remotePort: socket.remotePort ?? 0 };
  }

  start(): void {
    this.#feed({ type: 'start' });
  }

  /** Ends the session and forgets the peer's routes; the peer is told why. */
  stop(subcode: number): void {
    this.#feed({ type: 'stop', subcode });
    this.#end();
    this.#host.rib.removePeer(this.#config.name);
  }

  /** Goes away without a word, so that a peer that knows of restarts keeps our routes. */
  vanish(): void {
    for (const { socket } of this.#links.values()) socket.destroy();
    this.#links.clear();
    this.#end();
  }

  /** Ends a session for a reason that lies outside of the protocol. */
  fail(error: BgpError): void {
    if (this.#active !== undefined) this.#feed({ type: 'fault', connection: this.#active.connection, error });
  }

  /** Takes another configuration; the session stays when only policy has changed. Returns false when it cannot. */
  reconfigure(config: PeerConfig): boolean {
    const {
      import: _i,
      export: _e,
      nextHop: _n,
      allowOwnAs: _a,
      maxPrefixes: _m,
      cause: _c,
      client: _l,

      ...before
    } = this.#config;
    const {
      import: _i2,
      export: _e2,
      nextHop: _n2,
      allowOwnAs: _a2,
      maxPrefixes: _m2,
      cause: _c2,
      client: _l2,

      ...after
    } = config;
    if (!sameValue(before, after)) return false;
    this.#config = config;
    this.#tellRib();
    this.#host.changed();
    const active = this.#active;
    if (active !== undefined) {
      active.outgoing.forgetPolicy();
      active.outgoing.touch(this.#host.rib.prefixes());
      this.pump();
    }
    return true;
  }

  /** Takes a connection that the peer has opened. */
  accept(socket: Socket): void {
    this.#connected(socket, 'in');
  }

  /** These routes may have changed. */
  touch(prefixes: readonly string[]): void {
    this.#active?.outgoing.touch(prefixes);
    this.pump();
  }

  /** Sends what is pending, as far as the peer reads. */
  pump(): void {
    const active = this.#active;
    const socket = active === undefined ? undefined : this.#links.get(active.connection)?.socket;
    if (active === undefined || socket === undefined) return;
    while (this.#blocked === undefined && active.outgoing.pending > 0) {
      socket.cork();
      for (const bytes of active.outgoing.take(this.#host.rib, BATCH)) {
        this.counters.updatesOut += 1;
        this.#write(socket, bytes);
      }
      socket.uncork();
      if (socket.writableNeedDrain) this.#block(socket);
    }
    if (active.outgoing.pending > 0 || this.#endSent || this.#host.defers) return;
    this.#endSent = true;
    for (const family of active.negotiated.families) this.#write(socket, encodeEndOfRib(family));
  }

  #write(socket: Socket, bytes: Uint8Array): void {
    this.counters.messagesOut += 1;
    socket.write(bytes);
  }

  #block(socket: Socket): void {
    const limit = Math.max(SEND_HOLD_MS, 2000 * (this.negotiated?.holdTime ?? 0));
    this.#blocked = setTimeout(() => {
      this.fail(new BgpError(NOTIFY.sendHoldTimer, 0, 'the peer does not read'));
    }, limit);
    socket.once('drain', () => {
      clearTimeout(this.#blocked);
      this.#blocked = undefined;
      this.pump();
    });
  }

  get #options(): SessionOptions {
    const { localAs, as, families, holdTime, connectRetry, passive, restartTime } = this.#config;
    return {
      localAs,
      peerAs: as,
      routerId: this.#host.self.routerId,
      families,
      holdTime,
      connectRetry,
      passive,
      restarting: this.#host.restarting,
      // As long as this process runs, the kernel has what it had.
      forwarding: this.#host.restarting || this.counters.established > 0,
      ...(restartTime === undefined ? {} : { restartTime }),
    };
  }

  #tellRib(): void {
    const { name, address, as, localAs, client, allowOwnAs, maxPrefixes, localAddress, nextHop } = this.#config;
    const routerId = this.negotiated?.routerId;
    this.#host.rib.setPeer({
      name,
      address,
      as,
      internal: as === localAs,
      client,
      allowOwnAs,
      maxPrefixes,
      localAddress,
      nextHop,
      import: this.#config.import,
      export: this.#config.export,
      ...(localAs === this.#host.self.as ? {} : { localAs }),
      ...(routerId === undefined ? {} : { routerId }),
    });
  }

  #feed(event: PeerEvent): void {
    const before = this.state;
    const { state, actions } = step(this.#state, event, this.#options);
    this.#state = state;
    for (const action of actions) this.#do(action);
    if (this.state !== before)
      this.#host.log.debug('session', { peer: this.#config.name, from: before, to: this.state });
  }

  #do(action: PeerAction): void {
    switch (action.type) {
      case 'dial':
        this.#dial();
        break;
      case 'send': {
        const socket = this.#links.get(action.connection)?.socket;
        if (action.message.type === 'notification') {
          const { code, subcode } = action.message;
          this.#lastError = new BgpError(code, subcode, 'sent').message;
        }
        if (socket !== undefined) this.#write(socket, encodeMessage(action.message));
        break;
      }
      case 'close': {
        const link = this.#links.get(action.connection);
        this.#links.delete(action.connection);
        // What was sent last, a NOTIFICATION as a rule, still leaves; a peer that does not read is not waited for.
        link?.socket.end();
        link?.socket.setTimeout(1000, () => link.socket.destroy());
        break;
      }
      case 'timer':
        this.#timer(action.timer, action.connection, action.seconds);
        break;
      case 'up':
        this.#up(action.connection, action.negotiated);
        break;
      case 'down':
        this.#down(action.reason, action.graceful);
        break;
      case 'routes':
        this.#routes(action.update);
        break;
      case 'refresh':
        this.#active?.outgoing.refresh(this.#host.rib, action.family);
        this.pump();
        break;
    }
  }

  #timer(timer: Timer, connection: number | undefined, seconds: number): void {
    const key = `${timer} ${connection ?? ''}`;
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    if (seconds <= 0) return;
    // Without it all speakers of a cluster would dial at one moment (RFC 4271 §10).
    const jitter = timer === 'hold' ? 1 : 0.75 + Math.random() / 4;
    const fire = (): void => {
      this.#timers.delete(key);
      this.#feed({ type: 'timer', timer, ...(connection === undefined ? {} : { connection }) });
    };
    this.#timers.set(key, setTimeout(fire, seconds * 1000 * jitter));
  }

  #dial(): void {
    if (this.#cancelDial !== undefined) {
      this.#cancelDial();
      this.#lastError = 'no answer';
    }
    this.#cancelDial = this.#host.transport.dial(this.#config, (result) => {
      this.#cancelDial = undefined;
      if ('socket' in result) this.#connected(result.socket, 'out');
      else {
        this.#lastError = result.error;
        this.#feed({ type: 'dial-failed' });
      }
    });
  }

  #connected(socket: Socket, direction: 'in' | 'out'): void {
    const connection = this.#next++;
    const link = { socket, stream: new MessageStream() };
    this.#links.set(connection, link);
    let why = 'the peer has closed the connection';
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('data', (chunk: Buffer) => this.#received(connection, link, chunk));
    socket.on('close', () => {
      if (this.#links.get(connection) !== link) return;
      this.#links.delete(connection);
      this.#lastError = why;
      this.#feed({ type: 'closed', connection, why });
    });
    this.#feed({ type: 'connected', connection, direction });
  }

  #received(connection: number, link: Link, chunk: Buffer): void {
    try {
      for (const bytes of link.stream.push(chunk)) {
        // A message may have ended the connection.
        if (this.#links.get(connection) !== link) return;
        this.counters.messagesIn += 1;
        const context = this.#active?.negotiated ?? { as4: true, internal: true };
        this.#feed({ type: 'message', connection, message: decodeMessage(bytes, context) });
      }
    } catch (error) {
      const fault = error instanceof BgpError ? error : new BgpError(NOTIFY.cease, CEASE.outOfResources, String(error));
      this.#host.log.warn('the peer breaks the protocol', { peer: this.#config.name, error: fault.message });
      this.#feed({ type: 'fault', connection, error: fault });
    }
  }

  #up(connection: number, negotiated: Negotiated): void {
    const { families, as4 } = negotiated;
    const outgoing = new Outgoing(this.#config.name, families, as4);
    this.#active = { connection, negotiated, outgoing };
    this.#since = Date.now();
    this.#lastError = undefined;
    this.counters.established += 1;
    this.#endSent = false;
    this.#ended.clear();
    this.#tellRib();
    this.#helper.up(negotiated);
    outgoing.touch(this.#host.rib.prefixes());
    this.#host.log.info('BGP session is up', {
      peer: this.#config.name,
      address: this.#config.address,
      as: this.#config.as,
    });
    if (negotiated.capabilities.gracefulRestart === undefined)
      this.#untold = setTimeout(() => this.#host.progressed(), UNTOLD_MS + 100);
    this.#host.progressed();
    this.pump();
  }

  #down(reason: string, graceful: boolean): void {
    const negotiated = this.#active?.negotiated;
    this.#active = undefined;
    clearTimeout(this.#blocked);
    this.#blocked = undefined;
    this.#since = Date.now();
    this.#lastError = reason;
    this.#host.log.warn('BGP session is down', { peer: this.#config.name, reason, graceful });
    this.#helper.down(negotiated, graceful);
    this.#host.changed();
    this.#host.progressed();
  }

  #routes(update: UpdateMessage): void {
    this.counters.updatesIn += 1;
    if (update.faults.length > 0) {
      this.counters.faults += update.faults.length;
      this.#host.log.warn('an UPDATE is faulty', { peer: this.#config.name, faults: update.faults });
    }
    if (update.endOfRib !== undefined) {
      this.#ended.add(update.endOfRib);
      this.#helper.ended(update.endOfRib);
      this.#host.progressed();
    }
    if (!this.#host.rib.update(this.#config.name, update)) {
      this.fail(new BgpError(NOTIFY.cease, CEASE.maxPrefixes, `more than ${this.#config.maxPrefixes} routes`));
    }
    this.#host.changed();
  }

  #end(): void {
    clearTimeout(this.#untold);
    this.#cancelDial?.();
    this.#helper.close();
    clearTimeout(this.#blocked);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#active = undefined;
  }
}
