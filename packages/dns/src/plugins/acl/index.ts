import { readFileSync } from 'node:fs';
import { parseIp, parsePrefix, type Prefix, prefixContains } from '@weft/net';
import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Line } from '../../corefile/directive.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { OptionSchema } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { bareReply, failure, type Handler, NO_ANSWER } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { RCODE, typeNumber } from '../../wire/index.ts';

const ACTIONS = ['allow', 'block', 'filter', 'drop'] as const;
type Action = (typeof ACTIONS)[number];

const LABELS = ['server', 'zone', 'view'];

interface Policy {
  readonly action: Action;
  /** Undefined: every type. */
  readonly types: ReadonlySet<number> | undefined;
  /** Undefined: every client. */
  readonly clients: readonly Prefix[] | undefined;
}

interface Rule {
  readonly zones: ZoneSet;
  readonly policies: readonly Policy[];
}

const syntax = '[type QTYPE…] [net SOURCE…] [file LOCAL_FILE…]';
const line = (doc: string) => ({ syntax, doc, parse: (l: Line) => l });

const schema = {
  allow: line('Queries that match pass.'),
  block: line('Queries that match are refused.'),
  filter: line('Queries that match get an empty answer.'),
  drop: line('Queries that match get no answer.'),
} satisfies OptionSchema;

function prefixOf(token: Token, text: string): Prefix {
  const ip = parseIp(text);
  const prefix = ip === undefined ? parsePrefix(text) : { ip, length: ip.family === 4 ? 32 : 128 };
  if (prefix === undefined) throw parsingError(token, `illegal CIDR notation '${text}'`);
  return prefix;
}

/** One block of networks per line; what follows `#` is a comment. */
function networksOf(token: Token): Prefix[] {
  let text: string;
  try {
    text = readFileSync(token.text, 'utf8');
  } catch (error) {
    throw parsingError(token, `unable to load networks from local file: ${(error as Error).message}`);
  }
  const lines = text.split('\n').map((l) => (l.split('#')[0] as string).trim());
  return lines.filter((l) => l !== '').map((l) => prefixOf(token, l));
}

function policyOf({ name, args }: Line): Policy {
  const action = name.text.toLowerCase();
  if (!ACTIONS.includes(action as Action)) {
    throw parsingError(name, `unexpected token '${name.text}'; expect '${ACTIONS.join("', '")}'`);
  }
  const types = new Set<number>();
  const clients: Prefix[] = [];
  let [everyType, everyone] = [true, true];
  for (let i = 0; i < args.length; ) {
    const section = args[i] as Token;
    const kind = section.text.toLowerCase();
    if (!['type', 'net', 'file'].includes(kind)) {
      throw parsingError(section, `unexpected token '${section.text}'; expect 'type | net | file'`);
    }
    let end = i + 1;
    while (end < args.length && !['type', 'net', 'file'].includes((args[end] as Token).text.toLowerCase())) end += 1;
    const tokens = args.slice(i + 1, end);
    if (tokens.length === 0) throw parsingError(section, `no token specified in '${kind}' section`);
    for (const token of tokens) {
      if (kind === 'type') {
        everyType = token.text === '*';
        if (everyType) break;
        const type = typeNumber(token.text);
        if (type === undefined) throw parsingError(token, `unexpected token '${token.text}'; expect legal QTYPE`);
        types.add(type);
      } else {
        everyone = kind === 'net' && token.text === '*';
        if (everyone) break;
        clients.push(...(kind === 'file' ? networksOf(token) : [prefixOf(token, token.text)]));
      }
    }
    i = end;
  }
  return { action: action as Action, types: everyType ? undefined : types, clients: everyone ? undefined : clients };
}

/** Lets clients in or keeps them out, by network and type of query; the first policy that matches counts. */
export const acl: Plugin = {
  name: 'acl',
  once: false,
  options: schema,
  setup(directives, { block, runtime }) {
    const rules: Rule[] = directives.map((directive) => {
      const zones = directive.args.flatMap((token) => zonesFromArgument(token));
      const lines = directive.block ?? [];
      if (directive.block === undefined) throw argumentError(directive.name, 'acl');
      return { zones: new ZoneSet(zones.length > 0 ? zones : block.zones), policies: lines.map(policyOf) };
    });
    const counter = (what: string, doc: string, labels: string[]) =>
      runtime.metrics.counter(`coredns_acl_${what}_requests_total`, doc, labels);
    const counters = {
      block: counter('blocked', 'Counter of DNS requests being blocked.', LABELS),
      filter: counter('filtered', 'Counter of DNS requests being filtered.', LABELS),
      drop: counter('dropped', 'Counter of DNS requests being dropped.', LABELS),
    };
    const allowed = counter('allowed', 'Counter of DNS requests being allowed.', ['server', 'view']);
    const handler: Handler = {
      name: 'acl',
      serve(request, next) {
        const { key, labels, type } = request.query;
        const client = parseIp(request.context.remoteAddress.split('%')[0] as string);
        for (const { zones, policies } of rules) {
          const zone = zones.match(key, labels);
          if (zone === undefined) continue;
          const hit = policies.find(
            (p) =>
              (p.types === undefined || p.types.has(type)) &&
              (p.clients === undefined ||
                (client !== undefined &&
                  p.clients.some((c) => c.ip.family === client.family && prefixContains(c, client)))),
          );
          // A client without an address is nobody's friend.
          const action = client === undefined ? 'block' : hit?.action;
          if (action === undefined) continue;
          if (action === 'allow') break;
          counters[action].cell(request.served.server, zone, request.served.view).value += 1;
          if (action === 'drop') return failure('acl', NO_ANSWER);
          return bareReply(action === 'block' ? RCODE.REFUSED : RCODE.NOERROR, 'acl');
        }
        allowed.cell(request.served.server, request.served.view).value += 1;
        return next(request);
      },
    };
    return handler;
  },
};
