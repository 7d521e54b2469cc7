import * as C from '../netlink/constants.ts';
import { type BridgeVlan, encodeBridgeVlan, RTM_SETLINK } from './bridge-vlan.ts';
import { NlWriter } from '../netlink/wire.ts';
import { encodeAddress, RTM_DELADDR, RTM_NEWADDR } from './address.ts';
import {
  afterCreation,
  changesLink,
  encodeBridgePort,
  encodeLink,
  encodeLinkChange,
  encodeLinkGroup,
  encodeLinkRef,
  RTM_DELLINK,
  RTM_NEWLINK,
} from './link.ts';
import { bridgePort } from './link-data.ts';
import { encodeFdb, encodeNeighbour, RTM_DELNEIGH, RTM_NEWNEIGH } from './neigh.ts';
import { encodeRoute, RTM_DELROUTE, RTM_NEWROUTE } from './route.ts';
import { encodeRule, RTM_DELRULE, RTM_NEWRULE } from './rule.ts';
import type { AddressSpec, FdbEntry, LinkChange, LinkSpec, Neighbour, Route, Rule } from './types.ts';

/** What one request is about, for errors; `ignore` are codes that count as success. */
export interface RtLabel {
  readonly operation: string;
  readonly object: () => string;
  readonly ignore?: readonly string[];
}

/** A part of a batch that is sent in one piece. */
export interface RtPart {
  readonly writer: NlWriter;
  readonly labels: RtLabel[];
}

/** Deletion of something that may be gone already. */
export interface MissingOk {
  readonly missingOk?: boolean;
}

/** About 150 routes: well under a millisecond of kernel work, so that the event loop gets its turns. */
const PART_BYTES = 10_240;
const ADD = C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_EXCL;
const REPLACE = C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_REPLACE;

const linkName = (link: string | number): string => (typeof link === 'number' ? `index ${link}` : link);
const routeName = (r: Route): string =>
  [
    r.type === undefined || r.type === 'unicast' ? '' : `${r.type} `,
    r.dst,
    r.via === undefined ? '' : ` via ${r.via}`,
    r.oif === undefined ? '' : ` dev index ${r.oif}`,
    r.table === undefined ? '' : ` table ${r.table}`,
  ].join('');
const ruleName = (r: Rule): string =>
  [
    r.priority === undefined ? '' : `${r.priority}: `,
    `from ${r.from ?? 'all'}`,
    r.to === undefined ? '' : ` to ${r.to}`,
    r.fwmark === undefined ? '' : ` fwmark 0x${r.fwmark.toString(16)}`,
    r.table === undefined ? '' : ` table ${r.table}`,
  ].join('');
const neighbourName = (n: Neighbour): string => `${n.address} dev index ${n.index}`;
const fdbName = (e: FdbEntry): string => `${e.mac}${e.dst === undefined ? '' : ` dst ${e.dst}`} dev index ${e.index}`;

/** Collects rtnetlink requests; they are sent together and handled in order. Not a transaction: each succeeds alone. */
export class RtBatch {
  readonly parts: RtPart[] = [];
  /** Some request sleeps in the kernel and belongs in a pool thread. */
  slow = false;
  #part: RtPart | undefined;

  get count(): number {
    return this.parts.reduce((sum, part) => sum + part.labels.length, 0);
  }

  #request(type: number, flags: number, label: RtLabel, body: (w: NlWriter) => void): void {
    if (this.#part === undefined || this.#part.writer.pos > PART_BYTES) {
      this.#part = { writer: new NlWriter(this.#part === undefined ? 512 : PART_BYTES + 2048), labels: [] };
      this.parts.push(this.#part);
    }
    const { writer, labels } = this.#part;
    writer.begin(type, flags);
    try {
      body(writer);
    } catch (error) {
      writer.drop();
      throw error;
    }
    writer.end();
    labels.push(label);
  }

