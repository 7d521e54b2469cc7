import { formatIp, parsePrefix, prefixContains, type Prefix } from '@weft/net';
import { errorMessage } from '@weft/plan';
import { parsingError } from '../../corefile/error.ts';
import type { Directive } from '../../corefile/directive.ts';
import { type OptionSchema, parseDuration } from '../../corefile/options.ts';
import { andThen, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import { nameKey, type Query, RCODE, type Rr, TYPE } from '../../wire/index.ts';
import { pick, WeightFile } from './weights.ts';

const RELOAD_SECONDS = 30;

const schema = {
  reload: {
    syntax: 'DURATION',
    doc: 'Time between looks at the weights of `weighted`; 0s never. Default 30s.',
    parse: (line): number => {
      const [text, extra] = line.args;
      if (text === undefined) throw parsingError(line.name, 'reload duration value is missing');
      if (extra !== undefined) throw parsingError(extra, 'unexpected argument');
      const seconds = parseDuration(text.text);
      if (seconds === undefined) throw parsingError(text, `invalid reload duration '${text.text}'`);
      return seconds;
    },
  },
  prefer: {
    syntax: 'CIDR…',
    doc: 'Addresses in these blocks come first, in the order of the blocks; not with `weighted`.',
    parse: (line): Prefix[] =>
      line.args.map((token) => {
        const prefix = parsePrefix(token.text);
        if (prefix === undefined) throw parsingError(token, `invalid CIDR "${token.text}"`);
        return prefix;
      }),
  },
} satisfies OptionSchema;

/** Puts the records of a section into their order for one answer. */
type Order = (records: readonly Rr[], query: Query) => readonly Rr[];

/** Changes the order of addresses from answer to answer, so that clients that take the first one spread. */
export const loadbalance: Plugin = {
  name: 'loadbalance',
  once: false,
  options: schema,
  setup(directives, context) {
    const prefer: Prefix[] = [];
    let policy: Adjust = shuffled(prefer);
    let weighted = false;
    for (const directive of directives) {
      policy = readPolicy(directive, context, prefer);
      weighted = directive.args[0]?.text === 'weighted';
    }
    const adjust = (query: Query, reply: Reply): Reply =>
      reply.rcode !== RCODE.NOERROR || query.type === TYPE.AXFR || query.type === TYPE.IXFR
        ? reply
        : policy(query, reply);
    const handler: Handler = {
      name: 'loadbalance',
      adjust,
      ...(prefer.length === 0 && !weighted ? { spreads: true } : {}),
      serve: (request, next) =>
        andThen(next(request), (outcome) => (outcome.kind === 'failure' ? outcome : adjust(request.query, outcome))),
    };
    return handler;
  },
};

type Adjust = (query: Query, reply: Reply) => Reply;

function readPolicy(directive: Directive, context: SetupContext, prefer: Prefix[]): Adjust {
  const [policy, file, extra] = directive.args;
  const weighted = policy?.text === 'weighted';
  if (policy !== undefined && !weighted && policy.text !== 'round_robin')
    throw parsingError(policy, `unknown policy: ${policy.text}`);
  if (!weighted && file !== undefined) throw parsingError(file, `unknown property for ${policy?.text}`);
  if (weighted && file === undefined) throw parsingError(policy, 'missing weight file argument');
  if (extra !== undefined) throw parsingError(extra, 'unexpected argument(s)');
  let reload = RELOAD_SECONDS;
  for (const line of directive.block ?? []) {
    if (line.name.text === 'reload' && weighted) reload = schema.reload.parse(line);
    else if (line.name.text === 'prefer' && !weighted) prefer.push(...schema.prefer.parse(line));
    else throw parsingError(line.name, `unknown property '${line.name.text}'`);
  }
  return weighted && file !== undefined ? weightedBy(context, context.path(file.text), reload) : shuffled(prefer);
}

function shuffled(prefer: readonly Prefix[]): Adjust {
  const order: Order = (records) => ordered(records, prefer);
  return (query, reply) => {
    const { answers, authority, additional } = reply;
    // SRV records have weights of their own.
    if (query.type === TYPE.SRV) return reply;
    if (answers.length < 2 && authority.length < 2 && additional.length < 2) return reply;
    return {
      ...reply,
      answers: order(answers, query),
      authority: authority.length < 2 ? authority : order(authority, query),
      additional: additional.length < 2 ? additional : order(additional, query),
    };
  };
}

function weightedBy(context: SetupContext, path: string, reload: number): Adjust {
  const file = new WeightFile(path);
  const { log } = context.runtime;
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    if (file.look()) log.info(`plugin/loadbalance: Successfully reloaded weight file ${path}`);
  };
  context.onStart(() => {
    try {
      look();
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code !== undefined;
      if (!missing || reload === 0) throw error;
      log.warn(`plugin/loadbalance: Failed to open weight file: ${errorMessage(error)}. Will try again in ${reload}s`);
    }
    if (reload <= 0) return;
    timer = setInterval(() => {
      try {
        look();
      } catch (error) {
        // The weights that were read last stay.
        log.error(`plugin/loadbalance: ${errorMessage(error)}`);
      }
    }, reload * 1000).unref();
  });
  context.onStop(() => clearInterval(timer));
  const order: Order = (records, query) => weightiest(records, (rr) => weightOf(file, rr, query));
  return (query, reply) =>
    query.type === TYPE.A || query.type === TYPE.AAAA || query.type === TYPE.SRV
      ? { ...reply, answers: order(reply.answers, query), additional: order(reply.additional, query) }
      : reply;
}

