import { type Changes, type ElementList } from '../../src/nftables/changes.ts';
import type { Found } from '../../src/nftables/found.ts';
import { ELEMENT_SETS, type ElementSet } from '../../src/nftables/layout.ts';
import { frontendAddress } from '../../src/model/types.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const number = (bytes: string, at: number): number => Buffer.from(bytes, 'latin1').readUInt32LE(at);

/** The tables of one family as the kernel would hold them, and as strict as the kernel about what it is told. */
export class FakeKernel {
  readonly sets = Object.fromEntries(ELEMENT_SETS.map((set) => [set, new Map<string, string>()])) as Record<
    ElementSet,
    Map<string, string>
  >;
  /** Class number → chain, per map. */
  readonly classes = new Map<number, string>();
  readonly localClasses = new Map<number, string>();
  readonly firewall = new Map<string, string>();
  readonly chains = new Set<string>();
  readonly firewallChains = new Map<string, readonly string[]>();

  apply(changes: Changes, afterStep: () => void = () => {}): void {
    for (const step of changes.steps()) {
      switch (step.do) {
        case 'addClass': {
          const map = step.add.map === 'classes' ? this.classes : this.localClasses;
          if (map.has(step.add.number)) throw new Error(`EEXIST class ${step.add.number}`);
          for (const chain of step.add.chains) {
            if (this.chains.has(chain.name)) throw new Error(`EEXIST chain ${chain.name}`);
            this.chains.add(chain.name);
          }
          map.set(step.add.number, step.add.chains.at(-1)?.name ?? '');
          break;
        }
        case 'removeClass': {
          const map = step.remove.map === 'classes' ? this.classes : this.localClasses;
          if (!map.delete(step.remove.number)) throw new Error(`ENOENT class ${step.remove.number}`);
          for (const chain of step.remove.chains) {
            if (!this.chains.delete(chain)) throw new Error(`ENOENT chain ${chain}`);
          }
          break;
        }
        case 'addFirewall':
          if (this.firewallChains.has(step.add.chain)) throw new Error(`EEXIST ${step.add.chain}`);
          this.firewallChains.set(step.add.chain, step.add.ranges);
          break;
        case 'removeFirewall':
          if ([...this.firewall.values()].includes(step.remove.chain)) throw new Error('EBUSY');
          if (!this.firewallChains.delete(step.remove.chain)) throw new Error('ENOENT firewall');
          break;
        case 'guard':
          if (this.firewall.has(step.key)) throw new Error('EEXIST guard');
          if (!this.firewallChains.has(step.chain)) throw new Error('ENOENT guard chain');
          this.firewall.set(step.key, step.chain);
          break;
        case 'unguard':
          if (this.firewall.get(step.key) !== step.chain) throw new Error('ENOENT unguard');
          this.firewall.delete(step.key);
          break;
        case 'write':
          this.#delete(step.set, step.replaced);
          for (let i = 0; i < step.added.count; i++) {
            const key = text(step.added.key(i));
            if (this.sets[step.set].has(key))
              throw new Error(`EEXIST ${step.set} ${Buffer.from(key, 'latin1').toString('hex')}`);
            this.sets[step.set].set(key, text(step.added.data(i)));
          }
          break;
        case 'remove':
          this.#delete(step.set, step.removed);
          break;
      }
      afterStep();
    }
  }

  /** A copy of what is there now. */
  snapshot(): FakeKernel {
    const copy = new FakeKernel();
    for (const set of ELEMENT_SETS) for (const [k, v] of this.sets[set]) copy.sets[set].set(k, v);
    for (const [k, v] of this.classes) copy.classes.set(k, v);
    for (const [k, v] of this.localClasses) copy.localClasses.set(k, v);
    for (const [k, v] of this.firewall) copy.firewall.set(k, v);
    for (const chain of this.chains) copy.chains.add(chain);
    for (const [k, v] of this.firewallChains) copy.firewallChains.set(k, v);
    return copy;
  }

