import {
  Conntrack,
  type IpSetElement,
  IpSets,
  Ipvs,
  type IpvsService,
  isKernelError,
  type NetNs,
  Rtnl,
  values,
  writeSysctl,
} from '@weft/kernel';
import type { Family } from '@weft/net';
import { WeftError } from '@weft/plan';
import { type Packed, packAddress, packPort } from '../model/packed.ts';
import { type IpvsSettings, serverKey } from './compile.ts';
import { elementKey, type Found, type FoundServer, type Steps } from './family.ts';
import { kernelSet, LINK, SET_NAMES, SETS, type SetName } from './names.ts';

/** State of a connection in conntrack. */
const TCP_ESTABLISHED = 3;
/** Most elements that a set may hold: kube-proxy leaves the kernel's 65,536, which a large cluster exceeds. */
const MAX_ELEMENTS = 1_048_576;

/** The parts of the kernel that this mode writes to, in one namespace. */
export class IpvsKernel {
  readonly ipvs: Ipvs;
  readonly sets: IpSets;
  readonly #rt: Rtnl;
  readonly #ns: NetNs | undefined;

  private constructor(ipvs: Ipvs, ns: NetNs | undefined) {
    this.ipvs = ipvs;
    this.#ns = ns;
    this.sets = IpSets.open(ns);
    this.#rt = Rtnl.open(ns);
  }

  /** Rejects with PROXY_IPVS_MISSING on a kernel that has no IPVS. */
  static async open(ns: NetNs | undefined): Promise<IpvsKernel> {
    try {
      return new IpvsKernel(await Ipvs.open(ns), ns);
    } catch (cause) {
      if (!isKernelError(cause, 'ENOENT')) throw cause;
      throw new WeftError({
        code: 'PROXY_IPVS_MISSING',
        message: 'the ipvs data plane needs IPVS, which this kernel does not have (CONFIG_IP_VS, module ip_vs)',
        hint: 'load the modules ip_vs, ip_vs_rr and xt_set, or use --proxy-mode nftables',
        cause,
      });
    }
  }

  close(): void {
    this.ipvs.close();
    this.sets.close();
    this.#rt.close();
  }

