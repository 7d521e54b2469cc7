import {
  announceAddress,
  isKernelError,
  type Link,
  type LinkSpec,
  type NetNs,
  Nft,
  type RtBatch,
  type Route,
  Rtnl,
  writeSysctl,
} from '@weft/kernel';
import { ipBytes } from '@weft/net';
import { type Diff, type Logger, sameValue, WeftError } from '@weft/plan';
import { type DeviceEntry, entryKey, type FabricEntry } from '../entries.ts';
import { Masquerade } from './masquerade.ts';
import { BGP_PROTOCOL, readFabric, ROUTE_PROTOCOL } from './read.ts';

/** Removals go from what depends to what is depended on; additions the other way. */
const ORDER: Readonly<Record<FabricEntry['type'], number>> = {
  device: 0,
  address: 1,
  fdb: 2,
  neighbour: 3,
  route: 4,
  proxy: 5,
  masquerade: 6,
  'masquerade-set': 7,
};

/** Brings fabric plans into effect in one network namespace. */
export class FabricKernel {
  readonly rtnl: Rtnl;
  readonly #nft: Nft;
  readonly #masquerade: Masquerade;
  readonly #ns: NetNs | undefined;
  readonly #log: Logger;
  readonly #desired = new Map<string, FabricEntry>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(ns: NetNs | undefined, log: Logger) {
    this.#ns = ns;
    this.#log = log;
    this.rtnl = Rtnl.open(ns);
    this.#nft = Nft.open(ns);
    this.#masquerade = new Masquerade(this.#nft);
  }

  /** What is in the kernel from an earlier life; it counts as applied from now on. */
  adopt(): Promise<readonly FabricEntry[]> {
    return this.#alone(async () => {
      const found = await readFabric(this.rtnl);
      for (const entry of found) this.#desired.set(entryKey(entry), entry);
      return found;
    });
  }

  apply(diff: Diff<FabricEntry>): Promise<void> {
    const added = [...diff.added.values()].map((entry) => entry.value);
    const changed = [...diff.changed.values()].map(({ from, to }) => ({ from: from.value, to: to.value }));
    const removed = [...diff.removed.values()].map((entry) => entry.value);
    return this.#alone(() => this.#apply(added, changed, removed));
  }

  /** True when the plan wants an entry of this key. */
  wants(key: string): boolean {
    return this.#desired.has(key);
  }

  /** Compares the kernel with the plan and repairs what differs. Returns the number of entries that did. */
  audit(): Promise<number> {
    return this.#alone(async () => {
      const found = new Map((await readFabric(this.rtnl)).map((entry) => [entryKey(entry), entry]));
      const added: FabricEntry[] = [];
      const changed: { from: FabricEntry; to: FabricEntry }[] = [];
      const removed: FabricEntry[] = [];
      for (const [key, entry] of this.#desired) {
        if (entry.type === 'masquerade' || entry.type === 'masquerade-set') continue;
        const there = found.get(key);
        if (there === undefined) added.push(entry);
        else if (!sameValue(there, entry)) changed.push({ from: there, to: entry });
      }
      for (const [key, entry] of found) if (!this.#desired.has(key)) removed.push(entry);
      let repaired = added.length + changed.length + removed.length;
      if (repaired > 0) await this.#apply(added, changed, removed);
      const drift = await this.#masquerade.drift(this.#desired.values());
      if (drift > 0) await this.#masquerade.reset(this.#desired.values());
      repaired += drift;
      return repaired;
    });
  }

  async close(): Promise<void> {
    await this.#tail;
    this.rtnl.close();
    this.#nft.close();
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => {});
    return run;
  }

  async #apply(
    added: readonly FabricEntry[],
    changed: readonly { readonly from: FabricEntry; readonly to: FabricEntry }[],
    removed: readonly FabricEntry[],
  ): Promise<void> {
    for (const entry of removed) this.#desired.delete(entryKey(entry));
    const put = [...added, ...changed.map((change) => change.to)];
    for (const entry of put) this.#desired.set(entryKey(entry), entry);
    const fresh = new Set<string>();
    for (const entry of put) {
      if (entry.type === 'device' && (await this.#ensureDevice(entry))) fresh.add(entry.name);
    }
    for (const device of emptied(removed, this.#desired.values())) fresh.add(device);
    // A device that was made anew, or that loses its last address, loses all routes.
    const carried = [...this.#desired.values()].filter(
      (e) => 'device' in e && e.device !== undefined && fresh.has(e.device),
    );
    const writes = [...new Map([...put, ...carried].map((entry) => [entryKey(entry), entry])).values()];
    for (const device of new Set(put.flatMap((e) => (e.type === 'proxy' ? [e.device] : [])))) this.#answerOn(device);
    const indexes = await this.#indexes([...writes, ...removed]);
    const failures: unknown[] = [];
    const attempt = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((error) => failures.push(error));
    };
    const byOrder = (a: FabricEntry, b: FabricEntry): number => ORDER[a.type] - ORDER[b.type];
    await attempt(() =>
      this.rtnl.batch((b) => {
        // New addresses before old ones go: with its last address a device loses its routes.
        for (const entry of writes) if (entry.type === 'address') writeEntry(b, entry, indexes);
        for (const entry of [...removed].sort(byOrder).reverse()) deleteEntry(b, entry, indexes);
        for (const entry of [...writes].sort(byOrder)) if (entry.type !== 'address') writeEntry(b, entry, indexes);
      }),
    );
    for (const entry of removed) {
      if (entry.type === 'device') await attempt(() => this.rtnl.links.del(entry.name, { missingOk: true }));
    }
    await this.#announce(added.flatMap((entry) => (entry.type === 'proxy' ? [entry] : [])));
    await attempt(() => this.#masquerade.apply(put, removed, this.#desired.values()));
    if (failures.length > 0) throw failures[0];
  }

  async #indexes(entries: readonly FabricEntry[]): Promise<ReadonlyMap<string, number>> {
    const names = new Set(entries.flatMap((e) => ('device' in e && e.device !== undefined ? [e.device] : [])));
    const indexes = new Map<string, number>();
    for (const name of names) {
      const link = await this.rtnl.links.get(name);
      if (link !== undefined) indexes.set(name, link.index);
    }
    return indexes;
  }

  /** Makes the device what the entry says. True when it was made anew. */
  async #ensureDevice(entry: DeviceEntry): Promise<boolean> {
    const link = await this.rtnl.links.get(entry.name);
    if (link !== undefined && fits(link, entry)) {
      const mac = entry.mac ?? link.mac;
      if (link.mtu !== entry.mtu || link.mac !== mac || !link.up) {
        await this.rtnl.links.set(link.index, {
          mtu: entry.mtu,
          ...(entry.mac === undefined ? {} : { mac: entry.mac }),
          up: true,
        });
        // Its routes went when it was down.
        return !link.up;
      }
      return false;
    }
    if (link !== undefined) await this.rtnl.links.del(link.index, { missingOk: true });
    await this.#makeDevice(entry);
    const { name } = entry;
    await this.rtnl.links.set(name, { mtu: entry.mtu, addrgenmode: 'none', up: true });
    // A packet from a node's own address to a pod comes by the tunnel, its answer goes by the underlay.
    this.#sysctl(`net/ipv4/conf/${name}/rp_filter`, '2');
    return true;
  }

  async #makeDevice(entry: DeviceEntry): Promise<void> {
    try {
      await this.rtnl.links.add(linkSpec(entry));
    } catch (error) {
      if (isKernelError(error, 'EEXIST'))
        this.#log.error(`another ${entry.kind} device has our identifier or port`, { device: entry.name, error });
      if (isKernelError(error, 'EOPNOTSUPP'))
        throw new WeftError({
          code: 'FABRIC_KERNEL_LACKS_DRIVER',
          message: `fabric: device ${entry.name}: this kernel has no driver "${entry.kind}"`,
          hint: `load its module (modprobe ${MODULES[entry.kind]}), or use another backend`,
          cause: error,
        });
      throw error;
    }
  }

  /** Lets the underlay answer for others at once: the kernel waits up to 0.8 s by default, and leaves NDP alone. */
  #answerOn(device: string): void {
    this.#sysctl(`net/ipv4/neigh/${device}/proxy_delay`, '0');
    this.#sysctl(`net/ipv6/neigh/${device}/proxy_delay`, '0');
    this.#sysctl(`net/ipv6/conf/${device}/proxy_ndp`, '1');
  }

  /** Tells the link that pods are here now: who has known an address elsewhere would else go on sending there. */
  async #announce(entries: readonly Extract<FabricEntry, { readonly type: 'proxy' }>[]): Promise<void> {
    for (const { device, address } of entries) {
      const link = await this.rtnl.links.get(device);
      if (link?.mac === undefined) continue;
      try {
        announceAddress({ index: link.index, hardware: link.mac }, ipBytes(address), this.#ns);
      } catch (error) {
        this.#log.warn('cannot announce the address of a pod', { address, device, error });
      }
    }
  }

  #sysctl(key: string, value: string): void {
    try {
      writeSysctl(key, value, this.#ns);
    } catch (error) {
      this.#log.warn('cannot write a sysctl', { key, value, error });
    }
  }
}

