import { announceAddress, isKernelError, type Link, Nft, type NetNs, Rtnl } from '@weft/kernel';
import { formatIp, formatPrefix, type Ip, parseInterfaceAddress, parseIp, prefixContains, prefixOf } from '@weft/net';
import { type Diff, type Entry, type Logger, type Metrics, type Plan, PlanLoop } from '@weft/plan';
import { AnnounceGuard } from './guard.ts';

/** What the announcer reads of a Service of type LoadBalancer. */
export interface AnnouncedService {
  /** `ns/name`. */
  readonly key: string;
  /** Node that is to announce, by the controller's choice. */
  readonly node: string | undefined;
  readonly ips: readonly string[];
}

/** Where they come from; an informer is one. */
interface AnnouncedSource {
  on(handlers: {
    add?(service: AnnouncedService): void;
    update?(before: AnnouncedService, after: AnnouncedService): void;
    delete?(service: AnnouncedService): void;
    synced?(): void;
  }): () => void;
}

export interface L2AnnouncerOptions {
  readonly nodeName: string;
  readonly services: AnnouncedSource;
  /** The node's network namespace; default: the one of this process. */
  readonly ns?: NetNs;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Milliseconds between audits. Default 60,000; 0 for none. */
  readonly auditMs?: number;
  /** Told of the networks this node is on, as sorted CIDRs, at the start and with the audit that finds others. */
  readonly networks?: (cidrs: readonly string[]) => void;
}

/** One address that this node answers for, because of one Service. */
interface Announcement {
  readonly ip: string;
}

/** An address that an interface has, as this file needs it. */
interface Found {
  readonly index: number;
  readonly ip: Ip;
  readonly length: number;
}

/** Pure: what this node announces because of a Service. */
export function compileAnnouncements(service: AnnouncedService | undefined, nodeName: string): Plan<Announcement> {
  const plan = new Map<string, Entry<Announcement>>();
  if (service === undefined || service.node !== nodeName) return plan;
  const [namespace = '', name = ''] = service.key.split('/');
  service.ips.forEach((text, i) => {
    const ip = parseIp(text);
    if (ip === undefined) return;
    const cause = { kind: 'Service', namespace, name, field: `status.loadBalancer.ingress[${i}].ip` };
    plan.set(`${formatIp(ip)} ${service.key}`, { value: { ip: formatIp(ip) }, cause });
  });
  return plan;
}

/**
 * Answers for addresses of load balancers on the node's own network: the kernel holds the address on the interface whose
 * subnet it is of and answers ARP and neighbour solicitations; when it comes, everybody on the link is told. A table of its
 * own keeps what no Service takes away from the node's programs.
 */
export class L2Announcer {
  readonly #options: L2AnnouncerOptions;
  readonly #log: Logger;
  readonly #rt: Rtnl;
  readonly #nft: Nft;
  readonly #guard: AnnounceGuard;
  readonly #loop: PlanLoop<Announcement>;
  readonly #services = new Map<string, AnnouncedService>();
  #detach: (() => void) | undefined;
  /** Addresses of an earlier agent, until the Services that exist have been seen. */
  #older: readonly string[] = [];
  /** Networks last told of. */
  #told: string | undefined;

  constructor(options: L2AnnouncerOptions) {
    this.#options = options;
    this.#log = options.log.child({ component: 'announce' });
    this.#rt = Rtnl.open(options.ns);
    this.#nft = Nft.open(options.ns);
    this.#guard = new AnnounceGuard(this.#nft);
    const { log, metrics, nodeName, auditMs = 60_000 } = options;
    this.#loop = new PlanLoop<Announcement>(
      {
        name: 'announce',
        compile: (unit) => compileAnnouncements(this.#services.get(unit), nodeName),
        apply: (diff) => this.#apply(diff),
        audit: () => this.#audit(),
      },
      { log, metrics, auditMs },
    );
    const gauge = metrics.gauge('weft_announced_addresses', 'Balancer addresses that this node answers for.');
    metrics.beforeRender(() => gauge.set(this.announced.length));
  }

