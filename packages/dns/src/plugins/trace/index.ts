import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Directive, Line } from '../../corefile/directive.ts';
import { args, type Option, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import { chain, type Handler, type Outcome, type Serve } from '../../server/handler.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { rcodeName, typeName } from '../../wire/index.ts';
import { datadog, type Format, zipkin } from './formats.ts';
import { Reporter } from './reporter.ts';
import { childSpan, microseconds, parentOf, type Span, topSpan } from './span.ts';

function count(syntax: string, doc: string): Option<number> {
  return {
    syntax,
    doc,
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      if (!/^[0-9]+$/.test(text)) throw parsingError(line.name, `strconv.ParseUint: parsing "${text}": invalid syntax`);
      return Number(text);
    },
  };
}

const schema = {
  every: count('AMOUNT', 'Trace one query of so many; 0 none. Default 1.'),
  service: {
    syntax: 'NAME',
    doc: 'Name of the service in the traces. Default coredns.',
    parse: (line) => args(line, 1)[0] as string,
  },
  client_server: {
    syntax: '[BOOL]',
    doc: 'Take the span of a client that names one (DNS over HTTPS with B3 headers), instead of one below it.',
    parse: (line) => bool(line),
  },
  datadog_analytics_rate: {
    syntax: 'RATE',
    doc: 'Part of the traces that Datadog analyses, 0 to 1.',
    parse: (line) => {
      const [text = '0'] = args(line, 0, 1);
      const rate = Number(text);
      if (!(rate >= 0 && rate <= 1))
        throw parsingError(line.name, `datadog analytics rate provided '${text}' must be between 0 and 1`);
      return rate;
    },
  },
  zipkin_max_backlog_size: count('SIZE', 'Spans kept for a collector that is away. Default 1000.'),
  zipkin_max_batch_size: count('SIZE', 'Spans sent at once. Default 100.'),
  zipkin_max_batch_interval: {
    syntax: 'DURATION',
    doc: 'Longest wait of a span for others. Default 1s.',
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      const seconds = parseDuration(text);
      if (seconds === undefined) throw parsingError(line.name, `time: invalid duration "${text}"`);
      return seconds;
    },
  },
} satisfies OptionSchema;

function bool(line: Line): boolean {
  const [text = 'true'] = args(line, 0, 1);
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw parsingError(line.name, `strconv.ParseBool: parsing "${text}": invalid syntax`);
}

const DEFAULTS: Readonly<Record<string, string>> = { zipkin: 'localhost:9411', datadog: 'localhost:8126' };

function collectorOf(directive: Directive): { type: string; url: (path: string) => URL } {
  const words = directive.args.map(({ text }) => text);
  if (words.length > 2) throw argumentError(directive.name, 'trace');
  const type = words.length === 2 ? (words[0] as string).toLowerCase() : 'zipkin';
  const known = DEFAULTS[type];
  if (known === undefined) throw parsingError(directive.name, `tracing endpoint type '${type}' is not supported`);
  const text = words.at(-1) ?? known;
  const whole = text.includes('http');
  const url = (path: string): URL => new URL(whole ? text : `http://${text}${path}`);
  try {
    url('');
  } catch {
    throw parsingError(directive.name, `not an address of a collector: ${text}`);
  }
  return { type, url };
}

/** Tells a collector how queries went through the plugins. */
export const trace: Plugin = {
  name: 'trace',
  once: false,
  options: schema,
  setup(directives, context) {
    // As with other options, the last line counts.
    const directive = directives.at(-1) as (typeof directives)[number];
    const { type, url } = collectorOf(directive);
    const options = parseOptions(schema, directive.block, context.warn);
    const service = options.service ?? 'coredns';
    const format =
      type === 'zipkin'
        ? zipkin({ serviceName: service, ...endpointOf(context) })
        : datadog(service, options.datadog_analytics_rate ?? 0);
    const reporter = new Reporter(
      {
        url: url(format.path),
        backlog: options.zipkin_max_backlog_size || 1000,
        batch: options.zipkin_max_batch_size || 100,
        intervalMs: (options.zipkin_max_batch_interval || 1) * 1000,
      },
      format,
      context.runtime.log,
    );
    context.onStop(() => reporter.close());
    return new Tracer(reporter, format, options.every ?? 1, options.client_server ?? false);
  },
};

