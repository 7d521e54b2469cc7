import type { Logger } from '@weft/plan';
import type { Format } from './formats.ts';
import type { Span } from './span.ts';

export interface ReporterOptions {
  readonly url: URL;
  /** Spans kept while the collector does not take them; older ones are dropped. */
  readonly backlog: number;
  /** So many spans are sent at once. */
  readonly batch: number;
  /** Spans wait for so long for others, in milliseconds. */
  readonly intervalMs: number;
}

/** A collector that does not answer is given up for a batch after so long. */
const POST_MS = 5000;

/** Sends spans to a collector in batches. A collector that is away costs its spans, and no query anything. */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #format: Format;
  readonly #log: Logger;
  #waiting: Span[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: ReporterOptions, format: Format, log: Logger) {
    this.#options = options;
    this.#format = format;
    this.#log = log;
  }

  add(spans: readonly Span[]): void {
    this.#waiting.push(...spans);
    const over = this.#waiting.length - this.#options.backlog;
    if (over > 0) this.#waiting.splice(0, over);
    if (this.#waiting.length >= this.#options.batch) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), this.#options.intervalMs).unref();
  }

  /** Sends what waits, once, and ends. */
  async close(): Promise<void> {
    await this.#sending;
    await this.#flush();
    clearTimeout(this.#timer);
  }

  #flush(): Promise<void> {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const spans = this.#waiting.splice(0, this.#options.batch);
    if (spans.length === 0) return;
    try {
      await this.#post(this.#format.encode(spans));
    } catch (error) {
      this.#log.debug(`plugin/trace: ${spans.length} spans are lost: ${(error as Error).message}`);
    }
    if (this.#waiting.length > 0)
      this.#timer ??= setTimeout(() => void this.#flush(), this.#options.intervalMs).unref();
  }

  async #post(body: string): Promise<void> {
    const { url } = this.#options;
    const { request } = url.protocol === 'https:' ? await import('node:https') : await import('node:http');
    await new Promise<void>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const sent = request(url, { method: this.#format.method, headers, timeout: POST_MS }, (response) => {
        const { statusCode = 0 } = response;
        response.resume();
        response.on('end', () => (statusCode < 300 ? resolve() : reject(new Error(`status ${statusCode}`))));
        response.on('error', reject);
      });
      sent.on('timeout', () => sent.destroy(new Error('the collector does not answer')));
      sent.on('error', reject);
      sent.end(body);
    });
  }
}