  readonly links = {
    /** Bringing up a veth peer that is born in another namespace is a request to that namespace: `Rtnl.links.add` makes it. */
    add: (spec: LinkSpec): void => {
      this.#request(RTM_NEWLINK, ADD, { operation: `add ${spec.kind} link`, object: () => spec.name }, (w) =>
        encodeLink(w, spec),
      );
      for (const [end, change] of afterCreation(spec))
        if ((end.ns ?? spec.ns) === undefined) this.links.set(end.name, change);
    },
    /** Changes a link; renaming needs its index. */
    set: (link: string | number, change: LinkChange): void => {
      const object = (): string => linkName(link);
      if (change.ns !== undefined || change.up === false || change.master !== undefined) this.slow = true;
      if (changesLink(change))
        this.#request(RTM_NEWLINK, C.NLM_F_REQUEST, { operation: 'change link', object }, (w) =>
          encodeLinkChange(w, link, change),
        );
      if (Object.keys(bridgePort(change)).length > 0)
        this.#request(RTM_NEWLINK, C.NLM_F_REQUEST, { operation: 'change bridge port', object }, (w) =>
          encodeBridgePort(w, link, change),
        );
    },
    del: (link: string | number, options: MissingOk = {}): void => {
      this.slow = true;
      const ignore = options.missingOk === true ? ['ENODEV'] : [];
      this.#request(
        RTM_DELLINK,
        C.NLM_F_REQUEST,
        { operation: 'delete link', object: () => linkName(link), ignore },
        (w) => encodeLinkRef(w, link),
      );
    },
    delGroup: (group: number): void => {
      this.slow = true;
      this.#request(
        RTM_DELLINK,
        C.NLM_F_REQUEST,
        { operation: 'delete links of group', object: () => String(group), ignore: ['ENODEV'] },
        (w) => encodeLinkGroup(w, group),
      );
    },
  };

  readonly addresses = {
    add: (a: AddressSpec): void => this.#address(RTM_NEWADDR, ADD, 'add address', a),
    replace: (a: AddressSpec): void => this.#address(RTM_NEWADDR, REPLACE, 'replace address', a),
    del: (a: AddressSpec, options: MissingOk = {}): void =>
      this.#address(
        RTM_DELADDR,
        C.NLM_F_REQUEST,
        'delete address',
        a,
        options.missingOk === true ? ['EADDRNOTAVAIL', 'ENODEV'] : [],
      ),
  };

  readonly routes = {
    add: (r: Route): void => this.#route(RTM_NEWROUTE, ADD, 'add route', r),
    replace: (r: Route): void => this.#route(RTM_NEWROUTE, REPLACE, 'replace route', r),
    /** Adds beside routes of the same destination (IPv6 next hops, IPv4 with another metric order). */
    append: (r: Route): void =>
      this.#route(RTM_NEWROUTE, C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_APPEND, 'append route', r),
    del: (r: Route, options: MissingOk = {}): void =>
      this.#route(
        RTM_DELROUTE,
        C.NLM_F_REQUEST,
        'delete route',
        r,
        options.missingOk === true ? ['ESRCH', 'ENODEV'] : [],
      ),
  };

  readonly rules = {
    add: (r: Rule): void => this.#rule(RTM_NEWRULE, ADD, 'add routing rule', r),
    del: (r: Rule, options: MissingOk = {}): void =>
      this.#rule(RTM_DELRULE, C.NLM_F_REQUEST, 'delete routing rule', r, options.missingOk === true ? ['ENOENT'] : []),
  };

  readonly neighbours = {
    add: (n: Neighbour): void => this.#neighbour(RTM_NEWNEIGH, ADD, 'add neighbour', n),
    replace: (n: Neighbour): void => this.#neighbour(RTM_NEWNEIGH, REPLACE, 'replace neighbour', n),
    del: (n: Neighbour, options: MissingOk = {}): void =>
      this.#neighbour(
        RTM_DELNEIGH,
        C.NLM_F_REQUEST,
        'delete neighbour',
        n,
        options.missingOk === true ? ['ENOENT', 'ENODEV'] : [],
      ),
  };

  readonly fdb = {
    add: (e: FdbEntry): void => this.#fdb(RTM_NEWNEIGH, ADD, 'add fdb entry', e),
    /** One more destination for the same MAC (vxlan flooding). */
    append: (e: FdbEntry): void =>
      this.#fdb(RTM_NEWNEIGH, C.NLM_F_REQUEST | C.NLM_F_CREATE | C.NLM_F_APPEND, 'append fdb entry', e),
    replace: (e: FdbEntry): void => this.#fdb(RTM_NEWNEIGH, REPLACE, 'replace fdb entry', e),
    del: (e: FdbEntry, options: MissingOk = {}): void =>
      this.#fdb(
        RTM_DELNEIGH,
        C.NLM_F_REQUEST,
        'delete fdb entry',
        e,
        options.missingOk === true ? ['ENOENT', 'ENODEV'] : [],
      ),
  };

  readonly bridgeVlans = {
    add: (vlan: BridgeVlan): void => this.#bridgeVlan(RTM_SETLINK, 'add bridge VLAN', vlan),
    del: (vlan: BridgeVlan): void => this.#bridgeVlan(RTM_DELLINK, 'delete bridge VLAN', vlan),
  };

  #bridgeVlan(type: number, operation: string, vlan: BridgeVlan): void {
    const label = { operation, object: () => `${vlan.id} of index ${vlan.index}` };
    this.#request(type, C.NLM_F_REQUEST, label, (w) => encodeBridgeVlan(w, vlan));
  }

  #address(type: number, flags: number, operation: string, a: AddressSpec, ignore: string[] = []): void {
    const label = { operation, object: () => `${a.address} on index ${a.index}`, ignore };
    this.#request(type, flags, label, (w) => encodeAddress(w, a));
  }

  #route(type: number, flags: number, operation: string, r: Route, ignore: string[] = []): void {
    const label = { operation, object: () => routeName(r), ignore };
    this.#request(type, flags, label, (w) => encodeRoute(w, r, type === RTM_DELROUTE));
  }

  #rule(type: number, flags: number, operation: string, r: Rule, ignore: string[] = []): void {
    this.#request(type, flags, { operation, object: () => ruleName(r), ignore }, (w) => encodeRule(w, r));
  }

  #neighbour(type: number, flags: number, operation: string, n: Neighbour, ignore: string[] = []): void {
    this.#request(type, flags, { operation, object: () => neighbourName(n), ignore }, (w) => encodeNeighbour(w, n));
  }

  #fdb(type: number, flags: number, operation: string, e: FdbEntry, ignore: string[] = []): void {
    this.#request(type, flags, { operation, object: () => fdbName(e), ignore }, (w) => encodeFdb(w, e));
  }
}
