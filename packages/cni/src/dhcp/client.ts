import { type Link, type NetNs, PacketSocket, Rtnl } from '@weft/kernel';
import { errorMessage, type Logger } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { decodeFrame, encodeFrame, EVERYBODY, PORT } from './frame.ts';
import type { Lease } from './lease.ts';
import { type ClientConfig, type ClientEvent, type ClientState, INITIAL, type Outgoing, step } from './machine.ts';
import { decodeMessage, encodeMessage, messageType, TYPE } from './packet.ts';

/** How often a link is looked for that holds a lease, milliseconds. */
const LINK_CHECK_MS = 30_000;
/** Longest timer there is. */
const MAX_TIMER_MS = 0x7fffffff;

export interface ClientOptions extends Omit<ClientConfig, 'chaddr'> {
  /** The sandbox; closed by the client when it ends. */
  readonly ns: NetNs;
  readonly ifname: string;
  readonly log: Logger;
  /** The lease ended by itself: expired, withdrawn, or its link is gone. */
  readonly onEnd: () => void;
  /** There is a lease, or it goes on for another term. */
  readonly onLease: (granted: Granted) => void;
}

/** A lease with the time it counts from, ms since the epoch. */
export interface Granted {
  readonly lease: Lease;
  readonly leasedAt: number;
}

