import { Conntrack, isKernelError, writeSysctl } from '@weft/kernel';
import type { Logger } from '@weft/plan';
import { attachmentKey } from '../ipam/ipam.ts';
import type { Journal } from '../ipam/journal.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { booleanField } from '../spec/json.ts';
import type { Attachment, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { hostInterface, podAddresses, type PortMapping, readPortMappings } from './ports.ts';
import { type PortEntry, PortmapTable } from './portmap-table.ts';

const UDP = 17;

/** The host ports of one attachment. */
export interface PortRecord extends Attachment {
  readonly network: string;
  readonly entries: readonly PortEntry[];
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface PortmapDeps {
  readonly node: NodeNetwork;
  readonly journal: Journal<PortRecord>;
  readonly records: ReadonlyMap<string, PortRecord>;
  readonly log: Logger;
}

/** hostPorts, by one element per port in an nftables map of our own; nothing is executed. A chained plugin. */
export class PortmapPlugin implements Plugin {
  readonly name = 'portmap';
  readonly #deps: PortmapDeps;
  readonly #table: PortmapTable;
  readonly #records: Map<string, PortRecord>;
  /** Text of address, protocol and port → the attachment that has it. */
  readonly #taken = new Map<string, string>();

  constructor(deps: PortmapDeps) {
    this.#deps = deps;
    this.#table = new PortmapTable(deps.node.ns);
    this.#records = new Map(deps.records);
    for (const [key, record] of this.#records) this.#mark(key, record.entries);
  }

  /** Brings the kernel's table to what the journal says; at start. */
  async restore(): Promise<void> {
    if (this.#records.size > 0 || (await this.#table.exists())) await this.#table.reset([...this.#records.values()]);
  }

  close(): void {
    this.#table.close();
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { prevResult } = request;
    if (prevResult === undefined) {
      throw new CniError(CniCode.invalidConfig, 'portmap must be called as a chained plugin: prevResult is missing');
    }
    const mappings = readPortMappings(request.config);
    if (mappings.length === 0) return prevResult;
    const key = attachmentKey(request.network, request);
    const old = this.#records.get(key);
    if (old !== undefined) await this.#drop(key, old);
    const entries = entriesOf(mappings, prevResult);
    if (entries.length === 0) {
      throw new CniError(CniCode.invalidConfig, 'portmap: the result so far has no pod address of the right family');
    }
    this.#refuseTaken(key, entries);
    const { network, containerId, ifname } = request;
    const record: PortRecord = { network, containerId, ifname, entries, since: Date.now() };
    this.#deps.journal.put(key, record);
    this.#records.set(key, record);
    this.#mark(key, entries);
    try {
      await this.#write(record);
      this.#allowLoopback(entries, prevResult, booleanField(request.config, 'snat') ?? true);
      await this.#forgetFlows(entries);
    } catch (error) {
      await this.#drop(key, record);
      throw error;
    }
    return prevResult;
  }

  async del(request: PluginRequest): Promise<void> {
    const key = attachmentKey(request.network, request);
    const record = this.#records.get(key);
    if (record === undefined) return;
    await this.#drop(key, record);
    await this.#forgetFlows(record.entries);
  }

  async check(request: PluginRequest): Promise<void> {
    const mappings = readPortMappings(request.config);
    const record = this.#records.get(attachmentKey(request.network, request));
    const wanted = entriesOf(mappings, request.prevResult ?? {}).map(slot);
    const present = new Set((record?.entries ?? []).map(slot));
    const missing = wanted.find((text) => !present.has(text));
    if (missing !== undefined) throw new CniError(CniCode.checkFailed, `host port ${missing} is not mapped`);
    if (record !== undefined && wanted.length > 0 && !(await this.#table.has(record))) {
      throw new CniError(CniCode.checkFailed, `the kernel's maps of host ports lack ${wanted.join(', ')}`);
    }
  }

  async status(): Promise<void> {
    // An ADD can fail for a port that is taken, but no port is needed.
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments, network } = request;
    if (validAttachments === undefined) return;
    await this.keepOnly((record) => record.network !== network || isNamed(validAttachments, record));
  }

  /** Drops the ports of all attachments but those that are kept. */
  async keepOnly(keep: (record: PortRecord) => boolean): Promise<void> {
    const stale = [...this.#records].filter(([, record]) => !keep(record));
    await Promise.all(stale.map(([key, record]) => this.#drop(key, record)));
  }

  #mark(key: string, entries: readonly PortEntry[]): void {
    for (const entry of entries) this.#taken.set(slot(entry), key);
  }

  #refuseTaken(key: string, entries: readonly PortEntry[]): void {
    for (const entry of entries) {
      const owner = this.#taken.get(slot(entry));
      if (owner === undefined || owner === key) continue;
      throw new CniError(CniCode.hostPortTaken, `host port ${slot(entry)} is in use by ${owner}`);
    }
  }

  async #write(record: PortRecord): Promise<void> {
    try {
      await this.#table.add(record);
    } catch (error) {
      // Somebody deleted our table, or elements of it.
      if (!isKernelError(error, 'ENOENT') && !isKernelError(error, 'EEXIST')) throw error;
      await this.#table.reset([...this.#records.values()]);
    }
  }

  async #drop(key: string, record: PortRecord): Promise<void> {
    try {
      await this.#table.remove(record);
    } catch (error) {
      const rest = [...this.#records].filter(([other]) => other !== key).map(([, remaining]) => remaining);
      this.#deps.log.warn('the table of host ports is not as it was left; writing it anew', { error });
      await this.#table.reset(rest);
    }
    this.#records.delete(key);
    for (const entry of record.entries) if (this.#taken.get(slot(entry)) === key) this.#taken.delete(slot(entry));
    this.#deps.journal.remove(key, Date.now());
  }

  /** Lets the node reach the ports by 127.0.0.1: answers to that address are otherwise refused as martians. */
  #allowLoopback(entries: readonly PortEntry[], result: CniResult, wanted: boolean): void {
    const link = hostInterface(result);
    const local = entries.some((e) => e.family === 4 && (e.hostIp === undefined || e.hostIp.startsWith('127.')));
    if (!wanted || !local || link === undefined) return;
    try {
      writeSysctl(`net/ipv4/conf/${link}/route_localnet`, '1', this.#deps.node.ns);
    } catch (error) {
      this.#deps.log.warn('host ports cannot be reached by 127.0.0.1', { link, error });
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

/** True when a list of attachments names this one; an empty `ifname` stands for all interfaces of a container. */
function isNamed(list: readonly Attachment[], one: Attachment): boolean {
  return list.some((a) => a.containerId === one.containerId && (a.ifname === '' || a.ifname === one.ifname));
}

function slot(entry: PortEntry): string {
  const address = entry.hostIp ?? (entry.family === 4 ? '0.0.0.0' : '::');
  return `${address.includes(':') ? `[${address}]` : address}:${entry.hostPort}/${entry.protocol}`;
}

function entriesOf(mappings: readonly PortMapping[], result: CniResult): readonly PortEntry[] {
  const pod = podAddresses(result);
  const entries = new Map<string, PortEntry>();
  for (const { hostIp, protocol, hostPort, containerPort } of mappings) {
    for (const family of [4, 6] as const) {
      const podIp = family === 4 ? pod.v4 : pod.v6;
      if (podIp === undefined || (hostIp !== undefined && hostIp.includes(':') !== (family === 6))) continue;
      const entry: PortEntry = { family, hostIp, protocol, hostPort, podIp, containerPort };
      entries.set(slot(entry), entry);
    }
  }
  return [...entries.values()];
}