function endpointOf({ block }: SetupContext): { port?: number } {
  const port = block.addresses[0]?.port;
  return port === undefined || port === 0 ? {} : { port };
}

/** A query that is traced: its spans, and the one that is open. */
interface Traced {
  readonly spans: Span[];
  open: Span;
}

class Tracer implements Handler {
  readonly name = 'trace';
  readonly #reporter: Reporter;
  readonly #format: Format;
  readonly #every: number;
  readonly #shared: boolean;
  readonly #traced = new WeakMap<Request, Traced>();
  #queries = 0;
  /** The rest of the chain with a span around each plugin. */
  #rest: Serve | undefined;

  constructor(reporter: Reporter, format: Format, every: number, shared: boolean) {
    this.#reporter = reporter;
    this.#format = format;
    this.#every = every;
    this.#shared = shared;
  }

  linked(later: readonly Handler[]): void {
    this.#rest = chain(later.map((handler) => this.#watched(handler)));
  }

  serve(request: Request, next: Serve): Outcome | Promise<Outcome> {
    this.#queries += 1;
    if (this.#every === 0 || this.#queries % this.#every !== 0) return next(request);
    const parent = parentOf(request.context.headers);
    if (parent === false) return next(request);
    const span = topSpan('servedns', parent, this.#shared);
    request.metadata?.set('trace/traceid', () => span.traceId);
    const traced: Traced = { spans: [span], open: span };
    this.#traced.set(request, traced);
    return this.#around(
      span,
      () => (this.#rest ?? next)(request),
      (outcome) => {
        const tag = (name: string): string => `coredns.io${this.#format.separator}${name}`;
        Object.assign(span.tags, {
          [tag('name')]: request.name,
          [tag('type')]: typeName(request.query.type),
          [tag('rcode')]: outcome === undefined ? 'SERVFAIL' : rcodeName(Math.max(0, outcome.rcode)),
          [tag('proto')]: request.context.proto,
          [tag('remote')]: request.context.remoteAddress,
        });
        this.#reporter.add(traced.spans);
      },
    );
  }

  #watched(handler: Handler): Handler {
    return {
      name: handler.name,
      serve: (request, next) => {
        const traced = this.#traced.get(request.origin);
        if (traced === undefined) return handler.serve(request, next);
        const before = traced.open;
        const span = childSpan(before, handler.name);
        traced.spans.push(span);
        traced.open = span;
        return this.#around(
          span,
          () => handler.serve(request, next),
          () => {
            traced.open = before;
          },
        );
      },
    };
  }

  /** Ends a span with the outcome of its work, whatever that is. */
  #around(
    span: Span,
    work: () => Outcome | Promise<Outcome>,
    done: (outcome: Outcome | undefined) => void,
  ): Outcome | Promise<Outcome> {
    const end = (outcome: Outcome | undefined, error?: unknown): void => {
      span.duration = microseconds() - span.start;
      if (error !== undefined) span.error = error instanceof Error ? error.message : 'failed';
      else if (outcome?.kind === 'failure' && outcome.error !== undefined) span.error = outcome.error.message;
      done(outcome);
    };
    try {
      const outcome = work();
      if (outcome instanceof Promise) {
        return outcome.then(
          (settled) => {
            end(settled);
            return settled;
          },
          (error: unknown) => {
            end(undefined, error);
            throw error;
          },
        );
      }
      end(outcome);
      return outcome;
    } catch (error) {
      end(undefined, error);
      throw error;
    }
  }
}
