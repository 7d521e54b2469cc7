import { andThen, failure, type Handler, type Outcome, type Reply, type Serve } from '../../server/handler.ts';
import type { Cell } from '../../server/metrics.ts';
import type { Request } from '../../server/request.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { encodeQuery, FLAG, type Message, nameKey, RCODE, TYPE } from '../../wire/index.ts';
import type { Upstream } from './upstream.ts';

type Policy = 'random' | 'round_robin' | 'sequential';

export interface ForwardOptions {
  readonly from: string;
  readonly except: readonly string[];
  readonly policy: Policy;
  /** Failed health checks in a row before an upstream counts as down; 0 for never. */
  readonly maxFails: number;
  /** Queries waiting for an upstream at any time; 0 for no limit. */
  readonly maxConcurrent: number;
  /** Attempts per query; 0 for as many as the time allows. Undefined: twice the upstreams. */
  readonly maxAttempts: number | undefined;
  readonly forceTcp: boolean;
  readonly preferUdp: boolean;
  readonly failfast: boolean;
  /** Answers with these codes are worth asking another upstream. */
  readonly failover: readonly number[];
  /** Answers with these codes are worth asking the next `forward`. */
  readonly next: readonly number[];
  readonly nextOnNodata: boolean;
}

export interface ForwardMetrics {
  readonly broken: Cell;
  readonly rejects: Cell;
}

/** An answer, and who gave it. */
interface Answer {
  readonly message: Message;
  readonly from: Upstream;
}

const DEADLINE_MS = 5000;
const KEPT_FLAGS = FLAG.AA | FLAG.TC | FLAG.RA | FLAG.AD;

/** Sends queries to other servers. */
export class ForwardHandler implements Handler {
  readonly name = 'forward';
  /** Whom it asks; none until addresses of upstreams that are given by name are known. */
  upstreams: readonly Upstream[];
  readonly #options: ForwardOptions;
  readonly #metrics: ForwardMetrics;
  readonly #from: ZoneSet;
  readonly #except: ZoneSet;
  /** Equal queries on their way: the second waits for the answer to the first. */
  readonly #flights = new Map<string, Promise<Answer>>();
  #concurrent = 0;
  #turn = 0;

  constructor(upstreams: readonly Upstream[], options: ForwardOptions, metrics: ForwardMetrics) {
    this.upstreams = upstreams;
    this.#options = options;
    this.#metrics = metrics;
    this.#from = new ZoneSet([options.from]);
    this.#except = new ZoneSet(options.except);
  }

  serve(request: Request, next: Serve): Outcome | Promise<Outcome> {
    const { query } = request;
    if (!this.#from.has(query.key, query.labels) || this.#except.has(query.key, query.labels)) return next(request);
    const { maxConcurrent } = this.#options;
    if (maxConcurrent > 0 && this.#concurrent >= maxConcurrent) {
      this.#metrics.rejects.value += 1;
      return failure(this.name, RCODE.REFUSED, new Error(`concurrent queries exceeded maximum ${maxConcurrent}`));
    }
    this.#concurrent += 1;
    return this.#forward(request).then(
      ({ message, from }) => {
        this.#concurrent -= 1;
        request.metadata?.set('forward/upstream', () => from.name);
        return this.#deliver(request, message, next);
      },
      (error: Error) => {
        this.#concurrent -= 1;
        return failure(this.name, RCODE.SERVFAIL, error);
      },
    );
  }