function weightOf(file: WeightFile, rr: Rr, query: Query): number {
  const name = rr.name === undefined ? query.key : nameKey(rr.name);
  return file.weights.get(name)?.get(formatIp(rr.rdata)) ?? 1;
}

interface Sorted {
  readonly aliases: Rr[];
  readonly rest: Rr[];
  readonly addresses: Rr[];
  readonly mail: Rr[];
}

function sorted(records: readonly Rr[]): Sorted {
  const out: Sorted = { aliases: [], rest: [], addresses: [], mail: [] };
  for (const rr of records) {
    if (rr.type === TYPE.CNAME) out.aliases.push(rr);
    else if (rr.type === TYPE.MX) out.mail.push(rr);
    else if (rr.type === TYPE.A || rr.type === TYPE.AAAA) out.addresses.push(rr);
    else out.rest.push(rr);
  }
  return out;
}

function onlyAddresses(records: readonly Rr[]): boolean {
  for (let i = 0; i < records.length; i++) {
    const { type } = records[i] as Rr;
    if (type !== TYPE.A && type !== TYPE.AAAA) return false;
  }
  return true;
}

/** Aliases first, then everything that has no order to change, then the addresses and mail exchangers shuffled. */
function ordered(records: readonly Rr[], prefer: readonly Prefix[]): readonly Rr[] {
  if (records.length < 2) return records;
  // Most answers have nothing but addresses of one kind.
  if (prefer.length === 0 && onlyAddresses(records)) {
    const out = records.slice();
    shuffle(out);
    return out;
  }
  const { aliases, rest, addresses, mail } = sorted(records);
  shuffle(addresses);
  shuffle(mail);
  if (prefer.length === 0) return [...aliases, ...rest, ...addresses, ...mail];
  const rank = (rr: Rr): number => {
    const at = prefer.findIndex((prefix) =>
      prefixContains(prefix, { family: rr.rdata.length === 4 ? 4 : 6, bytes: rr.rdata }),
    );
    return at < 0 ? prefer.length : at;
  };
  return [...aliases, ...addresses.sort((a, b) => rank(a) - rank(b)), ...mail, ...rest];
}

/** Puts one address first, by chance and weight; the others keep their places but for the one it changes with. */
function weightiest(records: readonly Rr[], weight: (rr: Rr) => number): readonly Rr[] {
  const { aliases, rest, addresses, mail } = sorted(records);
  if (addresses.length === 0) return records;
  const weights = addresses.map(weight);
  const sum = weights.reduce((a, b) => a + b, 0);
  const top = pick(weights, Math.floor(Math.random() * sum));
  const first = addresses[0] as Rr;
  addresses[0] = addresses[top] as Rr;
  addresses[top] = first;
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
