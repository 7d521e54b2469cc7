import { errnoName } from '../errno.ts';
import { KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { NlSocket } from '../netlink/socket.ts';
import { type NlMessage, NlWriter } from '../netlink/wire.ts';
import type { MissingOk } from '../rtnl/batch.ts';
import type { NetNs } from '../sys/netns.ts';
import {
  decodeClass,
  decodeFilter,
  decodeQdisc,
  encodeClass,
  encodeClassRef,
  encodeFilter,
  encodeQdisc,
  encodeQdiscRef,
  encodeTcDump,
} from './encode.ts';
import { parseHandle } from './handle.ts';
import type { Filter, FilterSpec, Qdisc, QdiscSpec, TcClass, TcClassSpec } from './types.ts';

const RTM = {
  NEWQDISC: 36,
  DELQDISC: 37,
  GETQDISC: 38,
  NEWTCLASS: 40,
  DELTCLASS: 41,
  GETTCLASS: 42,
  NEWTFILTER: 44,
  DELTFILTER: 45,
  GETTFILTER: 46,
} as const;
const ADD = C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_EXCL;
const REPLACE = C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_REPLACE;
/** What the kernel says of a qdisc, class or filter that is not there: that, its parent, or its interface. */
const MISSING = ['ENOENT', 'EINVAL', 'ENODEV'];

interface Label {
  readonly operation: string;
  readonly object: string;
  readonly ignore?: readonly string[];
}

/** Traffic control of one network namespace (tc(8)): qdiscs, classes and filters. */
export class Tc {
  readonly #socket: NlSocket;

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): Tc {
    return new Tc(NlSocket.open(C.NETLINK_ROUTE, ns));
  }

  close(): void {
    this.#socket.close();
  }

  readonly qdiscs = {
    add: (q: QdiscSpec): Promise<void> => this.#send(RTM.NEWQDISC, ADD, named('add', q), (w) => encodeQdisc(w, q)),
    /** Adds, or takes the place of the one at the same parent. */
    replace: (q: QdiscSpec): Promise<void> =>
      this.#send(RTM.NEWQDISC, REPLACE, named('replace', q), (w) => encodeQdisc(w, q)),
    /** Deletes the qdisc at a parent (default `root`), with all that hangs from it. */
    del: (q: { readonly index: number; readonly parent?: string }, options: MissingOk = {}): Promise<void> =>
      this.#send(
        RTM.DELQDISC,
        C.NLM_F_REQUEST,
        {
          operation: 'delete qdisc',
          object: `${q.parent ?? 'root'} of index ${q.index}`,
          ignore: options.missingOk === true ? MISSING : [],
        },
        (w) => encodeQdiscRef(w, q),
      ),
    /** Qdiscs of an interface. */
    list: (index: number): Promise<Qdisc[]> => this.#dump(RTM.GETQDISC, 'qdiscs', index, 0, decodeQdisc),
  };

  readonly classes = {
    add: (c: TcClassSpec): Promise<void> =>
      this.#send(RTM.NEWTCLASS, ADD, { operation: `add ${c.kind} class`, object: on(c.handle, c.index) }, (w) =>
        encodeClass(w, c),
      ),
    del: (c: { readonly index: number; readonly handle: string }): Promise<void> =>
      this.#send(RTM.DELTCLASS, C.NLM_F_REQUEST, { operation: 'delete class', object: on(c.handle, c.index) }, (w) =>
        encodeClassRef(w, c),
      ),
    list: (index: number): Promise<TcClass[]> => this.#dump(RTM.GETTCLASS, 'classes', index, 0, decodeClass),
  };

  readonly filters = {
    add: (f: FilterSpec): Promise<void> =>
      this.#send(RTM.NEWTFILTER, ADD, { operation: `add ${f.kind} filter`, object: on(f.parent, f.index) }, (w) =>
        encodeFilter(w, f),
      ),
    /** Deletes all filters of a kind, priority and protocol at a parent. */
    del: (f: FilterSpec, options: MissingOk = {}): Promise<void> =>
      this.#send(
        RTM.DELTFILTER,
        C.NLM_F_REQUEST,
        {
          operation: `delete ${f.kind} filter`,
          object: on(f.parent, f.index),
          ignore: options.missingOk === true ? MISSING : [],
        },
        (w) => encodeFilter(w, f, true),
      ),
    /** Filters that hang from one qdisc of an interface: `1:`, `ffff:`. */
    list: (index: number, parent: string): Promise<Filter[]> =>
      this.#dump(RTM.GETTFILTER, 'filters', index, parseHandle(parent), decodeFilter),
  };

  async #send(type: number, flags: number, label: Label, body: (w: NlWriter) => void): Promise<void> {
    const w = new NlWriter(512);
    w.begin(type, flags);
    body(w);
    w.end();
    // Attaching and detaching qdiscs waits for packets that are on their way.
    const { failures } = await this.#socket.request(w, { slow: true });
    const [failure] = failures;
    if (failure === undefined || label.ignore?.includes(errnoName(failure.errno)) === true) return;
    throw new KernelError({
      errno: failure.errno,
      operation: label.operation,
      object: label.object,
      ...(failure.extack === undefined ? {} : { extack: failure.extack }),
    });
  }

  async #dump<T>(
    type: number,
    what: string,
    index: number,
    parent: number,
    read: (m: NlMessage) => (T & { readonly index: number }) | undefined,
  ): Promise<T[]> {
    const w = new NlWriter(64);
    w.begin(type, C.NLM_F_REQUEST | C.NLM_F_DUMP);
    encodeTcDump(w, index, parent);
    w.end();
    let out: T[] = [];
    const { failures } = await this.#socket.dump(
      w,
      (m) => {
        // Old kernels list the qdiscs of all interfaces whatever was asked.
        const item = m.type === type - 2 ? read(m) : undefined;
        if (item !== undefined && item.index === index) out.push(item);
      },
      () => {
        out = [];
      },
    );
    const [failure] = failures;
    if (failure !== undefined) {
      throw new KernelError({ errno: failure.errno, operation: 'list', object: `${what} of index ${index}` });
    }
    return out;
  }
}

function on(handle: string, index: number): string {
  return `${handle} on index ${index}`;
}

function named(verb: string, q: QdiscSpec): Label {
  return { operation: `${verb} ${q.kind} qdisc`, object: on(q.parent ?? 'root', q.index) };
}
