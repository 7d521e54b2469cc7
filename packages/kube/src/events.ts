import { errorMessage, type Logger, silentLogger } from '@weft/plan';
import type { KubeClient } from './client/client.ts';
import type { KubeObject } from './object.ts';
import { resources } from './resources.ts';
import { isStatus } from './status.ts';
import type { Event, ObjectReference } from './types/index.ts';

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, 'create' | 'patch'>;
  /** `source.component` and `reportingComponent`, for example `weft-agent`. */
  readonly component: string;
  /** `source.host` and `reportingInstance`, the node's name as a rule. */
  readonly host?: string;
  readonly log?: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** One stored event and what still has to be written about it. */
interface Series {
  readonly event: Event;
  /** Occurrences in all; the stored `count` lags behind while a write runs. */
  count: number;
  /** Latest occurrence, milliseconds. */
  lastAt: number;
  message: string;
  stored: boolean;
  writing: boolean;
}

interface Similar {
  since: number;
  readonly messages: Set<string>;
}

interface Budget {
  tokens: number;
  at: number;
}

/** client-go's correlator: the same limits, so that a busy cluster looks the same whoever writes. */
const MAX_DIFFERENT_MESSAGES = 10;
const SIMILAR_WINDOW_MS = 600_000;
const SPAM_BURST = 25;
const SPAM_REFILL_MS = 300_000;
const CACHE_SIZE = 4096;

/**
 * Writes Events about objects. `event` returns at once and never throws; an event that cannot be written is logged.
 *
 * A repeated event raises the count of the stored one. More than ten different messages for one object and reason
 * within ten minutes become one `(combined from similar events): …`. One object gets a burst of 25 events and one more
 * every five minutes.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #series = new Map<string, Series>();
  readonly #similar = new Map<string, Similar>();
  readonly #budgets = new Map<string, Budget>();
  readonly #writes = new Set<Promise<void>>();
  #lastName = 0n;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#now = options.now ?? Date.now;
  }

  /** `reason` is one CamelCase word; `about` needs `kind` unless it is a reference. */
  event(
    about: KubeObject | (ObjectReference & { metadata?: undefined }),
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void {
    const target = about.metadata === undefined ? about : referenceTo(about);
    const now = this.#now();
    const object = [target.kind, target.namespace, target.name, target.uid, target.fieldPath].join('/');
    const kindOfEvent = `${object}\n${type}\n${reason}`;
    const text = this.#combine(kindOfEvent, message, now);
    const combined = text !== message;
    const id = combined ? kindOfEvent : `${kindOfEvent}\n${message}`;
    if (!this.#spend(object, now)) {
      this.#log.debug('dropping an event, its object has had too many', { object, reason });
      return;
    }
    let series = this.#series.get(id);
    if (series === undefined) {
      series = {
        event: this.#newEvent(target, type, reason, text, now),
        count: 0,
        lastAt: now,
        message: text,
        stored: false,
        writing: false,
      };
    }
    series.count++;
    series.lastAt = now;
    series.message = text;
    remember(this.#series, id, series);
    if (!series.writing) this.#startWriting(series);
  }

  /** Resolves when everything recorded so far is written, or given up. */
  async flush(): Promise<void> {
    while (this.#writes.size > 0) await Promise.all(this.#writes);
  }

  #combine(kindOfEvent: string, message: string, now: number): string {
    let similar = this.#similar.get(kindOfEvent);
    if (similar === undefined || now - similar.since > SIMILAR_WINDOW_MS) similar = { since: now, messages: new Set() };
    if (similar.messages.size <= MAX_DIFFERENT_MESSAGES) similar.messages.add(message);
    remember(this.#similar, kindOfEvent, similar);
    return similar.messages.size > MAX_DIFFERENT_MESSAGES ? `(combined from similar events): ${message}` : message;
  }

  #spend(object: string, now: number): boolean {
    const budget = this.#budgets.get(object) ?? { tokens: SPAM_BURST, at: now };
    budget.tokens = Math.min(SPAM_BURST, budget.tokens + (now - budget.at) / SPAM_REFILL_MS);
    budget.at = now;
    remember(this.#budgets, object, budget);
    if (budget.tokens < 1) return false;
    budget.tokens--;
    return true;
  }

  #newEvent(target: ObjectReference, type: string, reason: string, message: string, now: number): Event {
    const { component, host } = this.#options;
    // The name carries the time, as everywhere; two events of one millisecond must still differ.
    const nanos = BigInt(now) * 1_000_000n;
    this.#lastName = nanos > this.#lastName ? nanos : this.#lastName + 1n;
    const time = timestamp(now);
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${target.name}.${this.#lastName.toString(16)}`, namespace: target.namespace || 'default' },
      involvedObject: target,
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component, ...(host === undefined ? {} : { host }) },
      reportingComponent: component,
      reportingInstance: host ?? '',
    };
  }

  #startWriting(series: Series): void {
    series.writing = true;
    const write = this.#write(series).finally(() => {
      series.writing = false;
      this.#writes.delete(write);
    });
    this.#writes.add(write);
  }

  /** Writes until nothing is left to say: occurrences during a write are one further write. */
  async #write(series: Series): Promise<void> {
    for (;;) {
      const { count, event } = series;
      try {
        await this.#writeOnce(series);
      } catch (error) {
        this.#log.warn('an event could not be written', {
          about: `${event.involvedObject.kind} ${event.involvedObject.namespace ?? ''}/${event.involvedObject.name}`,
          reason: event.reason,
          error: errorMessage(error),
        });
        return;
      }
      if (series.count === count) return;
    }
  }

  async #writeOnce(series: Series): Promise<void> {
    const { client } = this.#options;
    const { event } = series;
    const changes = { count: series.count, lastTimestamp: timestamp(series.lastAt), message: series.message };
    if (series.stored) {
      try {
        await client.patch(resources.events, event.metadata.namespace, event.metadata.name, changes, { type: 'merge' });
        return;
      } catch (error) {
        // Events expire after an hour by default: write it anew.
        if (!isStatus(error, 'NotFound')) throw error;
      }
    }
    await client.create(resources.events, { ...event, ...changes });
    series.stored = true;
  }
}

/** A reference to `object`, as events and endpoints carry it. */
export function referenceTo(object: KubeObject): ObjectReference {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  return {
    ...(object.kind === undefined ? {} : { kind: object.kind }),
    ...(namespace === undefined ? {} : { namespace }),
    name,
    ...(uid === undefined ? {} : { uid }),
    ...(object.apiVersion === undefined ? {} : { apiVersion: object.apiVersion }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

/** metav1.Time: whole seconds, UTC. */
export function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** metav1.MicroTime: microseconds, UTC. */
export function microTimestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 23)}000Z`;
}

/** Puts the entry last and drops the entry that was used longest ago when there are too many. */
function remember<T>(cache: Map<string, T>, key: string, value: T): void {
  cache.delete(key);
  cache.set(key, value);
  if (cache.size <= CACHE_SIZE) return;
  for (const oldest of cache.keys()) {
    cache.delete(oldest);
    return;
  }
}
