import { errnoName } from '../errno.ts';
import { KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { subscribeNetlink } from '../netlink/events.ts';
import { type NlFailure, NlSocket } from '../netlink/socket.ts';
import { NlWriter } from '../netlink/wire.ts';
import { af } from '../rtnl/bytes.ts';
import type { NetNs } from '../sys/netns.ts';
import { decodeFlow, encodeTuple, type Flow, type FlowTuple, peekProto } from './flow.ts';

const SUBSYS = 1 << 8;
const CT_NEW = SUBSYS | 0;
const CT_GET = SUBSYS | 1;
const CT_DELETE = SUBSYS | 2;
const CTA_MARK = 8;
const CTA_MARK_MASK = 21;
/** Deletions sent in one piece. */
const CHUNK = 256;

export interface FlowFilter {
  readonly family?: 4 | 6;
  /** IP protocol number. */
  readonly proto?: number;
  /** `mark & mask == value`; the kernel filters. Mask defaults to all bits. */
  readonly mark?: { readonly value: number; readonly mask?: number };
}

export type FlowEventType = 'new' | 'update' | 'destroy';

export interface FlowEvent {
  readonly type: FlowEventType;
  readonly flow: Flow;
}

const EVENT_GROUPS: Record<FlowEventType, number> = { new: 1, update: 2, destroy: 3 };

function tupleOf(flow: Flow | FlowTuple): FlowTuple {
  if (!('orig' in flow)) return flow;
  return {
    family: flow.family,
    proto: flow.proto,
    ...flow.orig,
    ...(flow.zone === undefined ? {} : { zone: flow.zone }),
  };
}

function text(t: FlowTuple): string {
  return `protocol ${t.proto} ${t.src}:${t.sport} -> ${t.dst}:${t.dport}`;
}

/** The connection table of one network namespace (ctnetlink). */
export class Conntrack {
  readonly #socket: NlSocket;

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): Conntrack {
    return new Conntrack(NlSocket.open(C.NETLINK_NETFILTER, ns));
  }

  close(): void {
    this.#socket.close();
  }

  /** All flows that pass the filter. */
  async dump(filter: FlowFilter = {}): Promise<Flow[]> {
    const w = new NlWriter(64);
    w.begin(CT_GET, C.NLM_F_REQUEST | C.NLM_F_DUMP);
    w.put8(af(filter.family), 0, 0, 0);
    if (filter.mark !== undefined) {
      w.u32be(CTA_MARK, filter.mark.value);
      w.u32be(CTA_MARK_MASK, filter.mark.mask ?? 0xffffffff);
    }
    w.end();
    const out: Flow[] = [];
    const result = await this.#socket.dump(
      w,
      (m) => {
        if (filter.proto === undefined || peekProto(m) === filter.proto) out.push(decodeFlow(m));
      },
      () => {
        out.length = 0;
      },
    );
    const [failure] = result.failures;
    if (failure !== undefined) throw toError(failure, 'list', 'conntrack flows');
    return out;
  }

  /** Forgets a flow; false when there was none. A `Flow` (with its id) never deletes a later flow of the same ends. */
  async delete(flow: Flow | FlowTuple): Promise<boolean> {
    return (await this.deleteMany([flow])) === 1;
  }

  /** Forgets many flows; the number of those that were there. */
  async deleteMany(flows: readonly (Flow | FlowTuple)[]): Promise<number> {
    let gone = 0;
    for (let from = 0; from < flows.length; from += CHUNK) {
      const part = flows.slice(from, from + CHUNK);
      const w = new NlWriter(part.length * 128);
      for (const flow of part) {
        w.begin(CT_DELETE, C.NLM_F_REQUEST);
        encodeTuple(w, tupleOf(flow), 'orig' in flow ? flow.id : undefined);
        w.end();
      }
      const result = await this.#socket.request(w);
      for (const failure of result.failures) {
        if (errnoName(failure.errno) === 'ENOENT') continue;
        const flow = part[failure.index];
        throw toError(failure, 'delete conntrack flow', flow === undefined ? 'of a batch' : text(tupleOf(flow)));
      }
      gone += part.length - result.failures.length;
    }
    return gone;
  }

  /** Forgets every flow of the filter that the predicate picks; how many they were. */
  async deleteWhere(filter: FlowFilter, predicate: (flow: Flow) => boolean): Promise<number> {
    return this.deleteMany((await this.dump(filter)).filter(predicate));
  }

  /** Announces flows as they come, change and go. After `onLost` some were missed. */
  subscribe(
    events: readonly FlowEventType[],
    onEvent: (e: FlowEvent) => void,
    onLost: () => void,
    options: { /** Receive buffer, bytes. */ readonly buffer?: number } = {},
  ): { close(): void } {
    return subscribeNetlink({
      protocol: C.NETLINK_NETFILTER,
      groups: events.map((event) => EVENT_GROUPS[event]),
      ns: this.#socket.namespace(),
      buffer: options.buffer ?? 1 << 24,
      onMessage: (m) => {
        if (m.type !== CT_NEW && m.type !== CT_DELETE) return;
        const type = m.type === CT_DELETE ? 'destroy' : (m.flags & C.NLM_F_CREATE) !== 0 ? 'new' : 'update';
        onEvent({ type, flow: decodeFlow(m) });
      },
      onLost,
    });
  }
}

function toError(failure: NlFailure, operation: string, object: string): KernelError {
  return new KernelError({
    errno: failure.errno,
    operation,
    object,
    ...(failure.extack === undefined ? {} : { extack: failure.extack }),
  });
}
