import { formatIp, ipFromBytes } from '@weft/net';
import { ENOENT } from '../errno.ts';
import { KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { NlSocket } from '../netlink/socket.ts';
import { type NlMessage, NlReader, NlWriter } from '../netlink/wire.ts';
import { af, ipBytesOf } from '../rtnl/bytes.ts';
import type { NetNs } from '../sys/netns.ts';

const SUBSYS = 6 << 8;
const CMD_CREATE = SUBSYS | 2;
const CMD_DESTROY = SUBSYS | 3;
const CMD_FLUSH = SUBSYS | 4;
const CMD_LIST = SUBSYS | 7;
const CMD_ADD = SUBSYS | 9;
const CMD_DEL = SUBSYS | 10;
const CMD_TYPE = SUBSYS | 13;
/** Newest protocol that every kernel since 2.6.39 speaks. */
const PROTOCOL = 6;

const ATTR_PROTOCOL = 1;
const ATTR_SETNAME = 2;
const ATTR_TYPENAME = 3;
const ATTR_REVISION = 4;
const ATTR_FAMILY = 5;
const ATTR_DATA = 7;
const ATTR_ADT = 8;

const DATA_IP = 1;
const DATA_CIDR = 3;
const DATA_PORT = 4;
const DATA_PORT_TO = 5;
const DATA_PROTO = 7;
const DATA_MAXELEM = 19;
const DATA_IP2 = 20;
const DATA_CIDR2 = 21;

const IPADDR_IPV4 = 1;
const IPADDR_IPV6 = 2;
/** NLA_F_NET_BYTEORDER, which ipset asks for on every number. */
const BE = 0x4000;
const IPSET_MAXNAMELEN = 31;
/** IPSET_ERR_*: the subsystem's own numbers, above the system's. */
const ERROR_TEXTS = new Map<number, string>([
  [4097, 'protocol error'],
  [4098, 'this kernel does not know the type of set'],
  [4099, 'the set holds as many elements as it may'],
  [4100, 'the set is in use by a rule'],
  [4101, 'a set of this name is there already'],
  [4102, 'the set has another type'],
  [4103, 'the element is there already, or is not there'],
  [4104, 'the prefix length is not valid'],
  [4105, 'the netmask is not valid'],
  [4106, 'the address family does not fit'],
  [4109, 'the IPv4 address is not valid'],
  [4110, 'the IPv6 address is not valid'],
]);
const ERR_ELEMENT = 4103;

export type IpSetType = 'hash:ip' | 'hash:ip,port' | 'hash:ip,port,ip' | 'hash:ip,port,net' | 'bitmap:port';

export interface IpSetSpec {
  readonly name: string;
  readonly type: IpSetType;
  /** None for `bitmap:port`. */
  readonly family?: 4 | 6;
  /** Most elements of a hash; default the kernel's 65,536. */
  readonly maxElements?: number;
}

/** An element; which fields it has follows from the type of its set. */
export interface IpSetElement {
  readonly ip?: string;
  readonly port?: number;
  /** IP protocol number that goes with the port of a hash. */
  readonly protocol?: number;
  /** Second address, or the block's of `hash:ip,port,net`. */
  readonly ip2?: string;
  /** Prefix length of `ip2`. */
  readonly length2?: number;
}

export interface IpSetChange {
  readonly do: 'add' | 'del';
  readonly set: string;
  readonly element: IpSetElement;
}

/** Changes sent in one piece. */
const CHUNK = 512;

function error(errno: number, operation: string, object: string): KernelError {
  const extack = ERROR_TEXTS.get(errno);
  return new KernelError({
    errno,
    operation,
    object,
    ...(extack === undefined ? {} : { extack }),
    ...(errno === 4100 ? { hint: 'remove the rules that match it first' } : {}),
  });
}

/** The sets (ipset) of one network namespace, over nfnetlink. */
export class IpSets {
  readonly #socket: NlSocket;
  readonly #revisions = new Map<string, number>();

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): IpSets {
    return new IpSets(NlSocket.open(C.NETLINK_NETFILTER, ns));
  }

  close(): void {
    this.#socket.close();
  }

  /** Makes a set; one of the same name and type that is there stays as it is, one of another type is refused (EEXIST). */
  async create(spec: IpSetSpec): Promise<void> {
    if (spec.name.length > IPSET_MAXNAMELEN) throw error(36, 'create set', spec.name);
    const family = spec.type === 'bitmap:port' ? 0 : af(spec.family ?? 4);
    const revision = await this.#revision(spec.type, family);
    const w = new NlWriter(256);
    this.#begin(w, CMD_CREATE, family);
    w.str(ATTR_SETNAME, spec.name);
    w.str(ATTR_TYPENAME, spec.type);
    w.u8(ATTR_REVISION, revision);
    w.u8(ATTR_FAMILY, family);
    const data = w.nest(ATTR_DATA);
    if (spec.type === 'bitmap:port') {
      w.u16be(DATA_PORT | BE, 0);
      w.u16be(DATA_PORT_TO | BE, 0xffff);
    } else if (spec.maxElements !== undefined) w.u32be(DATA_MAXELEM | BE, spec.maxElements);
    w.endNest(data);
    w.end();
    const { failures } = await this.#socket.request(w);
    if (failures[0] !== undefined) throw error(failures[0].errno, 'create set', `${spec.name} (${spec.type})`);
  }

  /** False when there was no such set. */
  async destroy(name: string): Promise<boolean> {
    return this.#named(CMD_DESTROY, 'destroy set', name);
  }

  /** Empties a set; false when there was none. */
  async flush(name: string): Promise<boolean> {
    return this.#named(CMD_FLUSH, 'flush set', name);
  }

  async #named(command: number, operation: string, name: string): Promise<boolean> {
    const w = new NlWriter(64);
    // Without this flag a set that is not there would be no error.
    this.#begin(w, command, 0, C.NLM_F_EXCL);
    w.str(ATTR_SETNAME, name);
    w.end();
    const { failures } = await this.#socket.request(w);
    const errno = failures[0]?.errno;
    if (errno === undefined) return true;
    if (errno === ENOENT) return false;
    throw error(errno, operation, name);
  }

  /** Adds and deletes elements, in order; what is there already, or is not there, is no error. */
  async change(changes: readonly IpSetChange[]): Promise<void> {
    for (let from = 0; from < changes.length; from += CHUNK) {
      const part = changes.slice(from, from + CHUNK);
      const w = new NlWriter(part.length * 128);
      for (const change of part) {
        this.#begin(w, change.do === 'add' ? CMD_ADD : CMD_DEL, 0);
        w.str(ATTR_SETNAME, change.set);
        const data = w.nest(ATTR_DATA);
        putElement(w, change.element);
        w.endNest(data);
        w.end();
      }
      const { failures } = await this.#socket.request(w);
      for (const { index, errno } of failures) {
        const change = part[index];
        if (errno === ERR_ELEMENT) continue;
        throw error(
          errno,
          change?.do === 'del' ? 'delete element of set' : 'add element to set',
          change === undefined ? 'of a batch' : `${change.set}: ${elementText(change.element)}`,
        );
      }
    }
  }

  /** Elements of a set; undefined when there is none of that name. */
  async list(name: string): Promise<IpSetElement[] | undefined> {
    const w = new NlWriter(64);
    this.#begin(w, CMD_LIST, 0, C.NLM_F_DUMP);
    w.str(ATTR_SETNAME, name);
    w.end();
    let out: IpSetElement[] = [];
    const { failures } = await this.#socket.dump(
      w,
      (m) => out.push(...readElements(m)),
      () => {
        out = [];
      },
    );
    const errno = failures[0]?.errno;
    if (errno === ENOENT) return undefined;
    if (errno !== undefined) throw error(errno, 'list set', name);
    return out;
  }

  /** The newest revision of a type that this kernel has. */
  async #revision(type: IpSetType, family: number): Promise<number> {
    const key = `${type}/${family}`;
    const known = this.#revisions.get(key);
    if (known !== undefined) return known;
    const w = new NlWriter(64);
    this.#begin(w, CMD_TYPE, family);
    w.str(ATTR_TYPENAME, type);
    w.u8(ATTR_FAMILY, family);
    w.end();
    let revision = 0;
    const { failures } = await this.#socket.request(w, {
      onMessage: (m) => {
        const a = new NlReader(m.bytes, m.start + 4, m.end);
        while (a.next()) if (a.type === ATTR_REVISION) revision = a.u8();
      },
    });
    if (failures[0] !== undefined) throw error(failures[0].errno, 'find type of set', type);
    this.#revisions.set(key, revision);
    return revision;
  }

  #begin(w: NlWriter, command: number, family: number, flags = 0): void {
    w.begin(command, C.NLM_F_REQUEST | flags);
    w.put8(family);
    w.u8(ATTR_PROTOCOL, PROTOCOL);
  }
}

