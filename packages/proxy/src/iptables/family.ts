import type { Diff } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import { endpointWidth, formatAddress } from '../model/packed.ts';
import type { Planned, ServicePort } from '../model/types.ts';
import type { PortText } from './restore.ts';
import { compileService } from './service.ts';

/**
 * Endpoints from which on the cluster is a large one: rules between Services and endpoints lose their comments, which
 * are two fifths of all text (kube-proxy's largeClusterEndpointsThreshold).
 */
const LARGE_CLUSTER = 1000;

/** What is remembered of a service port that the kernel has. */
interface Kept {
  readonly value: ServicePort;
  readonly filter: readonly string[];
  readonly nat: readonly string[];
  readonly chains: readonly string[];
  readonly size: number;
}

/** One family's rules as a value: what the plan asks for, and what of it the kernel does not have yet. */
export class FamilyRules {
  readonly config: FamilyConfig;
  readonly #ports = new Map<string, Kept>();
  readonly #nodeAddresses = new Set<string>();
  readonly #changed = new Set<string>();
  readonly #stale = new Set<string>();
  /** Chains of ports as they were compiled, until they are written. */
  readonly #fresh = new Map<string, NonNullable<PortText['own']>>();
  /** Ports that the kernel has refused, until they change. */
  readonly #refused = new Set<string>();
  #endpoints = 0;
  #large = false;

  constructor(config: FamilyConfig) {
    this.config = config;
  }

  get size(): number {
    return this.#ports.size;
  }

  /** Keys of ports whose chains the kernel does not have, or not so. */
  get changed(): ReadonlySet<string> {
    return this.#changed;
  }

  get stale(): ReadonlySet<string> {
    return this.#stale;
  }

  get refused(): ReadonlySet<string> {
    return this.#refused;
  }

  /** Addresses of the plan that answer on NodePorts. */
  get planAddresses(): string[] {
    return [...this.#nodeAddresses];
  }

  /** Takes a change of the plan in. True when it has to do with this family. */
  update(diff: Diff<Planned>): boolean {
    let touched = false;
    // Known before the first is compiled, so that a cold start compiles everything once.
    let coming = this.#endpoints;
    for (const { value } of diff.added.values()) if (this.#isMine(value)) coming += count(value);
    this.#setLarge(coming > LARGE_CLUSTER);
    for (const [key, { value }] of diff.added) touched = this.#set(key, value) || touched;
    for (const [key, { to }] of diff.changed) touched = this.#set(key, to.value) || touched;
    for (const [key, { value }] of diff.removed) touched = this.#remove(key, value) || touched;
    this.#setLarge(this.#endpoints > LARGE_CLUSTER);
    return touched;
  }

  /** As in kube-proxy, chains that the kernel has keep their comments, or stay without, until they change. */
  #setLarge(large: boolean): void {
    if (large !== this.#large) this.#fresh.clear();
    this.#large = large;
  }

  #isMine(value: Planned): value is ServicePort {
    return value.type === 'ServicePort' && value.family === this.config.family;
  }

  #set(key: string, value: Planned): boolean {
    if (value.family !== this.config.family) return false;
    if (value.type === 'NodePortAddress') {
      this.#nodeAddresses.add(formatAddress(value.address));
      return true;
    }
    const before = this.#ports.get(key);
    const { filter, nat, chains, rules } = compileService(value, this.config, !this.#large);
    if (before !== undefined) this.#forget(before);
    this.#ports.set(key, { value, filter, nat, chains, size: rules.length });
    this.#endpoints += count(value);
    this.#changed.add(key);
    this.#fresh.set(key, { chains, rules });
    this.#refused.delete(key);
    for (const chain of chains) this.#stale.delete(chain);
    return true;
  }

  #remove(key: string, value: Planned): boolean {
    if (value.family !== this.config.family) return false;
    if (value.type === 'NodePortAddress') return this.#nodeAddresses.delete(formatAddress(value.address));
    const before = this.#ports.get(key);
    if (before === undefined) return false;
    this.#forget(before);
    this.#ports.delete(key);
    this.#fresh.delete(key);
    this.#changed.delete(key);
    this.#refused.delete(key);
    return true;
  }

  #forget(port: Kept): void {
    this.#endpoints -= count(port.value);
    for (const chain of port.chains) this.#stale.add(chain);
  }

  /** The kernel may have anything: all chains are to be written again. `found` are the chains it has. */
  forgetKernel(found: Iterable<string>): void {
    this.#refused.clear();
    this.#stale.clear();
    for (const chain of found) this.#stale.add(chain);
    for (const [key, { chains }] of this.#ports) {
      this.#changed.add(key);
      for (const chain of chains) this.#stale.delete(chain);
    }
  }

  /** The kernel has what the last restore said. */
  written(): void {
    this.#changed.clear();
    this.#fresh.clear();
    this.#stale.clear();
  }

  refuse(key: string): void {
    this.#refused.add(key);
  }

  /** The ports of a restore, without refused ones and those of `without`; `all`: with the chains of unchanged ones too. */
  *ports(all: boolean, without: ReadonlySet<string> = new Set()): Generator<PortText> {
    for (const [key, { value, filter, nat, size }] of this.#ports) {
      if (this.#refused.has(key) || without.has(key)) continue;
      if (!all && !this.#changed.has(key)) yield { key, filter, nat, size };
      else {
        const { chains, rules } = this.#fresh.get(key) ?? compileService(value, this.config, !this.#large);
        yield { key, filter, nat, size, own: { chains, rules } };
      }
    }
  }
}

function count(port: ServicePort): number {
  return Math.max(port.cluster.length, port.local.length) / endpointWidth(port.family);
}
