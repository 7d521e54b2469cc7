import type { Line } from '../../corefile/directive.ts';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, option, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import { CacheHandler, type CacheMetrics } from './handler.ts';

const CAPACITY = 9984;
const MAX_SUCCESS = 3600;
const MAX_DENIAL = 1800;
const MIN_TTL = 5;

interface ShelfLine {
  readonly capacity: number;
  readonly ttl: number | undefined;
  readonly minTtl: number | undefined;
}

function number(line: Line, text: string): number {
  if (!/^[+-]?[0-9]+$/.test(text)) throw parsingError(line.name, `strconv.Atoi: parsing "${text}": invalid syntax`);
  return Number(text);
}

function shelf(line: Line): ShelfLine {
  const words = args(line, 1, 3).map((word) => number(line, word));
  const [capacity = 0, ttl, minTtl] = words;
  if (capacity <= 0) throw parsingError(line.name, `cache capacity can not be zero or negative: ${capacity}`);
  if (ttl !== undefined && ttl <= 0) throw parsingError(line.name, `cache TTL can not be zero or negative: ${ttl}`);
  if (minTtl !== undefined && minTtl < 0) throw parsingError(line.name, `cache min TTL can not be negative: ${minTtl}`);
  return { capacity, ttl, minTtl };
}

function durationOf(line: Line, text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) throw parsingError(line.name, `time: invalid duration "${text}"`);
  return seconds;
}

const schema = {
  success: {
    syntax: 'CAPACITY [TTL] [MINTTL]',
    doc: 'Answers that say yes: how many, and for how long (9984 3600 5).',
    parse: shelf,
  },
  denial: {
    syntax: 'CAPACITY [TTL] [MINTTL]',
    doc: 'Answers that say no: how many, and for how long (9984 1800 5).',
    parse: shelf,
  },
  prefetch: {
    syntax: 'AMOUNT [DURATION] [PERCENTAGE%]',
    doc: 'Ask again before popular answers expire: AMOUNT hits without a gap of DURATION (1m), PERCENTAGE (10) of the TTL left.',
    parse: (line) => {
      const words = args(line, 1, 3);
      const amount = number(line, words[0] as string);
      if (amount < 0) throw parsingError(line.name, `prefetch amount should be positive: ${amount}`);
      const gapMs = words[1] === undefined ? 60_000 : durationOf(line, words[1]) * 1000;
      let percent = 10;
      if (words[2] !== undefined) {
        const match = /^([0-9]+)%$/.exec(words[2]);
        if (match === null)
          throw parsingError(line.name, `last character of percentage should be \`%\`, but is: '${words[2].at(-1)}'`);
        percent = Number(match[1]);
        if (percent < 10 || percent > 90)
          throw parsingError(line.name, `percentage should fall in range [10, 90]: ${percent}`);
      }
      return { amount, gapMs, percent };
    },
  },
  serve_stale: {
    syntax: '[DURATION] [immediate|verify [TIMEOUT]] [TTL [RECHECK]]',
    doc: 'Answer with what expired up to DURATION (1h) ago while asking again; `verify` asks first. Clients may keep it for TTL (0) seconds; an attempt that failed is made again after RECHECK at the earliest.',
    parse: (line) => {
      const words = args(line, 0, 5);
      const seconds = words[0] === undefined ? 3600 : durationOf(line, words[0]);
      if (seconds < 0) throw parsingError(line.name, `invalid negative duration for serve_stale: ${words[0]}`);
      const mode = words[1] ?? 'immediate';
      if (mode !== 'immediate' && mode !== 'verify') {
        throw parsingError(line.name, `invalid value for serve_stale refresh mode: ${mode}`);
      }
      const rest = words.slice(2);
      // A timeout has a unit, a TTL has none.
      const timed = mode === 'verify' && rest[0] !== undefined && !/^[0-9]+$/.test(rest[0]);
      const timeoutMs = timed ? durationOf(line, rest.shift() as string) * 1000 : 0;
      const [ttlText, recheckText, extra] = rest;
      if (extra !== undefined) throw argumentError(line.args.at(-1) ?? line.name, extra);
      const ttl = ttlText === undefined ? 0 : number(line, ttlText);
      if (ttl < 0) throw parsingError(line.name, `serve_stale TTL can not be negative: ${ttl}`);
      const recheckMs = recheckText === undefined ? 0 : durationOf(line, recheckText) * 1000;
      return { forMs: seconds * 1000, mode: mode as 'immediate' | 'verify', timeoutMs, ttl, recheckMs };
    },
  },
  serve_stale_policy: option.choice(
    ['prefer_positive'],
    'A good answer that expired is preferred to a denial or failure of now, for as long as `serve_stale` keeps it.',
    (value) => `unknown serve_stale_policy '${value}'`,
  ),
  servfail: {
    syntax: 'DURATION',
    doc: 'How long to keep server failures; at most 5m, default 5s.',
    parse: (line) => {
      const seconds = durationOf(line, args(line, 1)[0] as string);
      if (seconds < 0) throw parsingError(line.name, `invalid negative ttl for servfail: ${seconds}s`);
      if (seconds > 300) throw parsingError(line.name, 'caching SERVFAIL responses over 5 minutes is not permitted');
      return Math.floor(seconds);
    },
  },
  disable: {
    syntax: 'success|denial [ZONE…]',
    doc: 'Keep no answers of this sort, in these zones or at all.',
    parse: (line) => {
      const [kind, ...zones] = line.args;
      if (kind === undefined) throw argumentError(line.name, 'disable');
      if (kind.text !== 'success' && kind.text !== 'denial') {
        throw parsingError(kind, `cache type for disable must be "success" or "denial"`);
      }
      const names = zones.flatMap((zone) => zonesFromArgument(zone));
      return [{ kind: kind.text, zones: names.length === 0 ? ['.'] : names }];
    },
    join: (before: Disabled[], after: Disabled[]) => [...before, ...after],
  },
  keepttl: option.flag('Do not count the TTL down.'),
} satisfies OptionSchema;