function putAddress(w: NlWriter, type: number, address: string): void {
  const bytes = ipBytesOf(address, 'element of set');
  const nest = w.nest(type);
  w.data((bytes.length === 4 ? IPADDR_IPV4 : IPADDR_IPV6) | BE, bytes);
  w.endNest(nest);
}

function putElement(w: NlWriter, element: IpSetElement): void {
  if (element.ip !== undefined) putAddress(w, DATA_IP, element.ip);
  if (element.port !== undefined) w.u16be(DATA_PORT | BE, element.port);
  if (element.protocol !== undefined) w.u8(DATA_PROTO, element.protocol);
  if (element.ip2 !== undefined) putAddress(w, DATA_IP2, element.ip2);
  if (element.length2 !== undefined) w.u8(DATA_CIDR2, element.length2);
}

function readAddress(a: NlReader): string {
  const inner = a.nested();
  while (inner.next()) {
    if (inner.type === IPADDR_IPV4 || inner.type === IPADDR_IPV6) return formatIp(ipFromBytes(inner.data()));
  }
  return '';
}

function readElements(m: NlMessage): IpSetElement[] {
  const out: IpSetElement[] = [];
  const top = new NlReader(m.bytes, m.start + 4, m.end);
  while (top.next()) {
    if (top.type !== ATTR_ADT) continue;
    const list = top.nested();
    while (list.next()) {
      const a = list.nested();
      const element: { -readonly [K in keyof IpSetElement]: IpSetElement[K] } = {};
      while (a.next()) {
        if (a.type === DATA_IP) element.ip = readAddress(a);
        else if (a.type === DATA_IP2) element.ip2 = readAddress(a);
        else if (a.type === DATA_PORT) element.port = a.u16be();
        else if (a.type === DATA_PROTO) element.protocol = a.u8();
        else if (a.type === DATA_CIDR2) element.length2 = a.u8();
        else if (a.type === DATA_CIDR) continue;
      }
      out.push(element);
    }
  }
  return out;
}

function elementText(element: IpSetElement): string {
  const block = element.length2 === undefined ? element.ip2 : `${element.ip2}/${element.length2}`;
  const port = element.protocol === undefined ? element.port : `protocol ${element.protocol}:${element.port}`;
  return [element.ip, port, block].filter((part) => part !== undefined).join(',');
}
