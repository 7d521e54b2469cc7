import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatIp, parseIp } from '@weft/net';
import type { Provenance } from '@weft/plan';
import type { Reply } from '../server/handler.ts';
import type { HttpHub } from '../server/http.ts';
import { type PacketContext, packetContext } from '../server/request.ts';
import type { Observer, Site } from '../server/site.ts';
import {
  decodeMessage,
  encodeQuery,
  FLAG,
  keyToText,
  nameFromText,
  nameToText,
  parseQuery,
  isRejected,
  type Rr,
  rcodeName,
  TYPE,
  typeName,
  typeNumber,
  WireError,
} from '../wire/index.ts';
import { Recorder, type Recording } from './recorder.ts';

/** A recording takes at most so long, in seconds. */
const LONGEST = 300;
/** Recordings at once: each costs every query something. */
const MOST = 4;

/** A query as the server answered it, and why. */
export interface Inspected {
  readonly name: string;
  readonly type: string;
  readonly rcode: string;
  readonly authoritative: boolean;
  readonly answers: readonly {
    readonly name: string;
    readonly ttl: number;
    readonly type: string;
    readonly data: string;
  }[];
  /** The zone of the server block that took the query; empty when none did. */
  readonly zone: string;
  /** The plugin that answered; empty when the server itself did. */
  readonly plugin: string;
  /** The API objects behind the answer. */
  readonly objects: readonly Provenance[];
  /** Milliseconds. */
  readonly ms: number;
}

/** What the inspector needs of the server it looks into. */
export interface Inspectable {
  /** Sites by where they listen. */
  sites(): readonly { readonly port: number; readonly site: Site }[];
  causes(name: string): readonly { readonly plugin: string; readonly causes: readonly Provenance[] }[];
  /** Lets an observer see every finished query until the returned function is called. */
  watch(observer: Observer): () => void;
}

/**
 * Answers questions about a server over HTTP: `/query` asks it one question as a client would and says who answered and
 * why, `/top` counts for some seconds what it is asked. Both tell more than a client of DNS may know, so the address
 * should be one of the loopback, which in a pod is reached by whoever may forward ports of that pod.
 */
export async function serveInspector(hub: HttpHub, address: string, server: Inspectable): Promise<void> {
  let recordings = 0;
  await hub.serve(address, '/query', (request, response) => {
    void reply(request, response, (url) => query(server, url));
  });
  await hub.serve(address, '/top', (request, response) => {
    void reply(request, response, async (url) => {
      if (recordings >= MOST) return { status: 429, body: { error: 'too many recordings at once' } };
      recordings += 1;
      try {
        return await record(server, url, response);
      } finally {
        recordings -= 1;
      }
    });
  });
}

interface Result {
  readonly status: number;
  readonly body: unknown;
}

const bad = (error: string): Result => ({ status: 400, body: { error } });

async function reply(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (url: URL) => Promise<Result>,
): Promise<void> {
  // A web page must not ask: no browser is meant to come here.
  const foreign = request.method !== 'GET' || request.headers.origin !== undefined;
  const { status, body } = foreign
    ? { status: 403, body: { error: 'only plain GET requests are answered' } }
    : await answer(new URL(request.url ?? '/', 'http://inspect'));
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

async function query(server: Inspectable, url: URL): Promise<Result> {
  const { searchParams } = url;
  const type = typeNumber((searchParams.get('type') ?? 'A').toUpperCase());
  const client = searchParams.get('client') ?? '127.0.0.1';
  if (type === undefined) return bad(`unknown type ${searchParams.get('type')}`);
  if (parseIp(client) === undefined) return bad(`not an address: ${client}`);
  let name: Uint8Array;
  try {
    name = nameFromText(searchParams.get('name') ?? '');
  } catch (error) {
    if (error instanceof WireError) return bad(error.message);
    throw error;
  }
  const sites = server.sites();
  const port = Number(searchParams.get('port') ?? 53);
  const found = sites.find((s) => s.port === port) ?? sites[0];
  if (found === undefined) return { status: 503, body: { error: 'the server serves nothing yet' } };
  const body = await inspect(server, found.site, name, type, client);
  return { status: 200, body };
}

async function inspect(
  server: Inspectable,
  site: Site,
  name: Uint8Array,
  type: number,
  client: string,
): Promise<Inspected> {
  const packet = encodeQuery({ id: 0, flags: FLAG.RD, name, type, class: 1 });
  // TCP, so that nothing is cut.
  const context: PacketContext = packetContext('tcp', client, 0);
  let seen: Reply | undefined;
  const stop = server.watch({
    finished: (request, given) => {
      if (request.context === context) seen = given;
    },
  });
  const began = performance.now();
  try {
    const bytes = await site.respond(packet, context);
    const ms = performance.now() - began;
    const message = decodeMessage(bytes ?? new Uint8Array(12));
    const parsed = parseQuery(packet);
    const plugin = seen?.by ?? '';
    const text = nameToText(name);
    return {
      name: text,
      type: typeName(type),
      rcode: rcodeName(message.rcode),
      authoritative: (message.flags & FLAG.AA) !== 0,
      answers: message.answers.map(textual),
      zone: isRejected(parsed) ? '' : keyToText(site.zoneOf(parsed) ?? ''),
      plugin,
      objects: server
        .causes(text)
        .filter((cause) => cause.plugin === plugin)
        .flatMap((cause) => cause.causes),
      ms,
    };
  } finally {
    stop();
  }
}

async function record(server: Inspectable, url: URL, response: ServerResponse): Promise<Result> {
  const seconds = Number(url.searchParams.get('for') ?? 10);
  const limit = Number(url.searchParams.get('limit') ?? 100);
  if (!(seconds > 0 && seconds <= LONGEST)) return bad(`"for" must be seconds up to ${LONGEST}`);
  if (!(Number.isInteger(limit) && limit > 0 && limit <= 10_000)) return bad('"limit" must be 1 to 10000');
  const recorder = new Recorder();
  const stop = server.watch(recorder);
  try {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      response.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  } finally {
    stop();
  }
  const result: Recording = recorder.result(limit);
  return { status: 200, body: result };
}

/** A record in the presentation format of zone files; types without one of their own as RFC 3597 has it. */
function textual(rr: Rr): { name: string; ttl: number; type: string; data: string } {
  return { name: nameToText(rr.name ?? new Uint8Array(1)), ttl: rr.ttl, type: typeName(rr.type), data: dataText(rr) };
}

function dataText({ type, rdata }: Rr): string {
  const view = new DataView(rdata.buffer, rdata.byteOffset, rdata.byteLength);
  switch (type) {
    case TYPE.A:
    case TYPE.AAAA:
      return formatIp(rdata);
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.NS:
      return nameToText(rdata);
    case TYPE.MX:
      return `${view.getUint16(0)} ${nameToText(rdata, 2)}`;
    case TYPE.SRV:
      return `${view.getUint16(0)} ${view.getUint16(2)} ${view.getUint16(4)} ${nameToText(rdata, 6)}`;
    case TYPE.TXT: {
      const strings: string[] = [];
      for (let at = 0; at < rdata.length; at += (rdata[at] as number) + 1)
        strings.push(JSON.stringify(Buffer.from(rdata.subarray(at + 1, at + 1 + (rdata[at] as number))).toString()));
      return strings.join(' ');
    }
    default:
      return `\\# ${rdata.length} ${Buffer.from(rdata).toString('hex')}`;
  }
}