  #deliver(request: Request, message: Message, next: Serve): Outcome | Promise<Outcome> {
    const { query } = request;
    const asked = message.question;
    if (asked === undefined || asked.type !== query.type || nameKey(asked.name) !== query.key) {
      return failure(this.name, RCODE.FORMERR);
    }
    const nodata = message.rcode === RCODE.NOERROR && message.answers.length === 0;
    if (this.#options.next.includes(message.rcode) || (nodata && this.#options.nextOnNodata)) {
      return andThen(next(request), (outcome) =>
        outcome.kind === 'failure' && outcome.by === '' ? this.#reply(message) : outcome,
      );
    }
    return this.#reply(message);
  }

  #reply(message: Message): Reply {
    return {
      kind: 'reply',
      by: this.name,
      rcode: message.rcode,
      flags: message.flags & KEPT_FLAGS,
      answers: message.answers,
      authority: message.authority,
      additional: message.additional,
      ...(message.opt === undefined ? {} : { options: message.opt.options }),
    };
  }

  #forward(request: Request): Promise<Answer> {
    const { query, context } = request;
    const bytes = encodeQuery({
      id: 0,
      flags: query.flags & (0x7800 | FLAG.RD | FLAG.AD | FLAG.CD),
      name: query.qname,
      type: query.type,
      class: query.class,
      edns: query.edns,
    });
    const tcp = !this.#options.preferUdp && context.proto === 'tcp';
    // The query that looks for loops has to go round: one that waits for itself would hide the loop.
    if (query.type === TYPE.HINFO) return this.#race(bytes, this.#options.forceTcp || tcp);
    const key = `${tcp ? 't' : 'u'}${Buffer.from(bytes).toString('latin1')}`;
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      flight = this.#race(bytes, this.#options.forceTcp || tcp).finally(() => this.#flights.delete(key));
      this.#flights.set(key, flight);
    }
    return flight;
  }

  /**
   * Asks one upstream after the other. One that fails is replaced at once; one that is slower than usual is left
   * waiting while the next is asked as well, so that an upstream that died costs a moment and not a timeout.
   */
  #race(bytes: Uint8Array, tcp: boolean): Promise<Answer> {
    const order = this.#order();
    const { maxFails, maxAttempts, failover, failfast } = this.#options;
    if (order.every((upstream) => upstream.down(maxFails))) {
      this.#metrics.broken.value += 1;
      if (failfast) return Promise.reject(new Error('no healthy proxies'));
    }
    return new Promise((resolve, reject) => {
      const attempts = maxAttempts ?? 2 * order.length;
      const limit = attempts === 0 ? Number.POSITIVE_INFINITY : attempts;
      const expires = performance.now() + DEADLINE_MS;
      let started = 0;
      let waiting = 0;
      let settled = false;
      let lastError = new Error('no healthy proxies');
      let fallback: Answer | undefined;
      let hedge: NodeJS.Timeout | undefined;
      const finish = (): void => {
        settled = true;
        clearTimeout(hedge);
        clearTimeout(deadline);
      };
      const giveUp = (): void => {
        if (settled) return;
        finish();
        if (fallback === undefined) reject(lastError);
        else resolve(fallback);
      };
      const deadline = setTimeout(giveUp, DEADLINE_MS);
      const more = (): boolean => started < limit && performance.now() < expires;
      const ask = (): void => {
        const upstream = order[started % order.length] as Upstream;
        started += 1;
        waiting += 1;
        if (order.length > 1 && started < order.length) {
          clearTimeout(hedge);
          hedge = setTimeout(() => {
            if (settled || !more()) return;
            this.#failed(upstream);
            ask();
          }, upstream.patienceMs);
        }
        this.#exchange(upstream, bytes, tcp).then(
          (message) => {
            waiting -= 1;
            if (settled) return;
            if (failover.includes(message.rcode) && started < order.length) {
              fallback = { message, from: upstream };
              if (more()) ask();
              else if (waiting === 0) giveUp();
              return;
            }
            finish();
            resolve({ message, from: upstream });
          },
          (error: Error) => {
            waiting -= 1;
            lastError = error;
            this.#failed(upstream);
            if (settled) return;
            if (more()) ask();
            else if (waiting === 0) giveUp();
          },
        );
      };
      ask();
    });
  }

  async #exchange(upstream: Upstream, bytes: Uint8Array, tcp: boolean): Promise<Message> {
    const message = await upstream.exchange(bytes, tcp);
    if ((message.flags & FLAG.TC) !== 0 && this.#options.preferUdp && !tcp) return upstream.exchange(bytes, true);
    return message;
  }

  #failed(upstream: Upstream): void {
    if (this.#options.maxFails === 0) return;
    upstream.suspect = true;
    upstream.startChecking();
  }

  /** Upstreams in the order to ask: by policy, those that do not answer at the moment last. */
  #order(): readonly Upstream[] {
    const all = this.upstreams;
    if (all.length === 1) return all;
    const { policy, maxFails } = this.#options;
    let list = [...all];
    if (policy === 'random') {
      for (let i = list.length - 1; i > 0; i--) {
        const j = Math.floor(Math.random() * (i + 1));
        [list[i], list[j]] = [list[j] as Upstream, list[i] as Upstream];
      }
    } else if (policy === 'round_robin') {
      const start = this.#turn++ % list.length;
      list = [...list.slice(start), ...list.slice(0, start)];
    }
    const rank = (upstream: Upstream): number => (upstream.down(maxFails) ? 2 : upstream.suspect ? 1 : 0);
    return list.sort((a, b) => rank(a) - rank(b));
  }
}
