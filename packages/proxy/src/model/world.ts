import type { Family } from '@weft/net';
import { CompactMap, type Entry } from '@weft/plan';
import { compileNode, compileService, NODE_UNIT } from './compile.ts';
import { type NodeFacts, unknownNode } from './node.ts';
import type { SlimService, SlimSlice } from './slim.ts';
import type { Planned } from './types.ts';

const NO_SLICES: readonly SlimSlice[] = [];
const EMPTY: ReadonlyMap<string, Entry<Planned>> = new Map();

export interface WorldOptions {
  readonly nodeName: string;
  readonly families: readonly Family[];
  /** NodePorts answer on the node's primary addresses. */
  readonly primaryNodePorts: boolean;
}

/**
 * The objects the proxy watches, indexed by the Service they belong to. Every change names the units of the plan that
 * have to be compiled again; compiling reads nothing else, so a unit always comes out the same from the same objects.
 */
export class World {
  readonly #options: WorldOptions;
  #primaryNodePorts: boolean;
  readonly #services = new CompactMap<SlimService>();
  // Nearly every Service has one slice per family: a list only where there are more.
  readonly #slices = new CompactMap<SlimSlice | readonly SlimSlice[]>();
  #node: NodeFacts;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#primaryNodePorts = options.primaryNodePorts;
    this.#node = unknownNode(options.nodeName);
  }

  get node(): NodeFacts {
    return this.#node;
  }

  get serviceCount(): number {
    return this.#services.size;
  }

  /** Whether NodePorts answer on the node's primary addresses. Returns the units to compile. */
  setPrimaryNodePorts(on: boolean): string[] {
    if (this.#primaryNodePorts === on) return [];
    this.#primaryNodePorts = on;
    return [NODE_UNIT];
  }

  /** `key` is `ns/name`; undefined removes the Service. Returns the unit to compile. */
  setService(key: string, service: SlimService | undefined): string {
    if (service === undefined) this.#services.delete(key);
    else this.#services.set(key, service);
    return key;
  }

  /** A slice was added, replaced (`old` given) or removed (`slice` undefined). Returns the units to compile. */
  setSlice(old: SlimSlice | undefined, slice: SlimSlice | undefined): string[] {
    const units = new Set<string>();
    if (old !== undefined) {
      this.#put(
        old.service,
        this.slicesOf(old.service).filter((s) => s !== old),
      );
      units.add(old.service);
    }
    if (slice !== undefined) {
      this.#put(slice.service, [...this.slicesOf(slice.service), slice]);
      units.add(slice.service);
    }
    return [...units];
  }

  /** Returns the units to compile: all of them when something changed that endpoints are chosen by. */
  setNode(node: NodeFacts): string[] {
    const old = this.#node;
    this.#node = node;
    const units: string[] = [];
    const moved = old.addresses.join('|') !== node.addresses.join('|');
    if (moved) units.push(NODE_UNIT);
    if (moved || old.zone !== node.zone || old.name !== node.name) units.push(...this.#services.keys());
    return units;
  }

  slicesOf(service: string): readonly SlimSlice[] {
    const found = this.#slices.get(service);
    if (found === undefined) return NO_SLICES;
    return Array.isArray(found) ? (found as readonly SlimSlice[]) : [found as SlimSlice];
  }

  /** Pure with regard to the objects held: what must exist because of `unit`. */
  compile(unit: string): ReadonlyMap<string, Entry<Planned>> {
    const { families } = this.#options;
    if (unit === NODE_UNIT) return compileNode(this.#node, families, this.#primaryNodePorts);
    const service = this.#services.get(unit);
    return service === undefined ? EMPTY : compileService(service, this.slicesOf(unit), this.#node, families);
  }

  /** Every unit there is. */
  units(): string[] {
    return [NODE_UNIT, ...this.#services.keys()];
  }

  #put(service: string, slices: readonly SlimSlice[]): void {
    if (slices.length === 0) this.#slices.delete(service);
    else this.#slices.set(service, slices.length === 1 ? (slices[0] as SlimSlice) : slices);
  }
}