  /** What reading everything back would give. */
  found(): Found {
    const endpoint = (data: string): string => data.slice(0, -4) + data.slice(-4, -2);
    const frontends = new Map<string, number>();
    for (const set of ['frontends', 'nodeports'] as const) {
      for (const [key, data] of this.sets[set]) frontends.set(packFrontend(key), number(data, 0));
    }
    const endpoints = new Map<number, (string | undefined)[]>();
    for (const [key, data] of this.sets.endpoints) {
      const list = endpoints.get(number(key, 0)) ?? [];
      list[number(key, 4)] = endpoint(data);
      endpoints.set(number(key, 0), list);
    }
    const slots = new Map<number, (number | undefined)[]>();
    for (const [key, data] of this.sets.slots) {
      const list = slots.get(number(key, 0)) ?? [];
      list[number(key, 4)] = (number(data, 0) >>> 20) & 0x7ff;
      slots.set(number(key, 0), list);
    }
    const slotEndpoints = new Map<number, Map<number, string>>();
    for (const [key, data] of this.sets['slot-endpoints']) {
      const id = number(key, 0) & 0xfffff;
      const map = slotEndpoints.get(id) ?? new Map<number, string>();
      map.set((number(key, 0) >>> 20) & 0x7ff, endpoint(data));
      slotEndpoints.set(id, map);
    }
    return {
      frontends,
      endpoints,
      slots,
      slotEndpoints,
      local: new Map([...this.sets.local].map(([k, v]) => [number(k, 0), number(v, 0)])),
      hairpin: new Set([...this.sets.hairpin.keys()].map((k) => k.slice(0, k.length / 2))),
      clusterIPs: new Set(this.sets['cluster-ips'].keys()),
      nodePortIPs: new Set(this.sets['nodeport-ips'].keys()),
      classes: new Map([...this.classes, ...this.localClasses]),
      firewall: new Map(this.firewall),
      firewallChains: new Set(this.firewallChains.keys()),
    };
  }

  #delete(set: ElementSet, keys: ElementList): void {
    for (let i = 0; i < keys.count; i++) {
      const key = text(keys.key(i));
      if (!this.sets[set].delete(key)) throw new Error(`ENOENT ${set} ${Buffer.from(key, 'latin1').toString('hex')}`);
    }
  }
}

function packFrontend(key: string): string {
  return key.slice(0, -8) + key.slice(-8, -7) + key.slice(-4, -2);
}

/** Register form of a frontend key. */
export function registerKey(key: string): string {
  return `${frontendAddress(key)}${key.slice(-3, -2)}\0\0\0${key.slice(-2)}\0\0`;
}

/** What can become of the first packet of a flow. */
export interface Outcome {
  /** Packed endpoints it can reach. */
  readonly endpoints: ReadonlySet<string>;
  /** It can be refused although it was led to endpoints: a hole. */
  readonly hole: boolean;
  readonly verdict: 'balance' | 'reject' | 'drop' | 'none';
}

const NONE: Outcome = { endpoints: new Set(), hole: false, verdict: 'none' };

/**
 * Follows the rules for a packet to a frontend: `at(n)` is the kernel that the n-th lookup sees, so that lookups of one
 * packet can see different generations. `source` tells pods, this node and others apart.
 */
export function follow(key: string, source: 'pod' | 'node' | 'outside', at: (lookup: number) => FakeKernel): Outcome {
  const value = (data: string | undefined): number | undefined => (data === undefined ? undefined : number(data, 0));
  let p = value(at(0).sets[key.length === 3 ? 'nodeports' : 'frontends'].get(registerKey(key)));
  if (p === undefined) return NONE;
  if (p >>> 20 === 1) return { ...NONE, verdict: 'reject' };
  if (p >>> 20 === 2) return { ...NONE, verdict: 'drop' };
  let chain = at(1).classes.get(p >>> 20);
  if (chain === undefined) return { endpoints: new Set(), hole: true, verdict: 'balance' };
  if (chain.startsWith('e-') && source === 'outside') {
    const local = value(at(2).sets.local.get(le(p & 0xfffff)));
    if (local === undefined) return { ...NONE, verdict: 'drop' };
    p = local;
    chain = at(2).localClasses.get(p >>> 20);
    if (chain === undefined) return { endpoints: new Set(), hole: true, verdict: 'balance' };
  }
  const [, size, affinity] = /^[cxle]-(\d+)(-a\d+)?$/.exec(chain) ?? [];
  const id = p & 0xfffff;
  const endpoints = new Set<string>();
  let hole = false;
  const late = at(3);
  const list = affinity === undefined ? late.sets.endpoints : late.sets.slots;
  const first = list.get(le(id) + le(0));
  for (let i = 0; i < Number(size); i++) {
    let data = list.get(le(id) + le(i)) ?? first;
    if (data !== undefined && affinity !== undefined) {
      // The second pass draws again from what is there by then.
      const again = at(4).sets.slots;
      data =
        at(4).sets['slot-endpoints'].get(data) ??
        at(4).sets['slot-endpoints'].get(again.get(le(id) + le(i)) ?? again.get(le(id) + le(0)) ?? '');
    }
    if (data === undefined) hole = true;
    else endpoints.add(data.slice(0, -4) + data.slice(-4, -2));
  }
  return { endpoints, hole, verdict: 'balance' };
}

function le(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('latin1');
}