/** Modules of the drivers. */
const MODULES: Readonly<Record<DeviceEntry['kind'], string>> = {
  vxlan: 'vxlan',
  ipip: 'ipip',
  ip6tnl: 'ip6_tunnel',
  gre: 'ip_gre',
  ip6gre: 'ip6_gre',
  geneve: 'geneve',
};

/** True when a device differs from the entry in nothing that can only be said when it is made. */
function fits(link: Link, entry: DeviceEntry): boolean {
  if (link.kind !== entry.kind) return false;
  if (entry.kind !== 'vxlan') return link.external !== undefined && link.external.port === entry.port;
  const { vxlan } = link;
  return vxlan?.id === entry.vni && vxlan.port === entry.port && vxlan.local === entry.local && vxlan.learning !== true;
}

function linkSpec(entry: DeviceEntry): LinkSpec {
  const { name, kind, mtu } = entry;
  if (entry.kind === 'vxlan') {
    const { mac, vni, port, local } = entry;
    return { name, kind, mtu, mac, vxlan: { id: vni, port, local, learning: false } };
  }
  const { mac, port } = entry;
  const external = { kind: entry.kind, ...(port === undefined ? {} : { port }) };
  return { name, kind, ...(mac === undefined ? {} : { mac }), external };
}

/** Devices that the removals leave without an IPv4 or IPv6 address. */
function emptied(removed: readonly FabricEntry[], desired: Iterable<FabricEntry>): ReadonlySet<string> {
  const family = (address: string): string => (address.includes(':') ? '6' : '4');
  const left = new Set<string>();
  for (const entry of desired) if (entry.type === 'address') left.add(`${family(entry.address)} ${entry.device}`);
  const lost = removed.flatMap((entry) =>
    entry.type === 'address' && !left.has(`${family(entry.address)} ${entry.device}`) ? [entry.device] : [],
  );
  return new Set(lost);
}

