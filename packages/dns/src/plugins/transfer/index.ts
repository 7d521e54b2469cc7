import { formatIp, parseIp } from '@weft/net';
import { errorMessage } from '@weft/plan';
import type { Target } from '../../client/channel.ts';
import { targetOf } from '../../client/targets.ts';
import { sendNotify } from '../../client/transfer.ts';
import { parsingError } from '../../corefile/error.ts';
import { args, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { authoritative, failure, type Handler, type Outcome, type TransferSource } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { ZoneMap } from '../../server/zoneset.ts';
import { encodeReply, keyToText, type NameKey, nameFromText, RCODE, type Rr, soaOf, TYPE } from '../../wire/index.ts';

type To = Target | '*';

const schema = {
  to: {
    syntax: 'ADDRESS…',
    doc: 'Who may have the zones, and is told when they change: addresses with a port for notifications, default 53, or `*` for everybody, who is not told.',
    parse: (line) =>
      args(line, 1, Number.POSITIVE_INFINITY).map((text): To => {
        const target = text === '*' ? text : targetOf(text);
        if (target === undefined) throw parsingError(line.name, `not an IP address: "${text}"`);
        return target;
      }),
    join: (before: To[], after: To[]) => [...before, ...after],
  },
} satisfies OptionSchema;

/** Bytes of records in one message of a transfer. */
const MESSAGE_BYTES = 16_000;

/** Hands zones of the block's other plugins to secondaries, and tells them about changes. */
export const transfer: Plugin = {
  name: 'transfer',
  once: false,
  options: schema,
  setup(directives, context) {
    const { log } = context.runtime;
    const rules = new ZoneMap<readonly To[]>();
    for (const directive of directives) {
      const { to } = parseOptions(schema, directive.block, context.warn);
      if (to === undefined) throw parsingError(directive.name, "'to' is required");
      const named = directive.args.flatMap((token) => zonesFromArgument(token));
      for (const zone of named.length > 0 ? named : context.block.zones) rules.set(zone, to);
    }
    let sources: readonly TransferSource[] = [];
    const stopping: (() => void)[] = [];
    const notify = (origin: NameKey): void => {
      const text = keyToText(origin);
      const to = rules.match(origin, labelsOf(origin))?.value ?? [];
      for (const target of to) {
        if (target === '*') continue;
        sendNotify(target, nameFromText(text)).catch((error: unknown) => {
          log.warn(`plugin/transfer: ${target.host}:${target.port} was not told about ${text}: ${errorMessage(error)}`);
        });
      }
    };
    context.onListening(() => {
      for (const source of sources) {
        stopping.push(source.onChange(notify));
        for (const origin of source.origins()) if (source.zone(origin) !== undefined) notify(origin);
      }
    });
    context.onStop(() => stopping.forEach((stop) => stop()));
    const handler: Handler = {
      name: 'transfer',
      transparent: true,
      linked: (later) => {
        sources = later.flatMap(({ transfers }) => transfers ?? []);
      },
      serve(request, next) {
        const { query } = request;
        if (query.type !== TYPE.AXFR && query.type !== TYPE.IXFR) return next(request);
        const to = rules.match(query.key, query.labels)?.value;
        if (to === undefined) return next(request);
        if (!to.some((target) => target === '*' || isHost(target, request.context.remoteAddress))) {
          log.warn(`plugin/transfer: ${request.context.remoteAddress} may not have ${request.name}`);
          return failure('transfer', RCODE.REFUSED);
        }
        for (const source of sources) {
          const zone = source.zone(query.key);
          if (zone !== undefined) return handOver(request, zone.soa, zone.records);
        }
        return next(request);
      },
    };
    return handler;
  },
};

function labelsOf(key: NameKey): number[] {
  const out: number[] = [];
  for (let at = 0; key.charCodeAt(at) > 0; at += key.charCodeAt(at) + 1) out.push(at);
  return out;
}

function isHost(target: Target, address: string): boolean {
  const [a, b] = [parseIp(target.host), parseIp(address)];
  return a !== undefined && b !== undefined && formatIp(a) === formatIp(b);
}

function handOver(request: Request, soa: Rr, records: Iterable<Rr>): Outcome | Promise<Outcome> {
  const { query, context } = request;
  const last = authoritative('transfer', { answers: [soa], own: true });
  if (query.type === TYPE.IXFR) {
    const serial = soaOf(soa)?.serial;
    // Up to date, or to be asked again over TCP: the SOA record alone (RFC 1995 sections 2 and 4).
    if (context.send === undefined || (query.serial !== undefined && query.serial === serial)) return last;
  }
  if (context.send === undefined) return failure('transfer', RCODE.REFUSED);
  return sendAll(request, context.send, records, last);
}

async function sendAll(
  request: Request,
  send: (message: Buffer) => Promise<void>,
  records: Iterable<Rr>,
  last: Outcome,
): Promise<Outcome> {
  let batch: Rr[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    const content = authoritative('transfer', { answers: batch });
    batch = [];
    size = 0;
    await send(encodeReply(request.query, content, request.limits));
  };
  for (const rr of records) {
    const bytes = (rr.name?.length ?? request.query.qname.length) + 10 + rr.rdata.length;
    if (size + bytes > MESSAGE_BYTES && batch.length > 0) await flush();
    batch.push(rr);
    size += bytes;
  }
  if (batch.length > 0) await flush();
  return last;
}
