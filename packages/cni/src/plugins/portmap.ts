import { Conntrack, isKernelError, writeSysctl } from '@weft/kernel';
import type { Logger } from '@weft/plan';
import type { Journal } from '../ipam/journal.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { attachmentComment, staleComment } from './common/comment.ts';
import { requirePrev } from './common/conf.ts';
import { type PortmapConf, portmapBackend, readPortmapConf } from './portmap-conf.ts';
import { IptablesPorts } from './portmap-iptables.ts';
import { type FoundPorts, type PodPorts, PortmapTable } from './portmap-table.ts';
import { hostInterface, podAddresses, type PortEntry, type PortMapping, readPortMappings } from './ports.ts';

const UDP = 17;

/** The host ports of one attachment. */
export interface PortRecord extends Attachment, PodPorts {
  readonly network: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface PortmapDeps {
  readonly node: NodeNetwork;
  readonly journal: Pick<Journal<PortRecord>, 'put' | 'remove'>;
  readonly records: ReadonlyMap<string, PortRecord>;
  readonly log: Logger;
  /** True where other processes change the table too: nothing but the own attachment's part is ever written anew. */
  readonly shared?: boolean;
}

/**
 * hostPorts: by elements of nftables maps of our own, for which nothing is executed, or by the reference plugin's chains
 * of iptables. A chained plugin.
 */
export class PortmapPlugin implements Plugin {
  readonly name = 'portmap';
  readonly #deps: PortmapDeps;
  readonly #table: PortmapTable;
  readonly #iptables: IptablesPorts;
  /** By comment. */
  readonly #records = new Map<string, PortRecord>();
  /** Text of address, protocol and port → comment of the attachment that has it. */
  readonly #taken = new Map<string, string>();

  constructor(deps: PortmapDeps, table: PortmapTable = new PortmapTable(deps.node)) {
    this.#deps = deps;
    this.#table = table;
    this.#iptables = new IptablesPorts(deps.node);
    for (const record of deps.records.values()) this.#keep(record);
  }

