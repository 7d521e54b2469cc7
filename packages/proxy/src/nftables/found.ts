import type { Packed } from '../model/packed.ts';

/** What the kernel's table of one family holds, as read back once at start or by an audit. */
export interface Found {
  /** Frontend key (NodePorts: without address) → value. */
  readonly frontends: Map<Packed, number>;
  /** id → endpoints by index. */
  readonly endpoints: Map<number, (Packed | undefined)[]>;
  /** id → slot numbers by index. */
  readonly slots: Map<number, (number | undefined)[]>;
  /** id → endpoint by slot number. */
  readonly slotEndpoints: Map<number, Map<number, Packed>>;
  /** id → value in `local`. */
  readonly local: Map<number, number>;
  /** Addresses of `ep . ep`. */
  readonly hairpin: Set<Packed>;
  readonly clusterIPs: Set<Packed>;
  readonly nodePortIPs: Set<Packed>;
  /** Class number → chain name, of `classes` and `local-classes`, without the two fixed ones. */
  readonly classes: Map<number, string>;
  /** Frontend key → chain. */
  readonly firewall: Map<Packed, string>;
  /** Chains `fw-…` that are there with their sets. */
  readonly firewallChains: Set<string>;
}

export function emptyFound(): Found {
  return {
    frontends: new Map(),
    endpoints: new Map(),
    slots: new Map(),
    slotEndpoints: new Map(),
    local: new Map(),
    hairpin: new Set(),
    clusterIPs: new Set(),
    nodePortIPs: new Set(),
    classes: new Map(),
    firewall: new Map(),
    firewallChains: new Set(),
  };
}
