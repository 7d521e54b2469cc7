import { parsePrefix } from '@weft/net';
import { parsingError } from '../../corefile/error.ts';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { andThen, type Handler, type Outcome, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { CLASS, RCODE, type Rr, soaOf, TYPE } from '../../wire/index.ts';
import type { Token } from '../../corefile/lexer.ts';

const schema = {
  prefix: {
    syntax: 'PREFIX',
    doc: 'IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits that IPv4 addresses are put into. Default 64:ff9b::/96.',
    parse: (line) => prefixOf(line.args[0] ?? line.name, line.args.length),
  },
  translate_all: option.flag('Make addresses also for names that have IPv6 addresses.'),
  allow_ipv4: option.flag('Make addresses also for queries that come over IPv4.'),
} satisfies OptionSchema;

interface Prefix64 {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** The well-known prefix (RFC 6052 section 2.1). */
const WELL_KNOWN: Prefix64 = {
  bytes: Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  length: 96,
};
const LENGTHS = new Set([32, 40, 48, 56, 64, 96]);
/** TTL of made records when the negative answer has no SOA record (RFC 6147 section 5.1.7). */
const DEFAULT_TTL = 600;

function prefixOf(token: Token, count: number): Prefix64 {
  if (count !== 1) throw parsingError(token, `Wrong argument count or unexpected line ending after '${token.text}'`);
  const prefix = parsePrefix(token.text);
  if (prefix?.ip.family !== 6) throw parsingError(token, `invalid prefix: ${token.text} is not an IPv6 prefix`);
  if (!LENGTHS.has(prefix.length)) {
    throw parsingError(
      token,
      `invalid prefix: length ${prefix.length}`,
      'use 32, 40, 48, 56, 64 or 96 bits (RFC 6052)',
    );
  }
  return { bytes: prefix.ip.bytes, length: prefix.length };
}

/** An IPv4 address within a prefix (RFC 6052 section 2.2): the ninth byte stays zero. */
function embed(prefix: Prefix64, address: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  const from = prefix.length / 8;
  out.set(prefix.bytes.subarray(0, from));
  let at = from;
  for (const byte of address) {
    if (at === 8) at += 1;
    out[at] = byte;
    at += 1;
  }
  return out;
}

/** Makes IPv6 addresses of IPv4 addresses, for clients behind NAT64 (RFC 6147). */
export const dns64: Plugin = {
  name: 'dns64',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const options = parseOptions(schema, directive.block, context.warn);
    const [argument] = directive.args;
    const prefix = options.prefix ?? (argument === undefined ? WELL_KNOWN : prefixOf(argument, directive.args.length));
    const translated = context.runtime.metrics.counter(
      'coredns_dns64_requests_translated_total',
      'Counter of DNS requests translated by dns64.',
      ['server'],
    );
    const synthesize = (request: Request, original: Outcome): Outcome | Promise<Outcome> => {
      if (!wanted(original, options.translate_all === true)) return original;
      return andThen(context.lookup(request.query.qname, TYPE.A, request), (found) => {
        if (found.kind !== 'reply' || !found.answers.some(({ type }) => type === TYPE.A)) return original;
        translated.cell(request.served.server).value += 1;
        return { ...found, by: 'dns64', authority: [], answers: made(prefix, found, negativeTtl(original)) };
      });
    };
    const handler: Handler = {
      name: 'dns64',
      serve(request, next) {
        const { type, class: cls } = request.query;
        const here = type === TYPE.AAAA && cls === CLASS.IN;
        if (!here || (options.allow_ipv4 !== true && request.context.family === 4)) return next(request);
        return andThen(next(request), (original) => synthesize(request, original));
      },
    };
    return handler;
  },
};

function wanted(outcome: Outcome, all: boolean): boolean {
  // Failures of AAAA queries are treated as no records (RFC 6147 section 5.1.2); names that do not exist stay so.
  if (outcome.kind === 'failure') return outcome.rcode === RCODE.SERVFAIL;
  if (outcome.rcode === RCODE.NXDOMAIN) return false;
  return all || !outcome.answers.some(({ type }) => type === TYPE.AAAA);
}

function negativeTtl(outcome: Outcome): number {
  const soa = outcome.kind === 'reply' ? outcome.authority.find(({ type }) => type === TYPE.SOA) : undefined;
  if (soa === undefined) return DEFAULT_TTL;
  return Math.min(soa.ttl, soaOf(soa)?.minimum ?? soa.ttl);
}

function made(prefix: Prefix64, found: Reply, ttl: number): Rr[] {
  return found.answers.map((rr) =>
    rr.type === TYPE.A ? { ...rr, type: TYPE.AAAA, ttl: Math.min(rr.ttl, ttl), rdata: embed(prefix, rr.rdata) } : rr,
  );
}
