import { parsePrefix, prefixContains, type Prefix } from '@weft/net';
import { parsingError } from '../../corefile/error.ts';
import { argumentError } from '../../corefile/error.ts';
import { andThen, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { type Query, type Rr, TYPE } from '../../wire/index.ts';

/** Changes the order of addresses from answer to answer, so that clients that take the first one spread. */
export const loadbalance: Plugin = {
  name: 'loadbalance',
  once: false,
  options: {
    prefer: { syntax: 'CIDR…', doc: 'Addresses in these blocks come first.', parse: (line) => line },
  },
  setup(directives, _context) {
    const prefer: Prefix[] = [];
    for (const directive of directives) {
      const [policy, ...rest] = directive.args;
      if (policy?.text === 'weighted') throw parsingError(policy, 'weighted is not served yet', 'use round_robin');
      if (policy !== undefined && policy.text !== 'round_robin')
        throw parsingError(policy, `unknown policy: ${policy.text}`);
      if (rest[0] !== undefined) throw argumentError(rest[0], rest[0].text);
      for (const line of directive.block ?? []) {
        if (line.name.text !== 'prefer') throw parsingError(line.name, `unknown property '${line.name.text}'`);
        if (line.args.length === 0) throw argumentError(line.name, 'prefer');
        for (const token of line.args) {
          const prefix = parsePrefix(token.text);
          if (prefix === undefined) throw parsingError(token, `invalid CIDR '${token.text}'`);
          prefer.push(prefix);
        }
      }
    }
    const adjust = ({ type }: Query, reply: Reply): Reply =>
      type === TYPE.SRV || type === TYPE.AXFR || type === TYPE.IXFR ? reply : rotate(reply, prefer);
    const handler: Handler = {
      name: 'loadbalance',
      adjust,
      ...(prefer.length === 0 ? { spreads: true } : {}),
      serve: (request, next) =>
        andThen(next(request), (outcome) => (outcome.kind === 'failure' ? outcome : adjust(request.query, outcome))),
    };
    return handler;
  },
};

const SPREAD = new Set<number>([TYPE.A, TYPE.AAAA, TYPE.MX]);

function rotate(reply: Reply, prefer: readonly Prefix[]): Reply {
  if (reply.answers.length < 2 && reply.additional.length < 2) return reply;
  return {
    ...reply,
    answers: ordered(reply.answers, prefer),
    additional: reply.additional.length < 2 ? reply.additional : ordered(reply.additional, prefer),
  };
}

/** Aliases first, then everything that has no order to change, then the addresses and mail exchangers shuffled. */
function ordered(records: readonly Rr[], prefer: readonly Prefix[]): readonly Rr[] {
  if (records.length < 2) return records;
  const aliases: Rr[] = [];
  const rest: Rr[] = [];
  const addresses: Rr[] = [];
  const mail: Rr[] = [];
  for (const rr of records) {
    if (rr.type === TYPE.CNAME) aliases.push(rr);
    else if (rr.type === TYPE.MX) mail.push(rr);
    else if (SPREAD.has(rr.type)) addresses.push(rr);
    else rest.push(rr);
  }
  shuffle(addresses);
  shuffle(mail);
  if (prefer.length > 0) {
    const preferred = (rr: Rr): boolean =>
      prefer.some((prefix) => prefixContains(prefix, { family: rr.rdata.length === 4 ? 4 : 6, bytes: rr.rdata }));
    addresses.sort((a, b) => Number(preferred(b)) - Number(preferred(a)));
  }
  return [...aliases, ...rest, ...addresses, ...mail];
}

function shuffle<T>(list: T[]): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const swap = list[i] as T;
    list[i] = list[j] as T;
    list[j] = swap;
  }
}