function routeOf(entry: FabricEntry & { readonly type: 'route' }, indexes: ReadonlyMap<string, number>): Route {
  const oif = entry.device === undefined ? undefined : indexes.get(entry.device);
  return {
    dst: entry.dst,
    type: entry.kind,
    protocol: entry.protocol === 'bgp' ? BGP_PROTOCOL : ROUTE_PROTOCOL,
    ...(entry.hops === undefined ? {} : { nexthops: entry.hops.map((via) => ({ via })) }),
    ...(entry.via === undefined ? {} : { via: entry.via }),
    ...(oif === undefined ? {} : { oif }),
    // The peers' tunnel addresses are in no subnet of the device.
    ...(oif === undefined || entry.via === undefined ? {} : { onlink: true }),
    ...(entry.encap === undefined ? {} : { encap: entry.encap }),
    ...(entry.metric === undefined ? {} : { metric: entry.metric }),
  };
}

function writeEntry(b: RtBatch, entry: FabricEntry, indexes: ReadonlyMap<string, number>): void {
  const index = 'device' in entry && entry.device !== undefined ? indexes.get(entry.device) : undefined;
  if (entry.type === 'route') {
    if (entry.device === undefined || index !== undefined) b.routes.replace(routeOf(entry, indexes));
  } else if (index === undefined) return;
  else if (entry.type === 'address') b.addresses.replace({ index, address: entry.address, noDad: true });
  else if (entry.type === 'neighbour') b.neighbours.replace({ index, address: entry.address, mac: entry.mac });
  else if (entry.type === 'fdb') b.fdb.replace({ index, mac: entry.mac, dst: entry.dst });
  else if (entry.type === 'proxy')
    b.neighbours.replace({ index, address: entry.address, proxy: true, protocol: ROUTE_PROTOCOL });
}

function deleteEntry(b: RtBatch, entry: FabricEntry, indexes: ReadonlyMap<string, number>): void {
  const index = 'device' in entry && entry.device !== undefined ? indexes.get(entry.device) : undefined;
  const missingOk = { missingOk: true } as const;
  if (entry.type === 'route') {
    if (entry.device !== undefined && index === undefined) return;
    // Whatever its type is: somebody else may have used our protocol number.
    const { type: _type, ...any } = routeOf(entry, indexes);
    b.routes.del(any, missingOk);
  } else if (index === undefined) return;
  else if (entry.type === 'address') b.addresses.del({ index, address: entry.address }, missingOk);
  else if (entry.type === 'neighbour') b.neighbours.del({ index, address: entry.address }, missingOk);
  else if (entry.type === 'fdb') b.fdb.del({ index, mac: entry.mac, dst: entry.dst }, missingOk);
  else if (entry.type === 'proxy') b.neighbours.del({ index, address: entry.address, proxy: true }, missingOk);
}