  /** Addresses in effect. */
  get announced(): string[] {
    return [...new Set([...this.#loop.applied.values()].map((entry) => entry.value.ip))].sort();
  }

  async start(): Promise<void> {
    this.#older = await this.#guard.read();
    await this.#tellNetworks();
    this.#loop.hold();
    const set = (key: string, service: AnnouncedService | undefined): void => {
      if (service === undefined) this.#services.delete(key);
      else this.#services.set(key, service);
      this.#loop.touch(key);
    };
    this.#detach = this.#options.services.on({
      add: (service) => set(service.key, service),
      update: (_, after) => set(after.key, after),
      delete: (service) => set(service.key, undefined),
      synced: () => {
        this.#loop.release();
        void this.#forgetOlder();
      },
    });
  }

  /** Resolves when what was seen so far is in effect. */
  idle(): Promise<void> {
    return this.#loop.idle();
  }

  /** Compares the kernel with what is announced now. Returns how much was wrong and has been repaired. */
  audit(): Promise<number> {
    return this.#loop.auditNow();
  }

  /** Stops following. The addresses stay: traffic goes on until another node takes them. */
  async stop(): Promise<void> {
    this.#detach?.();
    await this.#loop.stop();
    this.#rt.close();
    this.#nft.close();
  }

  async #forgetOlder(): Promise<void> {
    // Tried, not in effect: one address that cannot be announced here must not keep the others of an earlier agent.
    await this.#loop.tried();
    const wanted = new Set(this.announced);
    const older = this.#older.filter((ip) => !wanted.has(ip));
    this.#older = [];
    if (older.length === 0) return;
    try {
      await this.#loop.between(async () => {
        await this.#remove(older);
        await this.#guard.write(this.announced);
      });
    } catch (error) {
      this.#log.error('cannot take away addresses that an earlier agent announced', { addresses: older, error });
    }
  }

  async #apply(diff: Diff<Announcement>): Promise<void> {
    const after = new Map(this.#loop.applied);
    for (const key of diff.removed.keys()) after.delete(key);
    for (const [key, entry] of diff.added) after.set(key, entry);
    const wanted = new Set([...after.values()].map((entry) => entry.value.ip));
    const before = new Set(this.announced);
    const gone = [...before].filter((ip) => !wanted.has(ip));
    // The guard is there before the address, and goes after it.
    await this.#guard.write([...new Set([...wanted, ...before, ...this.#older])].sort());
    await this.#remove(gone);
    for (const ip of wanted) if (!before.has(ip)) await this.#add(ip);
    if (gone.length > 0) await this.#guard.write([...new Set([...wanted, ...this.#older])].sort());
  }

  /** Where the controller may send addresses: one that no network of its node holds would be announced by nobody. */
  async #tellNetworks(): Promise<void> {
    const { networks } = this.#options;
    if (networks === undefined) return;
    const out = new Set<string>();
    for (const { index, ip, length } of await this.#found()) {
      if (length >= (ip.family === 4 ? 32 : 128) || isLinkLocal(ip)) continue;
      const link = await this.#rt.links.get(index);
      if (link !== undefined && !link.loopback) out.add(formatPrefix(prefixOf(ip, length)));
    }
    const list = [...out].sort();
    if (list.join() === this.#told) return;
    this.#told = list.join();
    networks(list);
  }

  async #audit(): Promise<number> {
    await this.#tellNetworks();
    const found = await this.#found();
    const missing = this.announced.filter((ip) => !found.some((f) => formatIp(f.ip) === ip));
    for (const ip of missing) await this.#add(ip);
    const guarded = new Set(await this.#guard.read());
    const unguarded = this.announced.filter((ip) => !guarded.has(ip));
    if (unguarded.length > 0) await this.#guard.write(this.announced);
    return missing.length + unguarded.length;
  }

  async #found(): Promise<Found[]> {
    const list = await this.#rt.addresses.list();
    return list.flatMap((a) => {
      const parsed = parseInterfaceAddress(a.address);
      return parsed === undefined ? [] : [{ index: a.index, ip: parsed.ip, length: parsed.length }];
    });
  }

  async #add(text: string): Promise<void> {
    const ip = parseIp(text) as Ip;
    const found = await this.#found();
    const has = found.find((f) => formatIp(f.ip) === text);
    const link = has === undefined ? await this.#linkFor(ip, found) : await this.#rt.links.get(has.index);
    if (link === undefined) {
      throw new Error(`no interface of this node is on the network of ${text}`);
    }
    if (has === undefined) {
      const length = ip.family === 4 ? 32 : 128;
      try {
        await this.#rt.addresses.add({
          index: link.index,
          address: `${text}/${length}`,
          noDad: true,
          noPrefixRoute: true,
        });
      } catch (error) {
        if (!isKernelError(error, 'EEXIST')) throw error;
      }
    }
    if (link.mac !== undefined) {
      announceAddress({ index: link.index, hardware: link.mac }, ip.bytes, this.#options.ns);
    }
    this.#log.info('announcing an address', { address: text, interface: link.name });
  }

  /** The interface whose subnet the address is of; the longest prefix wins. */
  async #linkFor(ip: Ip, found: readonly Found[]): Promise<Link | undefined> {
    const near = found
      .filter((f) => f.ip.family === ip.family && f.length < (ip.family === 4 ? 32 : 128))
      .filter((f) => prefixContains(prefixOf(f.ip, f.length), ip))
      .sort((a, b) => b.length - a.length);
    for (const { index } of near) {
      const link = await this.#rt.links.get(index);
      if (link !== undefined && !link.loopback) return link;
    }
    return undefined;
  }

  async #remove(addresses: readonly string[]): Promise<void> {
    const found = await this.#found();
    for (const text of addresses) {
      for (const { index, ip, length } of found) {
        // An address of the node itself has the length of its network.
        if (formatIp(ip) !== text || length !== (ip.family === 4 ? 32 : 128)) continue;
        await this.#rt.addresses.del({ index, address: `${text}/${length}` });
        this.#log.info('no longer announcing an address', { address: text });
      }
    }
  }
}

function isLinkLocal({ bytes }: Ip): boolean {
  return bytes.length === 16
    ? bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80
    : bytes[0] === 169 && bytes[1] === 254;
}