/** Keeps one lease on one link of a sandbox: gets it, renews it, gives it back. */
export class DhcpClient {
  readonly #options: ClientOptions;
  readonly #rtnl: Rtnl;
  readonly #log: Logger;
  #config: ClientConfig | undefined;
  #link: Link | undefined;
  #state: ClientState = INITIAL;
  #socket: PacketSocket | undefined;
  /** Whose frame the last answer came in: the way back to the server, or to the relay before it. */
  #serverMac = EVERYBODY;
  #timer: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;
  #settle: ((error: CniError | undefined) => void) | undefined;
  #ended = false;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#rtnl = Rtnl.open(options.ns);
  }

  get lease(): Lease | undefined {
    return this.#state.phase === 'ended' ? undefined : this.#state.lease;
  }

  /** Resolves when there is a lease; rejects with CniError when none can be had. */
  async acquire(): Promise<Lease> {
    const link = await this.#begin();
    // An answer cannot come while the link is down.
    if (!link.up) await this.#rtnl.links.set(link.index, { up: true });
    const error = await new Promise<CniError | undefined>((resolve) => {
      this.#settle = resolve;
      this.#feed({ type: 'start' });
    });
    if (error !== undefined) throw error;
    this.#check = setInterval(() => void this.#lookForLink(), LINK_CHECK_MS).unref();
    return this.#state.lease as Lease;
  }

  /** Goes on with a lease that another client had, and has it renewed at once. Rejects when its link is gone. */
  async resume({ lease, leasedAt }: Granted): Promise<void> {
    await this.#begin();
    this.#state = { ...INITIAL, phase: 'bound', lease, leasedAt, wakeAt: leasedAt };
    this.#feed({ type: 'timer' });
    if (!this.#ended) this.#check = setInterval(() => void this.#lookForLink(), LINK_CHECK_MS).unref();
  }

  async #begin(): Promise<Link> {
    const { ifname, clientId, options, timeoutMs, resendMaxMs, resendTimeoutMs, broadcast } = this.#options;
    const link = await this.#rtnl.links.get(ifname);
    if (link?.mac === undefined) {
      this.#finish();
      throw new CniError(CniCode.invalidConfig, `dhcp: there is no interface ${ifname} in the sandbox`);
    }
    this.#link = link;
    const chaddr = Uint8Array.from(link.mac.split(':'), (part) => Number.parseInt(part, 16));
    this.#config = { chaddr, clientId, options, timeoutMs, resendMaxMs, resendTimeoutMs, broadcast };
    return link;
  }

  /** Has the lease renewed now, without waiting for it. */
  refresh(): void {
    this.#feed({ type: 'check' });
  }

  /** Ends the client and gives the address back. Safe to call again. */
  stop(): void {
    if (this.#ended) return;
    this.#feed({ type: 'stop' });
    this.#finish();
  }

  /** Ends the client; the lease stays with the server, for somebody who goes on with it. */
  abandon(): void {
    this.#finish();
  }

  #feed(event: ClientEvent): void {
    const config = this.#config;
    if (this.#ended || config === undefined) return;
    const env = { now: performance.timeOrigin + performance.now(), random: Math.random };
    const { state, send, outcome } = step(config, this.#state, event, env);
    this.#state = state;
    for (const outgoing of send) this.#send(outgoing);
    this.#listen(!['init', 'bound', 'ended'].includes(state.phase));
    this.#arm(env.now);
    const { ifname } = this.#options;
    if (outcome?.type === 'leased') {
      const { address, duration } = outcome.lease;
      this.#log.info('DHCP lease', { ifname, address, seconds: duration });
      this.#options.onLease({ lease: outcome.lease, leasedAt: state.leasedAt });
      this.#answer(undefined);
    } else if (outcome?.type === 'failed') {
      this.#answer(new CniError(CniCode.tryAgainLater, `dhcp: ${outcome.why}`));
      this.#finish();
    } else if (outcome?.type === 'lost') {
      this.#log.error('DHCP lease lost; bringing its interface down', { ifname, why: outcome.why });
      void this.#down();
    }
  }

  #answer(error: CniError | undefined): void {
    this.#settle?.(error);
    this.#settle = undefined;
  }

  async #down(): Promise<void> {
    try {
      if (this.#link !== undefined) await this.#rtnl.links.set(this.#link.index, { up: false });
    } catch (error) {
      this.#log.warn('cannot bring an interface down', { ifname: this.#options.ifname, error });
    }
    this.#finish();
    this.#options.onEnd();
  }

  async #lookForLink(): Promise<void> {
    const link = await this.#rtnl.links.get(this.#options.ifname).catch(() => undefined);
    if (this.#ended || link?.index === this.#link?.index) return;
    this.#log.info('the interface of a DHCP lease is gone', { ifname: this.#options.ifname });
    this.#finish();
    this.#options.onEnd();
  }

  /** Listens only while an answer is due: a busy link's packets are nobody's business in between. */
  #listen(wanted: boolean): void {
    if (wanted) this.#open();
    else this.#shut();
  }

  #open(): PacketSocket | undefined {
    const link = this.#link;
    if (this.#socket !== undefined || link === undefined) return this.#socket;
    try {
      this.#socket = PacketSocket.open({
        ns: this.#options.ns,
        index: link.index,
        udpPort: PORT.client,
        onFrame: (frame) => this.#receive(frame),
      });
    } catch (error) {
      this.#log.warn('cannot listen for DHCP answers', { ifname: link.name, error });
    }
    return this.#socket;
  }

  #shut(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #send({ message, to }: Outgoing): void {
    const frame = encodeFrame({
      sourceMac: this.#link?.mac ?? EVERYBODY,
      destinationMac: to === undefined ? EVERYBODY : this.#serverMac,
      source: message.ciaddr,
      destination: to ?? '255.255.255.255',
      sourcePort: PORT.client,
      destinationPort: PORT.server,
      payload: encodeMessage(message),
    });
    try {
      this.#open()?.send(frame);
    } catch (error) {
      // The timer tries again: the link may come back.
      this.#log.warn('cannot send a DHCP message', { ifname: this.#options.ifname, error: errorMessage(error) });
    }
  }

  #receive(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    const message = frame === undefined ? undefined : decodeMessage(frame.payload);
    if (frame === undefined || message === undefined || message.xid !== this.#state.xid) return;
    if (messageType(message) === TYPE.ACK) this.#serverMac = frame.sourceMac;
    this.#feed({ type: 'message', message });
  }

  #arm(now: number): void {
    clearTimeout(this.#timer);
    const { wakeAt } = this.#state;
    if (this.#ended || wakeAt === undefined) return;
    const wait = Math.min(Math.max(wakeAt - now, 0), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#feed({ type: 'timer' }), Math.ceil(wait));
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    clearInterval(this.#check);
    this.#shut();
    this.#rtnl.close();
    this.#options.ns.close();
    this.#answer(new CniError(CniCode.tryAgainLater, 'dhcp: the client was stopped before it had a lease'));
  }
}