interface Disabled {
  readonly kind: string;
  readonly zones: string[];
}

export const cache: Plugin = {
  name: 'cache',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const options = parseOptions(schema, directive.block, context.warn);
    const words = [...directive.args];
    let ttl: number | undefined;
    const first = words[0];
    if (first !== undefined && /^[+-]?[0-9]+$/.test(first.text)) {
      ttl = Number(first.text);
      if (ttl <= 0) throw parsingError(first, `cache TTL can not be zero or negative: ${ttl}`);
      words.shift();
    }
    const zones = words.flatMap((token) => zonesFromArgument(token));
    const disabled = (kind: string): string[] =>
      (options.disable ?? []).filter((line) => line.kind === kind).flatMap((line) => line.zones);
    const limits = (line: ShelfLine | undefined, fallback: number, kind: string) => ({
      capacity: line?.capacity ?? CAPACITY,
      maxTtl: line?.ttl ?? ttl ?? fallback,
      minTtl: line?.minTtl ?? MIN_TTL,
      disabled: disabled(kind),
    });
    const handler = new CacheHandler(
      {
        zones: zones.length > 0 ? zones : context.block.zones,
        success: limits(options.success, MAX_SUCCESS, 'success'),
        denial: limits(options.denial, MAX_DENIAL, 'denial'),
        servfailTtl: options.servfail ?? 5,
        prefetch: options.prefetch,
        stale:
          options.serve_stale === undefined
            ? undefined
            : { ...options.serve_stale, preferPositive: options.serve_stale_policy === 'prefer_positive' },
        keepTtl: options.keepttl === true,
      },
      metricsOf(context),
      context.runtime.clock,
    );
    context.onStart(() => {
      const { metrics } = context.runtime;
      const labels = ['server', 'type', 'zones', 'view'];
      const [server, zone] = labelsOf(context);
      const entries = metrics.gauge('coredns_cache_entries', 'The number of elements in the cache.', labels);
      const evictions = metrics.counter('coredns_cache_evictions_total', 'The count of cache evictions.', labels);
      const stop = metrics.beforeRender(() => {
        entries.cell(server, 'success', zone, '').value = handler.success.size;
        entries.cell(server, 'denial', zone, '').value = handler.denial.size;
        evictions.cell(server, 'success', zone, '').value = handler.success.evictions;
        evictions.cell(server, 'denial', zone, '').value = handler.denial.evictions;
      });
      context.onStop(stop);
    });
    return handler;
  },
};

function labelsOf(context: SetupContext): [string, string] {
  const at = context.block.addresses[0];
  return [`${at?.transport ?? 'dns'}://:${at?.port ?? 53}`, at?.zone ?? '.'];
}

function metricsOf(context: SetupContext): CacheMetrics {
  const { metrics } = context.runtime;
  const [server, zone] = labelsOf(context);
  const one = (name: string, help: string) =>
    metrics.counter(name, help, ['server', 'zones', 'view']).cell(server, zone, '');
  const hits = metrics.counter('coredns_cache_hits_total', 'The count of cache hits.', [
    'server',
    'type',
    'zones',
    'view',
  ]);
  return {
    hits: { success: hits.cell(server, 'success', zone, ''), denial: hits.cell(server, 'denial', zone, '') },
    misses: one('coredns_cache_misses_total', 'The count of cache misses.'),
    requests: one('coredns_cache_requests_total', 'The count of cache requests.'),
    prefetches: one('coredns_cache_prefetch_total', 'The number of times the cache has prefetched a cached item.'),
    stale: one('coredns_cache_served_stale_total', 'The number of requests served from stale cache entries.'),
    drops: one(
      'coredns_cache_drops_total',
      'The number responses that are not cached, because the reply is malformed.',
    ),
  };
}
