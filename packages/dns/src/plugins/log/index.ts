import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import type { Handler, Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import type { Observer } from '../../server/site.ts';
import { classify, typify } from '../../server/typify.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { className, FLAG, OPCODE, rcodeName, typeName } from '../../wire/index.ts';

const COMMON =
  '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}';
const COMBINED = `${COMMON} "{>opcode}"`;

const CLASSES = ['all', 'success', 'denial', 'error'] as const;
type LogClass = (typeof CLASSES)[number];

const schema = {
  class: {
    syntax: 'all|success|denial|error…',
    doc: 'Log only answers of these classes. Default all.',
    parse: (line): LogClass[] =>
      args(line, 1, Number.POSITIVE_INFINITY).map((text) => {
        const found = CLASSES.find((known) => known === text);
        if (found === undefined) throw parsingError(line.name, `invalid Class: ${text}`);
        return found;
      }),
    join: (before: LogClass[], after: LogClass[]) => [...before, ...after],
  },
} satisfies OptionSchema;

const FLAGS: readonly [number, string][] = [
  [FLAG.QR, 'qr'],
  [FLAG.AA, 'aa'],
  [FLAG.TC, 'tc'],
  [FLAG.RD, 'rd'],
  [FLAG.RA, 'ra'],
  [FLAG.AD, 'ad'],
  [FLAG.CD, 'cd'],
];

type Field = (request: Request, reply: Reply, size: number, seconds: number) => string | number;

const FIELDS: Readonly<Record<string, Field>> = {
  '{type}': (r) => typeName(r.query.type),
  '{name}': (r) => r.originalName,
  '{class}': (r) => className(r.query.class),
  '{proto}': (r) => r.context.proto,
  '{remote}': (r) => (r.context.remoteAddress.includes(':') ? `[${r.context.remoteAddress}]` : r.context.remoteAddress),
  '{port}': (r) => r.context.remotePort,
  '{size}': (r) => r.wireSize,
  '{local}': (r) => (r.local.address.includes(':') ? `[${r.local.address}]` : r.local.address),
  '{duration}': (_, __, ___, seconds) => `${Number(seconds.toFixed(9))}s`,
  '{rcode}': (_, reply) => rcodeName(reply.rcode),
  '{rsize}': (_, __, size) => size,
  '{>id}': (r) => r.query.id,
  '{>opcode}': (r) => (r.query.flags >> 11) & 15,
  '{>do}': (r) => String(r.do),
  '{>bufsize}': (r) => r.size,
  '{>rflags}': (r, reply) => {
    const mirrored = ((r.query.flags >> 11) & 15) === OPCODE.QUERY ? r.query.flags & (FLAG.RD | FLAG.CD) : 0;
    const flags = FLAG.QR | mirrored | reply.flags;
    return FLAGS.filter(([bit]) => (flags & bit) !== 0)
      .map(([, name]) => name)
      .join(',');
  },
};

interface Rule {
  readonly zones: ZoneSet;
  readonly format: string;
  readonly classes: ReadonlySet<LogClass>;
}

/** Logs every query with its answer. */
export const log: Plugin = {
  name: 'log',
  once: false,
  options: schema,
  setup(directives, context) {
    const rules = directives.map((directive): Rule => {
      const words = [...directive.args];
      const last = words.at(-1)?.text;
      let format = COMMON;
      if (last?.includes('{') === true) {
        format = last.replace('{common}', COMMON).replace('{combined}', COMBINED);
        words.pop();
      }
      const bad = words.find((token) => token.text === '');
      if (bad !== undefined) throw argumentError(bad, 'log');
      const zones = words.flatMap((token) => zonesFromArgument(token));
      const { class: classes = ['all'] } = parseOptions(schema, directive.block, context.warn);
      return { zones: new ZoneSet(zones.length === 0 ? ['.'] : zones), format, classes: new Set(classes) };
    });
    const { log: logger } = context.runtime;
    const observer: Observer = {
      finished(request, reply, size, started) {
        const { query } = request;
        const rule = rules.find(({ zones }) => zones.has(query.key, query.labels));
        if (rule === undefined) return;
        const type = typify(reply, query.type, (query.flags >> 11) & 15);
        const kind = classify(type);
        if (!rule.classes.has('all') && !rule.classes.has(kind)) return;
        request.metadata?.set('log/type', () => type).set('log/class', () => kind);
        const seconds = (performance.now() - started) / 1000;
        const line = rule.format.replace(/\{(?:>?[a-z]+|\/[^{}]+)\}/g, (field) => {
          const value = field.startsWith('{/')
            ? request.label(field.slice(2, -1))
            : FIELDS[field]?.(request, reply, size, seconds);
          return value === undefined || value === '' ? '-' : String(value);
        });
        logger.info(line);
      },
    };
    const handler: Handler = {
      name: 'log',
      transparent: true,
      serve: (request, next) => next(request),
      observer: () => observer,
    };
    return handler;
  },
};
