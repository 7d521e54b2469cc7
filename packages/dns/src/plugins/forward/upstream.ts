import type { Cell, DnsMetrics, HistogramVec } from '../../server/metrics.ts';
import { encodeQuery, FLAG, type Message, nameFromText, rcodeName, TYPE } from '../../wire/index.ts';
import { type Channel, ClosedConnection, StreamChannel, type Target, UdpChannel } from '../../client/channel.ts';
import { DohChannel } from '../../client/doh.ts';

export interface UpstreamOptions {
  /** Milliseconds until a query without answer has failed. */
  readonly timeoutMs: number;
  /** Milliseconds after which an idle socket is closed. */
  readonly expireMs: number;
  /** Milliseconds between health checks of an upstream that failed. */
  readonly checkMs: number;
  /** Name asked for by health checks and whether they ask for recursion. */
  readonly check: { readonly name: string; readonly recursion: boolean };
  /** Health checks over TCP. */
  readonly forceTcp: boolean;
}

/** Sockets per upstream and transport: several source ports make answers harder to forge. */
const MAX_CHANNELS = 4;
/** A UDP socket is replaced after this time so that its port does not become known. */
const MAX_AGE_MS = 30_000;
const CHECK_TIMEOUT_MS = 1000;
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** One upstream server: its sockets, how fast it is, and whether it answers. */
export class Upstream {
  /** `10.0.0.1:53`, as in messages and metrics. */
  readonly name: string;
  readonly #target: Target;
  readonly #options: UpstreamOptions;
  readonly #udp: Channel[] = [];
  readonly #tcp: Channel[] = [];
  readonly #checkFailures: Cell;
  readonly #duration: HistogramVec;
  readonly #connections: Readonly<Record<'hits' | 'misses', (proto: string) => Cell>>;
  #fails = 0;
  #checking: NodeJS.Timeout | true | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #stopped = false;
  #rttMs: number | undefined;
  /** True after a failure or a lost race, until the next answer: others are asked first meanwhile. */
  suspect = false;

  constructor(target: Target, options: UpstreamOptions, metrics: DnsMetrics) {
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    this.name = `${host}:${target.port}`;
    this.#target = target;
    this.#options = options;
    this.#checkFailures = metrics
      .counter('coredns_proxy_healthcheck_failures_total', 'Counter of the number of failed healthchecks.', [
        'proxy_name',
        'to',
      ])
      .cell('forward', this.name);
    const connections = (what: 'hits' | 'misses'): ((proto: string) => Cell) => {
      const counter = metrics.counter(
        `coredns_proxy_conn_cache_${what}_total`,
        `Counter of connection cache ${what} per upstream and protocol.`,
        ['proxy_name', 'to', 'proto'],
      );
      return (proto) => counter.cell('forward', this.name, proto);
    };
    this.#connections = { hits: connections('hits'), misses: connections('misses') };
    this.#duration = metrics.histogram(
      'coredns_proxy_request_duration_seconds',
      'Histogram of the time each request took.',
      ['proxy_name', 'to', 'rcode'],
      BUCKETS,
    );
  }

  get tls(): boolean {
    return this.#target.tls !== undefined;
  }

  /** More failed health checks in a row than allowed; 0 allows any number. */
  down(maxFails: number): boolean {
    return maxFails > 0 && this.#fails > maxFails;
  }

  /** How long to wait for an answer before another upstream is asked as well, in milliseconds. */
  get patienceMs(): number {
    return this.#rttMs === undefined ? 250 : Math.min(500, Math.max(50, 4 * this.#rttMs));
  }

  /** Sends a query and waits for its answer. */
  async exchange(query: Uint8Array, tcp: boolean, timeoutMs = this.#options.timeoutMs): Promise<Message> {
    const started = performance.now();
    for (let retried = false; ; retried = true) {
      try {
        const message = await this.#channel(tcp || this.tls).exchange(query, timeoutMs);
        const took = performance.now() - started;
        this.#rttMs = this.#rttMs === undefined ? took : this.#rttMs * 0.8 + took * 0.2;
        this.suspect = false;
        this.#duration.cell('forward', this.name, rcodeName(message.rcode)).observe(took / 1000);
        return message;
      } catch (error) {
        // A connection that idled is closed by many servers: that says nothing about their health.
        if (error instanceof ClosedConnection && !retried && !this.#stopped) continue;
        throw error;
      }
    }
  }

  /** Starts checking this upstream until it answers. Does nothing when that is going on already. */
  startChecking(): void {
    if (this.#checking !== undefined || this.#stopped) return;
    this.#checking = true;
    void this.#check();
  }

  close(): void {
    this.#stopped = true;
    if (this.#checking !== true) clearTimeout(this.#checking);
    clearInterval(this.#sweep);
    for (const channel of [...this.#udp.splice(0), ...this.#tcp.splice(0)]) channel.close();
  }

  async #check(): Promise<void> {
    const { check, forceTcp, checkMs } = this.#options;
    const query = encodeQuery({
      id: 0,
      flags: check.recursion ? FLAG.RD : 0,
      name: nameFromText(check.name),
      type: TYPE.NS,
      class: 1,
    });
    try {
      // Any answer will do, refusals included: the server lives.
      await this.exchange(query, forceTcp, CHECK_TIMEOUT_MS);
      this.#fails = 0;
      this.#checking = undefined;
    } catch {
      if (this.#stopped) return;
      this.#fails += 1;
      this.#checkFailures.value += 1;
      this.#checking = setTimeout(() => void this.#check(), checkMs);
      this.#checking.unref();
    }
  }

  #channel(stream: boolean): Channel {
    if (this.#stopped) throw new Error(`${this.name}: closed`);
    const list = stream ? this.#tcp : this.#udp;
    const now = performance.now();
    for (let i = list.length - 1; i >= 0; i--) {
      const channel = list[i] as Channel;
      const aged = !stream && now - channel.opened > MAX_AGE_MS;
      const idle = now - channel.lastUsed > this.#options.expireMs;
      if (!channel.closed && (channel.inFlight > 0 || !(aged || idle))) continue;
      list.splice(i, 1);
      channel.close();
    }
    const usable = list.filter((channel) => stream || now - channel.opened <= MAX_AGE_MS);
    const wanted = stream ? 1 : MAX_CHANNELS;
    const proto = stream ? this.#streamProto : 'udp';
    if (usable.length < wanted) {
      this.#connections.misses(proto).value += 1;
      const channel = this.#newChannel(stream);
      list.push(channel);
      this.#sweep ??= setInterval(() => this.#expire(), 5000).unref();
      return channel;
    }
    this.#connections.hits(proto).value += 1;
    return usable[Math.floor(Math.random() * usable.length)] as Channel;
  }

  get #streamProto(): string {
    if (this.#target.doh !== undefined) return 'https';
    return this.#target.tls === undefined ? 'tcp' : 'tcp-tls';
  }

  #newChannel(stream: boolean): Channel {
    if (!stream) return new UdpChannel(this.#target);
    return this.#target.doh === undefined ? new StreamChannel(this.#target) : new DohChannel(this.#target);
  }

  #expire(): void {
    const now = performance.now();
    for (const list of [this.#udp, this.#tcp]) {
      for (let i = list.length - 1; i >= 0; i--) {
        const channel = list[i] as Channel;
        if (channel.inFlight > 0 || now - channel.lastUsed <= this.#options.expireMs) continue;
        list.splice(i, 1);
        channel.close();
      }
    }
    if (this.#udp.length + this.#tcp.length === 0) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }
}