  /** Makes what has to be there before any Service: settings, the dummy link, the sets. */
  async prepare(families: readonly Family[], settings: IpvsSettings): Promise<void> {
    const sysctl = (key: string, value: string): void => writeSysctl(key, value, this.#ns);
    // Without its own connections in conntrack IPVS cannot be masqueraded.
    sysctl('net.ipv4.vs.conntrack', '1');
    sysctl('net.ipv4.vs.expire_nodest_conn', '1');
    sysctl('net.ipv4.vs.expire_quiescent_template', '1');
    sysctl('net.ipv4.ip_forward', '1');
    if (settings.strictARP === true) {
      sysctl('net.ipv4.conf.all.arp_ignore', '1');
      sysctl('net.ipv4.conf.all.arp_announce', '2');
    }
    const { tcpTimeout: tcp = 0, tcpFinTimeout: tcpFin = 0, udpTimeout: udp = 0 } = settings;
    if (tcp + tcpFin + udp > 0) await this.ipvs.setTimeouts({ tcp, tcpFin, udp });
    if ((await this.#rt.links.get(LINK)) === undefined) await this.#rt.links.add({ name: LINK, kind: 'dummy' });
    for (const family of families) await this.#makeSets(family);
  }

  async #makeSets(family: Family): Promise<void> {
    for (const name of SET_NAMES) {
      const { type } = SETS[name];
      const spec = { name: kernelSet(name, family), type, family, maxElements: MAX_ELEMENTS };
      try {
        await this.sets.create(spec);
      } catch (error) {
        // A set that kube-proxy made takes less; what it has and we do not need is taken away in time.
        if (!isKernelError(error, 'EEXIST')) throw error;
      }
    }
  }

  /** What there is of one family. */
  async read(family: Family): Promise<Found> {
    const servers = new Map<string, FoundServer>();
    for (const { stats: _, ...service } of await this.ipvs.services()) {
      if (service.address.includes(':') !== (family === 6)) continue;
      const weights = new Map<Packed, number>();
      for (const { address, port, weight } of await this.ipvs.destinations(service))
        weights.set((packAddress(address) ?? '') + packPort(port), weight);
      servers.set(serverKey(service), { service, weights });
    }
    const elements = new Map<SetName, Map<string, IpSetElement>>();
    for (const name of SET_NAMES) {
      const list = (await this.sets.list(kernelSet(name, family))) ?? [];
      elements.set(name, new Map(list.map((element) => [elementKey(element), element])));
    }
    return { servers, elements, bound: await this.#bound(family) };
  }

  async #bound(family: Family): Promise<Set<string>> {
    const link = await this.#rt.links.get(LINK);
    if (link === undefined) return new Set();
    const all = await this.#rt.addresses.list();
    const own = all.filter((a) => a.index === link.index && a.family === family);
    return new Set(own.map((a) => a.address.split('/')[0] as string).filter((a) => !a.startsWith('fe80:')));
  }

  /** Addresses of this node on which Services can be reached: loopback, link-local and the dummy link's left out. */
  async localAddresses(): Promise<Record<Family, string[]>> {
    const [links, all] = await Promise.all([this.#rt.links.list(), this.#rt.addresses.list()]);
    const left = new Set(links.filter((l) => l.name === LINK || l.loopback).map((l) => l.index));
    const out: Record<Family, string[]> = { 4: [], 6: [] };
    for (const { index, family, address } of all) {
      const text = address.split('/')[0] as string;
      if (!left.has(index) && !/^(169\.254\.|fe[89ab])/.test(text)) out[family].push(text);
    }
    return { 4: out[4].sort(), 6: out[6].sort() };
  }

  async bind(steps: Pick<Steps, 'bind' | 'unbind'>, what: 'bind' | 'unbind'): Promise<void> {
    const list = steps[what];
    if (list.length === 0) return;
    const link = await this.#rt.links.get(LINK);
    if (link === undefined) {
      if (what === 'unbind') return;
      throw new WeftError({
        code: 'PROXY_IPVS_LINK',
        message: `the link ${LINK}, which holds Service addresses, is gone`,
        hint: 'the next audit makes it again; look for a program that deletes links',
      });
    }
    const full = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;
    await this.#rt.batch((b) => {
      for (const address of list) {
        const spec = { index: link.index, address: full(address), noDad: true };
        if (what === 'bind') b.addresses.replace(spec);
        else b.addresses.del(spec, { missingOk: true });
      }
    });
  }

  /** Virtual services of ours: others may have some beside them. Ours are on addresses of the link, and on NodePorts. */
  async #ours(families: readonly Family[]): Promise<IpvsService[]> {
    const bound = new Set<string>();
    for (const family of families) for (const address of await this.#bound(family)) bound.add(address);
    const marked = new Set<string>();
    for (const family of families) {
      const list = (name: SetName): Promise<IpSetElement[] | undefined> => this.sets.list(kernelSet(name, family));
      for (const { port } of (await list('KUBE-NODE-PORT-TCP')) ?? []) marked.add(`6|${port}`);
      for (const { port } of (await list('KUBE-NODE-PORT-UDP')) ?? []) marked.add(`17|${port}`);
      for (const { port } of (await list('KUBE-NODE-PORT-SCTP-HASH')) ?? []) marked.add(`132|${port}`);
    }
    const all = await this.ipvs.services();
    return all.filter((s) => bound.has(s.address) || marked.has(`${s.protocol}|${s.port}`));
  }

  /**
   * Open TCP connections that need what is ours: by a virtual service, or from an address of the link, which the node's
   * own connections to it have for their source. IPVS's own count holds handshakes for two minutes.
   */
  async openConnections(families: readonly Family[]): Promise<number> {
    const keys = new Set((await this.#ours(families)).map(serverKey));
    const bound = new Set<string>();
    for (const family of families) for (const address of await this.#bound(family)) bound.add(address);
    const conntrack = Conntrack.open(this.#ns);
    try {
      const flows = await conntrack.dump({ proto: 6 });
      return flows.filter(({ tcpState, status, orig }) => {
        if (tcpState !== TCP_ESTABLISHED) return false;
        if (bound.has(orig.src)) return true;
        return (status & values.CT_STATUS.dnat) === 0 && keys.has(`${orig.dst}|6|${orig.dport}`);
      }).length;
    } finally {
      conntrack.close();
    }
  }

  /** Removes the virtual services of ours that are not TCP, and the flows that go by them: their next packet is a first one. */
  async removeConnectionless(families: readonly Family[]): Promise<void> {
    const ours = (await this.#ours(families)).filter((service) => service.protocol !== 6);
    if (ours.length === 0) return;
    await this.ipvs.change(ours.map((service) => ({ do: 'delService' as const, service })));
    const keys = new Set(ours.map(serverKey));
    const conntrack = Conntrack.open(this.#ns);
    try {
      await conntrack.deleteWhere({}, ({ proto, orig }) => keys.has(`${orig.dst}|${proto}|${orig.dport}`));
    } finally {
      conntrack.close();
    }
  }

  /** Removes every virtual service of ours, the link and the sets. */
  async remove(families: readonly Family[]): Promise<void> {
    const link = await this.#rt.links.get(LINK);
    const ours = await this.#ours(families);
    await this.ipvs.change(ours.map((service) => ({ do: 'delService' as const, service })));
    if (link !== undefined) await this.#rt.links.del(LINK);
    for (const family of families) for (const name of SET_NAMES) await this.sets.destroy(kernelSet(name, family));
  }
}