  /**
   * Brings journal and kernel together; at start. The kernel is right about what plugins without an agent did meanwhile;
   * a table that is gone as a whole was somebody else's doing, and is written again.
   */
  async restore(): Promise<void> {
    const found = await this.#table.load();
    if (found === undefined) {
      if (this.#records.size > 0 || (await this.#table.exists())) await this.#table.reset([...this.#records.values()]);
      return;
    }
    for (const [comment, record] of this.#records) if (!found.has(comment)) this.#forget(record);
    for (const one of found.values()) {
      if (this.#records.has(one.comment)) continue;
      const record = recordOf(one);
      this.#deps.journal.put(record.comment, record);
      this.#keep(record);
    }
    const whole = await Promise.all([...this.#records.values()].map((record) => this.#table.has(record)));
    if (whole.includes(false)) await this.#table.reset([...this.#records.values()]);
  }

  close(): void {
    this.#table.close();
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const prevResult = requirePrev(request);
    const conf = readPortmapConf(request.config);
    const mappings = readPortMappings(request.config);
    if (mappings.length === 0) return prevResult;
    const comment = attachmentComment(request.network, request);
    const entries = entriesOf(mappings, prevResult, request.ifname);
    if (entries.length === 0) {
      throw new CniError(CniCode.invalidConfig, 'portmap: the result so far has no pod address of the right family');
    }
    if (conf.backend === 'iptables') await this.#iptables.add(request, conf, mappings, prevResult);
    else await this.#addElements(request, conf, comment, entries);
    if (conf.snat) await this.#allowLoopback(entries, prevResult);
    await this.#forgetFlows(entries);
    return prevResult;
  }

  async #addElements(
    { network, containerId, ifname }: PluginRequest,
    conf: PortmapConf,
    comment: string,
    entries: readonly PortEntry[],
  ): Promise<void> {
    const old = this.#records.get(comment);
    if (old !== undefined) await this.#drop(old);
    const { snat, masqAll, conditions } = conf;
    const any = conditions[4].length + conditions[6].length > 0;
    const record: PortRecord = {
      network,
      containerId,
      ifname,
      entries,
      comment,
      snat,
      masqAll,
      since: Date.now(),
      ...(any ? { conditions } : {}),
    };
    this.#refuseTaken(record);
    this.#deps.journal.put(comment, record);
    this.#keep(record);
    try {
      await this.#write(record);
    } catch (error) {
      await this.#drop(record);
      throw error;
    }
  }

  async del(request: PluginRequest): Promise<void> {
    const record = this.#records.get(attachmentComment(request.network, request));
    if (record !== undefined) {
      await this.#drop(record);
      await this.#forgetFlows(record.entries);
    }
    if (portmapBackend(request.config) === 'iptables' && readPortMappings(request.config).length > 0) {
      await this.#iptables.del(request);
    }
  }

  async check(request: PluginRequest): Promise<void> {
    const conf = readPortmapConf(request.config);
    const mappings = readPortMappings(request.config);
    const result = request.prevResult ?? {};
    if (conf.backend === 'iptables') {
      if (mappings.length > 0) await this.#iptables.check(request, conf, mappings, result);
      return;
    }
    const record = this.#records.get(attachmentComment(request.network, request));
    const wanted = entriesOf(mappings, result, request.ifname);
    const present = new Set((record?.entries ?? []).map(slot));
    const missing = wanted.find((entry) => !present.has(slot(entry)) && conf.conditions[entry.family].length === 0);
    if (missing !== undefined) throw new CniError(CniCode.checkFailed, `host port ${slot(missing)} is not mapped`);
    if (
      wanted.length > 0 &&
      (record === undefined || !(await this.#table.has({ ...record, entries: wanted, ...conf })))
    ) {
      const text = wanted.map(slot).join(', ');
      throw new CniError(CniCode.checkFailed, `the kernel's maps of host ports lack ${text}`);
    }
  }

  async status(): Promise<void> {
    // An ADD can fail for a port that is taken, but no port is needed.
  }

  async gc(request: PluginRequest): Promise<void> {
    const stale = staleComment(request);
    if (stale === undefined) return;
    await this.keepOnly((record) => !stale(record.comment));
    if (portmapBackend(request.config) === 'iptables') await this.#iptables.gc(request);
  }

  /** Drops the ports of all attachments but those that are kept. */
  async keepOnly(keep: (record: PortRecord) => boolean): Promise<void> {
    const stale = [...this.#records.values()].filter((record) => !keep(record));
    await Promise.all(stale.map((record) => this.#drop(record)));
  }

  #keep(record: PortRecord): void {
    this.#records.set(record.comment, record);
    for (const entry of exclusive(record)) this.#taken.set(slot(entry), record.comment);
  }

  #refuseTaken(record: PortRecord): void {
    for (const entry of exclusive(record)) {
      const owner = this.#taken.get(slot(entry));
      if (owner === undefined || owner === record.comment) continue;
      throw new CniError(CniCode.hostPortTaken, `host port ${slot(entry)} is in use by ${owner.replaceAll(' ', '/')}`);
    }
  }

  async #write(record: PortRecord): Promise<void> {
    try {
      await this.#table.add(record);
    } catch (error) {
      // Somebody deleted our table, or elements of it.
      if (!isKernelError(error, 'ENOENT') && !isKernelError(error, 'EEXIST')) throw error;
      if (this.#deps.shared !== true) await this.#table.reset([...this.#records.values()]);
      else if (isKernelError(error, 'ENOENT')) throw error;
      else {
        const text = record.entries.map(slot).join(', ');
        throw new CniError(CniCode.hostPortTaken, `one of the host ports ${text} is in use`, undefined, error);
      }
    }
  }

  async #drop(record: PortRecord): Promise<void> {
    // What conditions were is not known of those that another process has added.
    const marked = this.#deps.shared === true || record.conditions !== undefined;
    try {
      await (marked ? this.#table.removeMarked(record.comment) : this.#table.remove(record));
    } catch (error) {
      if (this.#deps.shared === true) throw error;
      const rest = [...this.#records.values()].filter((other) => other.comment !== record.comment);
      this.#deps.log.warn('the table of host ports is not as it was left; writing it anew', { error });
      await this.#table.reset(rest);
    }
    this.#forget(record);
  }

  #forget(record: PortRecord): void {
    const { comment } = record;
    this.#records.delete(comment);
    for (const entry of record.entries) if (this.#taken.get(slot(entry)) === comment) this.#taken.delete(slot(entry));
    this.#deps.journal.remove(comment, Date.now());
  }

  /** Lets the node reach the ports by 127.0.0.1: answers to that address are otherwise refused as martians. */
  async #allowLoopback(entries: readonly PortEntry[], result: CniResult): Promise<void> {
    const name = hostInterface(result);
    const local = entries.some((e) => e.family === 4 && (e.hostIp === undefined || e.hostIp.startsWith('127.')));
    if (!local || name === undefined) return;
    const { links } = this.#deps.node.rtnl;
    try {
      const link = await links.get(name);
      // Packets of a bridge's port come in by the bridge.
      const bridge = link?.master === undefined ? undefined : await links.get(link.master);
      writeSysctl(`net/ipv4/conf/${bridge?.name ?? name}/route_localnet`, '1', this.#deps.node.ns);
    } catch (error) {
      this.#deps.log.warn('host ports cannot be reached by 127.0.0.1', { link: name, error });
    }
  }

  /** UDP flows keep their translation as long as packets come: those to a port that changed hands must be forgotten. */
  async #forgetFlows(entries: readonly PortEntry[]): Promise<void> {
    const udp = entries.filter((entry) => entry.protocol === 'udp');
    if (udp.length === 0) return;
    const conntrack = Conntrack.open(this.#deps.node.ns);
    try {
      for (const family of new Set(udp.map((entry) => entry.family))) {
        const ports = new Set(udp.filter((entry) => entry.family === family).map((entry) => entry.hostPort));
        await conntrack.deleteWhere({ family, proto: UDP }, (flow) => ports.has(flow.orig.dport));
      }
    } catch (error) {
      this.#deps.log.warn('cannot flush UDP flows of host ports', { error });
    } finally {
      conntrack.close();
    }
  }
}

/** Entries that keep others off their port; with conditions, several pods may share one. */
function exclusive({ entries, conditions }: PortRecord): PortEntry[] {
  return entries.filter(({ family }) => (conditions?.[family] ?? []).length === 0);
}

/** What the kernel knows of an attachment that no journal has. */
export function recordOf({ comment, entries, snat, masqAll, rules }: FoundPorts): PortRecord {
  const [network = '', containerId = '', ifname = ''] = comment.split(' ');
  return {
    network,
    containerId,
    ifname,
    entries,
    comment,
    snat,
    masqAll,
    since: Date.now(),
    ...(rules > 0 ? { conditions: { 4: [], 6: [] } } : {}),
  };
}

function slot(entry: PortEntry): string {
  const address = entry.hostIp ?? (entry.family === 4 ? '0.0.0.0' : '::');
  return `${address.includes(':') ? `[${address}]` : address}:${entry.hostPort}/${entry.protocol}`;
}

function entriesOf(mappings: readonly PortMapping[], result: CniResult, ifname: string): readonly PortEntry[] {
  const pod = podAddresses(result, ifname);
  const entries = new Map<string, PortEntry>();
  for (const { hostIp, protocol, hostPort, containerPort } of mappings) {
    for (const family of [4, 6] as const) {
      const podIp = (family === 4 ? pod.v4 : pod.v6)?.split('/')[0];
      if (podIp === undefined || (hostIp !== undefined && hostIp.includes(':') !== (family === 6))) continue;
      const entry: PortEntry = { family, hostIp, protocol, hostPort, podIp, containerPort };
      entries.set(slot(entry), entry);
    }
  }
  return [...entries.values()];
}
