import { EINTR, ENODEV, errnoName } from '../errno.ts';
import { combineErrors, isKernelError, KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { subscribeNetlink } from '../netlink/events.ts';
import { NlSocket } from '../netlink/socket.ts';
import { type NlMessage, NlWriter } from '../netlink/wire.ts';
import type { NetNs } from '../sys/netns.ts';
import { decodeAddress, encodeAddressDump, RTM_GETADDR, RTM_NEWADDR } from './address.ts';
import { type MissingOk, RtBatch, type RtLabel } from './batch.ts';
import { decodeEvent, GROUPS } from './events.ts';
import { named, toError, toErrors } from './failures.ts';
import { afterCreation, decodeLink, encodeLinkDump, encodeLinkRef, RTM_GETLINK, RTM_NEWLINK } from './link.ts';
import {
  decodeFdb,
  decodeNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
  isFdb,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from './neigh.ts';
import {
  decodeRoute,
  encodeRouteDump,
  encodeRouteQuery,
  isCloned,
  isIpRoute,
  type RouteFilter,
  type RouteQuery,
  RTM_GETROUTE,
  RTM_NEWROUTE,
} from './route.ts';
import { decodeRule, encodeRuleDump, RTM_GETRULE, RTM_NEWRULE } from './rule.ts';
import type {
  Address,
  AddressSpec,
  FdbEntry,
  Link,
  LinkChange,
  LinkSpec,
  Neighbour,
  Route,
  RtEvent,
  RtGroup,
  Rule,
} from './types.ts';

/** Groups used for nothing but one deletion; far above numbers people choose. */
const DELETE_GROUP = 0x57_45_46_54;

/** Links, addresses, routes, rules, neighbours and forwarding entries of one network namespace (rtnetlink(7)). */
export class Rtnl {
  readonly #socket: NlSocket;

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): Rtnl {
    return new Rtnl(NlSocket.open(C.NETLINK_ROUTE, ns));
  }

  close(): void {
    this.#socket.close();
  }

  /** Sends many requests together. Rejects with the first refusal; its `errors` lists all of them. */
  async batch(build: (b: RtBatch) => void): Promise<void> {
    const b = new RtBatch();
    build(b);
    await this.#run(b);
  }

  #run(b: RtBatch): Promise<void> {
    const [part] = b.parts;
    if (part === undefined) return Promise.resolve();
    if (b.parts.length > 1) return this.#runParts(b);
    return this.#socket.request(part.writer, { slow: b.slow }).then((result) => {
      const errors = toErrors(result.failures, part.labels);
      if (errors.length > 0) throw combineErrors(errors);
    }, named(part.labels));
  }

  async #runParts(b: RtBatch): Promise<void> {
    const errors: KernelError[] = [];
    for (const part of b.parts) {
      const result = await this.#socket.request(part.writer, { slow: b.slow }).catch(named(part.labels));
      errors.push(...toErrors(result.failures, part.labels));
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (errors.length > 0) throw combineErrors(errors);
  }

  #one(build: (b: RtBatch) => void): Promise<void> {
    try {
      const b = new RtBatch();
      build(b);
      return this.#run(b);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #dump<T>(
    type: number,
    what: string,
    body: (w: NlWriter) => void,
    read: (m: NlMessage) => T | undefined,
  ): Promise<T[]> {
    const w = new NlWriter(256);
    w.begin(type, C.NLM_F_REQUEST | C.NLM_F_DUMP);
    body(w);
    w.end();
    let out: T[] = [];
    const result = await this.#socket.dump(
      w,
      (m) => {
        const item = read(m);
        if (item !== undefined) out.push(item);
      },
      () => {
        out = [];
      },
    );
    const [failure] = result.failures;
    if (failure !== undefined) throw toError(failure, { operation: 'list', object: () => what });
    return out;
  }

  async #get<T>(
    type: number,
    label: RtLabel,
    body: (w: NlWriter) => void,
    read: (m: NlMessage) => T,
  ): Promise<T | undefined> {
    const w = new NlWriter(256);
    w.begin(type, C.NLM_F_REQUEST | C.NLM_F_ACK);
    body(w);
    w.end();
    let out: T | undefined;
    const result = await this.#socket.request(w, {
      onMessage: (m) => {
        out = read(m);
      },
    });
    const [failure] = result.failures;
    if (failure !== undefined) {
      if (label.ignore?.includes(errnoName(failure.errno))) return undefined;
      throw toError(failure, label);
    }
    return out;
  }

  readonly links = {
    /** All links, or those of a kind or of one master. */
    list: (filter: { readonly kind?: string; readonly master?: number } = {}): Promise<Link[]> =>
      this.#dump(
        RTM_GETLINK,
        'links',
        (w) => encodeLinkDump(w, filter),
        (m) => {
          if (m.type !== RTM_NEWLINK) return undefined;
          const link = decodeLink(m);
          // Old kernels ignore the filter.
          if (filter.kind !== undefined && link.kind !== filter.kind) return undefined;
          return filter.master !== undefined && link.master !== filter.master ? undefined : link;
        },
      ),
    /** A link by name or index; undefined when there is none. */
    get: (link: string | number): Promise<Link | undefined> =>
      this.#get(
        RTM_GETLINK,
        { operation: 'get link', object: () => String(link), ignore: ['ENODEV'] },
        (w) => encodeLinkRef(w, link, true),
        decodeLink,
      ),
    /** Makes a link. With `replace`, one of the same name is deleted first. */
    add: async (spec: LinkSpec, options: { readonly replace?: boolean } = {}): Promise<void> => {
      try {
        await this.#one((b) => b.links.add(spec));
      } catch (error) {
        if (options.replace !== true || !isKernelError(error, 'EEXIST')) throw error;
        await this.#one((b) => b.links.del(spec.name, { missingOk: true }));
        await this.#one((b) => b.links.add(spec));
      }
      for (const [end, change] of afterCreation(spec)) {
        const home = end.ns ?? spec.ns;
        if (home === undefined) continue;
        const there = Rtnl.open(home);
        try {
          await there.links.set(end.name, change);
        } finally {
          there.close();
        }
      }
    },
    set: async (link: string | number, change: LinkChange): Promise<void> => {
      let target = link;
      if (typeof link === 'string' && change.name !== undefined) {
        const found = await this.links.get(link);
        if (found === undefined) throw new KernelError({ errno: ENODEV, operation: 'change link', object: link });
        target = found.index;
      }
      await this.#one((b) => b.links.set(target, change));
    },
    del: (link: string | number, options: MissingOk = {}): Promise<void> =>
      this.#one((b) => b.links.del(link, options)),
    /** Deletes many links in one kernel operation (one grace period for all). Those already gone are no error. */
    delMany: async (indexes: readonly number[]): Promise<void> => {
      if (indexes.length === 0) return;
      try {
        await this.batch((b) => {
          for (const index of indexes) b.links.set(index, { group: DELETE_GROUP });
        });
      } catch (error) {
        if (!(error instanceof KernelError) || error.errors.some((e) => e.code !== 'ENODEV')) throw error;
      }
      await this.#one((b) => b.links.delGroup(DELETE_GROUP));
    },
  };

  readonly addresses = {
    list: (filter: { readonly index?: number; readonly family?: 4 | 6 } = {}): Promise<Address[]> =>
      this.#dump(
        RTM_GETADDR,
        'addresses',
        (w) => encodeAddressDump(w, filter),
        (m) => {
          if (m.type !== RTM_NEWADDR) return undefined;
          const address = decodeAddress(m);
          return filter.index !== undefined && address.index !== filter.index ? undefined : address;
        },
      ),
    add: (a: AddressSpec): Promise<void> => this.#one((b) => b.addresses.add(a)),
    replace: (a: AddressSpec): Promise<void> => this.#one((b) => b.addresses.replace(a)),
    del: (a: AddressSpec, options?: MissingOk): Promise<void> => this.#one((b) => b.addresses.del(a, options)),
  };

  readonly routes = {
    list: (filter: RouteFilter = {}): Promise<Route[]> =>
      this.#dump(
        RTM_GETROUTE,
        'routes',
        (w) => encodeRouteDump(w, filter),
        (m) => {
          if (m.type !== RTM_NEWROUTE || isCloned(m) || !isIpRoute(m)) return undefined;
          const r = decodeRoute(m);
          const wrong =
            (filter.table !== undefined && r.table !== filter.table) ||
            (filter.protocol !== undefined && r.protocol !== filter.protocol) ||
            (filter.oif !== undefined && r.oif !== filter.oif);
          return wrong ? undefined : r;
        },
      ),
    add: (r: Route): Promise<void> => this.#one((b) => b.routes.add(r)),
    append: (r: Route): Promise<void> => this.#one((b) => b.routes.append(r)),
    replace: (r: Route): Promise<void> => this.#one((b) => b.routes.replace(r)),
    del: (r: Route, options?: MissingOk): Promise<void> => this.#one((b) => b.routes.del(r, options)),
    /** The route a packet would take; rejects with the kernel's error (ENETUNREACH, …) when there is none. */
    lookup: async (q: RouteQuery): Promise<Route> => {
      const route = await this.#get(
        RTM_GETROUTE,
        { operation: 'look up route to', object: () => q.to },
        (w) => encodeRouteQuery(w, q),
        decodeRoute,
      );
      if (route === undefined) throw new KernelError({ errno: EINTR, operation: 'look up route to', object: q.to });
      return route;
    },
  };

  readonly rules = {
    list: (filter: { readonly family?: 4 | 6 } = {}): Promise<Rule[]> =>
      this.#dump(
        RTM_GETRULE,
        'routing rules',
        (w) => encodeRuleDump(w, filter),
        (m) => {
          const family = m.bytes[m.start];
          return m.type === RTM_NEWRULE && (family === 2 || family === 10) ? decodeRule(m) : undefined;
        },
      ),
    add: (r: Rule): Promise<void> => this.#one((b) => b.rules.add(r)),
    del: (r: Rule, options?: MissingOk): Promise<void> => this.#one((b) => b.rules.del(r, options)),
  };

  readonly neighbours = {
    list: (
      filter: { readonly index?: number; readonly family?: 4 | 6; readonly proxy?: boolean } = {},
    ): Promise<Neighbour[]> =>
      this.#dump(
        RTM_GETNEIGH,
        'neighbours',
        (w) => encodeNeighbourDump(w, filter),
        (m) => {
          if (m.type !== RTM_NEWNEIGH || isFdb(m)) return undefined;
          const n = decodeNeighbour(m);
          return filter.index !== undefined && n.index !== filter.index ? undefined : n;
        },
      ),
    add: (n: Neighbour): Promise<void> => this.#one((b) => b.neighbours.add(n)),
    replace: (n: Neighbour): Promise<void> => this.#one((b) => b.neighbours.replace(n)),
    del: (n: Neighbour, options?: MissingOk): Promise<void> => this.#one((b) => b.neighbours.del(n, options)),
  };

  readonly fdb = {
    /** Forwarding entries of one device (a vxlan, a bridge port, a bridge). */
    list: (index: number): Promise<FdbEntry[]> =>
      this.#dump(
        RTM_GETNEIGH,
        `fdb of index ${index}`,
        (w) => encodeFdbDump(w, index),
        (m) => {
          if (m.type !== RTM_NEWNEIGH || !isFdb(m)) return undefined;
          const e = decodeFdb(m);
          return e.index === index ? e : undefined;
        },
      ),
    add: (e: FdbEntry): Promise<void> => this.#one((b) => b.fdb.add(e)),
    append: (e: FdbEntry): Promise<void> => this.#one((b) => b.fdb.append(e)),
    replace: (e: FdbEntry): Promise<void> => this.#one((b) => b.fdb.replace(e)),
    del: (e: FdbEntry, options?: MissingOk): Promise<void> => this.#one((b) => b.fdb.del(e, options)),
  };

  /** Announces changes as they happen. After `onLost` some were missed: list again. */
  subscribe(groups: readonly RtGroup[], onEvent: (e: RtEvent) => void, onLost: () => void): { close(): void } {
    return subscribeNetlink({
      protocol: C.NETLINK_ROUTE,
      groups: groups.map((group) => GROUPS[group]),
      ns: this.#socket.namespace(),
      onMessage: (m) => {
        const event = decodeEvent(m);
        if (event !== undefined) onEvent(event);
      },
      onLost,
    });
  }
}
