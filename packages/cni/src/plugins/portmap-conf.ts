import { booleanField, type JsonObject, stringField, stringsField } from '../spec/json.ts';
import { intField, invalid } from './common/conf.ts';

export type PortmapBackend = 'nftables' | 'iptables';

/** Options of portmap, as the reference documents them. */
export interface PortmapConf {
  readonly backend: PortmapBackend;
  /** The node by 127.0.0.1, and a pod by its own host port, get their source translated, without which neither works. */
  readonly snat: boolean;
  /** Everybody's source is translated, so that answers come back by the node. */
  readonly masqAll: boolean;
  /** iptables: number of the bit that marks packets for translation of their source. */
  readonly markBit: number;
  /** iptables: chain of somebody else that marks them instead. */
  readonly setMarkChain: string | undefined;
  /** Words of iptables, or expressions of nftables, that packets must match as well, by family. */
  readonly conditions: Readonly<Record<4 | 6, readonly string[]>>;
}

/** Kubernetes uses 14 and 15, Calico 20 and up. */
const MARK_BIT = 13;

function isIptables(condition: string | undefined): boolean {
  return condition !== undefined && /^[-!]/.test(condition);
}

/** The backend that a configuration asks for, or that alone knows what it asks for. Never throws, for DEL. */
export function portmapBackend(config: JsonObject): PortmapBackend {
  try {
    const asked = stringField(config, 'backend') ?? '';
    if (asked !== '') return asked === 'iptables' ? 'iptables' : 'nftables';
    return ownTo(config).iptables.length > 0 ? 'iptables' : 'nftables';
  } catch {
    return 'nftables';
  }
}

/** Options of a configuration that only one backend knows. */
function ownTo(config: JsonObject): Record<PortmapBackend, string[]> {
  const out: Record<PortmapBackend, string[]> = { iptables: [], nftables: [] };
  if (stringField(config, 'externalSetMarkChain') !== undefined) out.iptables.push('externalSetMarkChain');
  if (intField(config, 'markMasqBit', { min: 0, max: 31 }) !== undefined) out.iptables.push('markMasqBit');
  for (const name of ['conditionsV4', 'conditionsV6']) {
    const [first = ''] = stringsField(config, name) ?? [];
    if (first !== '') out[isIptables(first) ? 'iptables' : 'nftables'].push(name);
  }
  return out;
}

export function readPortmapConf(config: JsonObject): PortmapConf {
  const asked = stringField(config, 'backend') ?? '';
  if (asked !== '' && asked !== 'nftables' && asked !== 'iptables') {
    throw invalid(`backend: "${asked}" is unknown; use "nftables" or "iptables"`);
  }
  const own = ownTo(config);
  const backend = portmapBackend(config);
  // A mark is no more than a detail of one backend: the other does without, as the reference's does.
  const foreign = own[backend === 'iptables' ? 'nftables' : 'iptables'].filter((name) => name !== 'markMasqBit');
  if (foreign.length > 0) throw invalid(`${foreign.join(', ')}: not for the backend ${backend}`);
  const setMarkChain = stringField(config, 'externalSetMarkChain');
  const markBit = intField(config, 'markMasqBit', { min: 0, max: 31 });
  if (setMarkChain !== undefined && markBit !== undefined) {
    throw invalid('externalSetMarkChain and markMasqBit: only one of them can be');
  }
  if (setMarkChain !== undefined && !/^[A-Za-z0-9_-]{1,28}$/.test(setMarkChain)) {
    throw invalid(`externalSetMarkChain: "${setMarkChain}" is no name of a chain`);
  }
  return {
    backend,
    snat: booleanField(config, 'snat') ?? true,
    masqAll: booleanField(config, 'masqAll') ?? false,
    markBit: markBit ?? MARK_BIT,
    setMarkChain,
    conditions: { 4: conditions(config, 'conditionsV4'), 6: conditions(config, 'conditionsV6') },
  };
}

function conditions(config: JsonObject, name: string): readonly string[] {
  const words = (stringsField(config, name) ?? []).filter((word) => word !== '');
  // They become part of a line of a program's input.
  const bad = words.find((word) => /[\n\r;]/.test(word));
  if (bad !== undefined) throw invalid(`${name}: ${JSON.stringify(bad)} is more than a condition`);
  return words;
}
