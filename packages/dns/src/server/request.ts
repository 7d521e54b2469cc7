import type { IncomingHttpHeaders } from 'node:http';
import { EDNS_DO, keyToText, type Limits, nameToText, type Query } from '../wire/index.ts';

export type Proto = 'udp' | 'tcp';

/** How a packet arrived. */
export interface PacketContext {
  readonly proto: Proto;
  /** Client's address in text; IPv4-mapped IPv6 addresses are given as IPv4. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly family: 4 | 6;
  /** Where the packet arrived, on connections; UDP packets arrived where the site listens. */
  readonly local?: { readonly address: string; readonly port: number };
  /** Headers of the request, over HTTPS. */
  readonly headers?: IncomingHttpHeaders;
  /**
   * Sends a message ahead of the answer, on connections only: zone transfers take many. Resolves when the client has read
   * enough to get more. Rejects when the client has left.
   */
  readonly send?: (message: Buffer) => Promise<void>;
}

/** Context of look-ups that the server makes for itself: a CNAME's target, a prefetch. */
export const INTERNAL: PacketContext = { proto: 'tcp', remoteAddress: '127.0.0.1', remotePort: 0, family: 4 };

/** Where a block is served, as the labels of metrics have it. */
export interface ServedAt {
  /** For example `dns://:53`. */
  readonly server: string;
  readonly zone: string;
  readonly view: string;
}

const NOBODY: ServedAt = { server: '', zone: '', view: '' };
const NOWHERE = { address: '', port: 0 };

/** One query on its way through the chain of plugins. */
export class Request {
  /** What is asked. Plugins that change how the answer is to be written (its size, its flags) put another one here. */
  query: Query;
  readonly context: PacketContext;
  /** Where the site listens that got the query. */
  bound: { readonly address: string; readonly port: number } = NOWHERE;
  /** The block that the query went to, as the labels of metrics have it. */
  served: ServedAt = NOBODY;
  /** What plugins know about the query, by label, read when asked for; undefined without the plugin `metadata`. */
  metadata: Map<string, () => string> | undefined;
  #name: string | undefined;
  #parent: Request | undefined;

  constructor(query: Query, context: PacketContext) {
    this.query = query;
    this.context = context;
  }

  /** The request that came in, of which this one may be a changed form. */
  get origin(): Request {
    return this.#parent?.origin ?? this;
  }

  /** The same request with another question: what is known about the client and the block goes with it. */
  asking(query: Query): Request {
    const out = new Request(query, this.context);
    out.bound = this.bound;
    out.served = this.served;
    out.metadata = this.metadata;
    out.#parent = this;
    return out;
  }

  /** Where the query arrived: what the connection says, or where the site listens (`::` for all addresses). */
  get local(): { readonly address: string; readonly port: number } {
    return this.context.local ?? this.bound;
  }

  /** Size of the query as a message without compression, in bytes. */
  get wireSize(): number {
    const { qname, edns } = this.query;
    return 12 + qname.length + 4 + (edns === undefined ? 0 : 11 + edns.options.length);
  }

  /** What a plugin says about the query under a label, as `forward/upstream`; empty when nobody says anything. */
  label(label: string): string {
    return this.metadata?.get(label)?.() ?? '';
  }

  /** The question's name in lower case with final dot. */
  get name(): string {
    this.#name ??= keyToText(this.query.key);
    return this.#name;
  }

  /** The question's name as sent. */
  get originalName(): string {
    return nameToText(this.query.qname);
  }

  get do(): boolean {
    return this.query.edns !== undefined && (this.query.edns.flags & EDNS_DO) !== 0;
  }

  /** Largest reply that the client can take, in bytes. */
  get size(): number {
    return this.context.proto === 'tcp' ? 65535 : Math.max(512, this.query.edns?.udpSize ?? 0);
  }

  get limits(): Limits {
    return replyLimits(this.query, this.context);
  }
}

/** Fragments of UDP datagrams get lost; CoreDNS compresses above these sizes even when the client could take more. */
const FRAGMENT = { 4: 1480, 6: 1220 } as const;

export function replyLimits(query: Query, context: PacketContext): Limits {
  if (context.proto === 'tcp') return { size: 65535, fragment: Number.POSITIVE_INFINITY };
  return { size: Math.max(512, query.edns?.udpSize ?? 0), fragment: FRAGMENT[context.family] };
}

/** Client address of a socket: IPv4-mapped addresses become IPv4, scopes are kept. */
export function packetContext(proto: Proto, address: string, port: number): PacketContext {
  if (!address.includes(':')) return { proto, remoteAddress: address, remotePort: port, family: 4 };
  if (address.startsWith('::ffff:') && address.includes('.')) {
    return { proto, remoteAddress: address.slice(7), remotePort: port, family: 4 };
  }
  return { proto, remoteAddress: address, remotePort: port, family: 6 };
}
