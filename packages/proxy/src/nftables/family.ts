import { CompactMap, type Diff } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import { addressWidth, endpointWidth, type Packed, unpackList } from '../model/packed.ts';
import {
  type Frontend,
  frontendAddress,
  type Planned,
  planKey,
  type ServicePort,
  servicePortName,
} from '../model/types.ts';
import {
  adoptBackends,
  backendCount,
  type BackendSet,
  clearBackends,
  emptyBackends,
  updateBackends,
} from './backends.ts';
import { Changes } from './changes.ts';
import { ClassTable } from './classes.ts';
import { Firewall } from './firewall.ts';
import type { Found } from './found.ts';
import { IdPool, REUSE_DELAY_MS } from './ids.ts';
import { idOf, P_DROP, P_REJECT, packSlot, parseClassName } from './layout.ts';
import { RefSet } from './refset.ts';
import { RuleText } from './rules.ts';

/** One service port as the kernel has it. */
interface PortState {
  plan: ServicePort;
  cluster: BackendSet | undefined;
  local: BackendSet | undefined;
  /** Value of its ClusterIP frontend. */
  internalP: number;
  /** Value of its other frontends. */
  externalP: number;
  /** Value in `local` under the id of `cluster`; 0: none. */
  localP: number;
}

interface Claim {
  cluster: BackendSet | undefined;
  local: BackendSet | undefined;
}

/**
 * Compiles changes of the plan into changes of one family's table, and keeps what no plan knows: ids, classes, indexes,
 * slots. No I/O and no clock: the same calls give the same changes.
 *
 * It is the exact image of the kernel's table, so that nothing has to be read back. When a transaction fails it is worth
 * nothing any more: make a new one with `adopt` from what the kernel holds.
 */
export class FamilyState {
  readonly config: FamilyConfig;
  readonly text: RuleText;
  readonly #width: number;
  readonly #ports = new CompactMap<PortState>();
  readonly #owners = new CompactMap<PortState>();
  /** Frontends that more than one service port asks for: all who ask. */
  readonly #contested = new Map<Packed, PortState[]>();
  /** Frontends touched in this batch, and the value the kernel has for them. */
  readonly #touched = new Map<Packed, number | undefined>();
  #ids = new IdPool();
  readonly #classes: ClassTable;
  readonly #firewall = new Firewall();
  readonly #hairpin = new RefSet();
  readonly #clusterIPs = new RefSet();
  readonly #nodePortIPs = new RefSet();
  #found: Found | undefined;
  #firstAdoption = false;
  /** Sets of endpoints in the kernel that belong to service ports of the plan to come. */
  readonly #claims = new Map<string, Claim>();
  /** Sets that nothing leads to any more, and since when. */
  #retired: { readonly set: BackendSet; readonly since: number }[] = [];
  #refused: string[] = [];

  constructor(config: FamilyConfig) {
    this.config = config;
    this.text = new RuleText(config);
    this.#classes = new ClassTable(this.text);
    this.#width = endpointWidth(config.family);
  }

  /** Service ports programmed. */
  get size(): number {
    return this.#ports.size;
  }

  /** Classes in use or at rest. */
  get classCount(): number {
    return this.#classes.size;
  }

  /** Whether `sweep` will have something to do after a second. */
  get hasIdle(): boolean {
    return this.#retired.length > 0 || this.#classes.hasIdle || this.#firewall.hasIdle;
  }

  /** Service ports that got no class of their own and refuse until others go; for the log. */
  takeRefused(): string[] {
    return this.#refused.splice(0);
  }

  /**
   * Starts from what the kernel holds. The next calls of `update` bring the whole plan: what it asks for and is there
   * stays untouched, ids included. What it does not ask for goes with `complete`. `before` is the state that was thought to be the image
   * of the kernel, when there is one: what rests in it goes on resting.
   */
  adopt(found: Found, now: number, before?: FamilyState): void {
    this.#found = found;
    this.#firstAdoption = before === undefined;
    if (before !== undefined) {
      this.#ids = before.#ids;
      this.#retired = before.#retired;
      for (const { set } of before.#retired) {
        found.endpoints.delete(set.id);
        found.slots.delete(set.id);
        found.slotEndpoints.delete(set.id);
      }
      for (const [key, { cluster, local }] of before.#ports) {
        this.#claims.set(key, {
          cluster: cluster === undefined ? undefined : takeFound(found, cluster.id),
          local: local === undefined ? undefined : takeFound(found, local.id),
        });
      }
    }
    this.#ids.reserve(found.endpoints.keys());
    this.#ids.reserve(found.slots.keys());
    this.#ids.reserve(found.slotEndpoints.keys());
    this.#ids.reserve(found.local.keys());
    for (const p of found.frontends.values()) this.#ids.reserve([idOf(p)]);
    for (const p of found.local.values()) this.#ids.reserve([idOf(p)]);
    for (const [number, name] of found.classes) {
      const parsed = parseClassName(name);
      if (parsed !== undefined) this.#classes.adopt(number, parsed.kind, name, now);
    }
    this.#firewall.adopt(found.firewall, found.firewallChains, now);
    this.#hairpin.adopt(found.hairpin);
    this.#clusterIPs.adopt(found.clusterIPs);
    this.#nodePortIPs.adopt(found.nodePortIPs);
  }

  /** Brings the state to the next plan. Entries of other families are ignored. `now` in milliseconds. */
  update(diff: Diff<Planned>, now: number): Changes {
    const changes = new Changes(this.config.family);
    if (this.#found !== undefined) this.#claimFound(diff, this.#found);
    for (const [key, { value }] of diff.removed) this.#entry(key, value, undefined, now, changes);
    for (const [key, { from, to }] of diff.changed) this.#entry(key, from.value, to.value, now, changes);
    for (const [key, { value }] of diff.added) this.#entry(key, undefined, value, now, changes);
    this.#finish(now, changes);
    return changes;
  }

  /** The plan has come as a whole: removes what was found and is not part of it. */
  complete(now: number): Changes {
    const changes = new Changes(this.config.family);
    const found = this.#found;
    this.#found = undefined;
    for (const { cluster, local } of this.#claims.values()) {
      for (const set of [cluster, local]) if (set !== undefined) this.#retired.push({ set, since: now });
    }
    this.#claims.clear();
    if (found !== undefined) this.#removeFound(found, now, changes);
    this.#writeSets(found !== undefined, changes);
    return changes;
  }

  /** What can go now that no packet holds it any more: endpoints, classes and source ranges idle for a second. */
  sweep(now: number): Changes {
    const changes = new Changes(this.config.family);
    this.#retired = this.#retired.filter(({ set, since }) => {
      if (since + REUSE_DELAY_MS > now) return true;
      clearBackends(set, this.#width, changes);
      // It has rested while its endpoints did.
      this.#ids.give(set.id, since);
      return false;
    });
    this.#classes.sweep(now, changes);
    this.#firewall.sweep(now, changes);
    return changes;
  }

  #entry(key: string, from: Planned | undefined, to: Planned | undefined, now: number, changes: Changes): void {
    const mine = (v: Planned | undefined): Planned | undefined => (v?.family === this.config.family ? v : undefined);
    const old = mine(from);
    const next = mine(to);
    if (next?.type === 'NodePortAddress') this.#nodePortIPs.add(next.address);
    if (old?.type === 'NodePortAddress') this.#nodePortIPs.release(old.address);
    if (next?.type === 'ServicePort') this.#port(key, next, now, changes);
    else if (old?.type === 'ServicePort') this.#port(key, undefined, now, changes);
  }

  #port(key: string, next: ServicePort | undefined, now: number, changes: Changes): void {
    let state = this.#ports.get(key);
    if (state === undefined && next === undefined) return;
    // Before anything of the state changes: the values the kernel has are worked out from it.
    const old = state?.plan.frontends ?? [];
    const wanted = next?.frontends ?? [];
    for (const f of old) this.#touch(f.key);
    for (const f of wanted) this.#touch(f.key);
    const before = state?.plan;
    if (state === undefined) {
      const plan = next as ServicePort;
      state = { plan, cluster: undefined, local: undefined, internalP: P_REJECT, externalP: P_REJECT, localP: 0 };
      Object.assign(state, this.#claims.get(key));
      this.#claims.delete(key);
      this.#ports.set(key, state);
    }
    const { internalP, externalP, localP } = state;
    const oldCluster = state.cluster?.id ?? 0;
    const affinity = (next?.affinitySeconds ?? 0) > 0;
    state.cluster = this.#backends(state.cluster, next?.cluster ?? '', affinity, now, changes);
    state.local = this.#backends(state.local, next?.local ?? '', affinity, now, changes);
    this.#values(state, next, wanted, changes);
    this.#classes.release(internalP, now);
    this.#classes.release(externalP, now);
    this.#classes.release(localP, now);
    this.#local(oldCluster, localP, state, changes);
    const width = addressWidth(this.config.family);
    for (const address of unpackList(next?.hairpin ?? '', width)) this.#hairpin.add(address);
    for (const address of unpackList(before?.hairpin ?? '', width)) this.#hairpin.release(address);
    for (const f of wanted) if (f.kind === 'ClusterIP') this.#clusterIPs.add(frontendAddress(f.key));
    for (const f of old) {
      if (f.kind === 'ClusterIP') this.#clusterIPs.release(frontendAddress(f.key));
    }
    for (const f of old) this.#disown(f.key, state);
    if (next === undefined) this.#ports.delete(key);
    else {
      state.plan = next;
      for (const f of wanted) this.#own(f.key, state);
    }
  }

  #backends(
    set: BackendSet | undefined,
    target: Packed,
    affinity: boolean,
    now: number,
    changes: Changes,
  ): BackendSet | undefined {
    // A packet on its way may hold the id: what it leads to stays for a second. Affinity is another shape of the same
    // endpoints, which takes another id.
    const fits = set !== undefined && target !== '' && (set.sticky !== undefined) === affinity;
    if (set !== undefined && !fits) this.#retired.push({ set, since: now });
    if (target === '') return undefined;
    const backends = fits ? set : emptyBackends(this.#ids.take(now), affinity);
    updateBackends(backends, target, this.#width, (n) => this.#classes.sizeFor(n), changes);
    return backends;
  }

  /** Works out what the frontends hold; the verdicts follow kube-proxy (KEP-2086, KEP-1669). */
  #values(state: PortState, next: ServicePort | undefined, wanted: readonly Frontend[], changes: Changes): void {
    state.internalP = P_REJECT;
    state.externalP = P_REJECT;
    state.localP = 0;
    if (next === undefined) return;
    const { cluster, local } = state;
    const affinity = next.affinitySeconds;
    const lead = (kind: 'c' | 'x' | 'e' | 'l', set: BackendSet, size: BackendSet): number => {
      const p = this.#classes.acquire(kind, backendCount(size, this.#width), affinity, set.id, changes);
      if (p === undefined) this.#refused.push(servicePortName(next));
      return p ?? P_REJECT;
    };
    const has = (kind: 'internal' | 'external'): boolean =>
      wanted.some((f) => (f.kind === 'ClusterIP') === (kind === 'internal'));
    if (has('internal')) {
      if (next.internal === 'Cluster') {
        if (cluster !== undefined) state.internalP = lead('c', cluster, cluster);
      } else if (local !== undefined) state.internalP = lead('c', local, local);
      else if (next.hasEndpoints) state.internalP = P_DROP;
    }
    if (has('external') && cluster !== undefined) {
      if (next.external === 'Cluster') state.externalP = lead('x', cluster, cluster);
      else {
        state.externalP = lead('e', cluster, cluster);
        if (local !== undefined) state.localP = lead('l', local, local);
      }
    }
  }

  #local(oldId: number, oldP: number, state: PortState, changes: Changes): void {
    const id = state.cluster?.id ?? 0;
    const { replaced, added, removed } = changes.sets.local;
    const known = oldP !== 0 ? oldP : (this.#found?.local.get(oldId) ?? 0);
    this.#found?.local.delete(oldId);
    const wanted = state.localP;
    if (known !== 0 && oldId !== 0 && (oldId !== id || wanted === 0)) removed.u32(oldId);
    if (wanted === 0) return;
    if (known !== 0 && oldId === id) {
      if (known === wanted) return;
      replaced.u32(id);
    }
    added.u32(id).u32(wanted);
  }

  // ---- frontends

  #valueOf(state: PortState, key: Packed): number {
    for (const f of state.plan.frontends) {
      if (f.key === key) return f.kind === 'ClusterIP' ? state.internalP : state.externalP;
    }
    return P_REJECT;
  }

  #touch(key: Packed): void {
    if (this.#touched.has(key)) return;
    const owner = this.#owners.get(key);
    this.#touched.set(key, owner === undefined ? this.#found?.frontends.get(key) : this.#valueOf(owner, key));
    this.#found?.frontends.delete(key);
  }

  #own(key: Packed, state: PortState): void {
    const owner = this.#owners.get(key);
    if (owner === undefined) {
      this.#owners.set(key, state);
      return;
    }
    const all = [...(this.#contested.get(key) ?? [owner]), state];
    this.#contested.set(key, all);
    this.#owners.set(key, winner(all, key));
  }

  #disown(key: Packed, state: PortState): void {
    const others = (this.#contested.get(key) ?? []).filter((other) => other !== state);
    if (others.length === 0) this.#owners.delete(key);
    else this.#owners.set(key, winner(others, key));
    if (others.length > 1) this.#contested.set(key, others);
    else this.#contested.delete(key);
  }

  #finish(now: number, changes: Changes): void {
    for (const [key, before] of this.#touched) {
      const owner = this.#owners.get(key);
      this.#frontend(key, before, owner === undefined ? undefined : this.#valueOf(owner, key), owner, changes);
      this.#firewall.guard(key, guardOf(owner, key), now, changes);
    }
    this.#touched.clear();
    this.#writeSets(false, changes);
  }

  #writeSets(adopted: boolean, changes: Changes): void {
    const { sets } = changes;
    this.#hairpin.finish(
      adopted,
      (a) => sets.hairpin.added.packed(a).packed(a),
      (a) => sets.hairpin.removed.packed(a).packed(a),
    );
    for (const [set, refs] of [
      ['cluster-ips', this.#clusterIPs],
      ['nodeport-ips', this.#nodePortIPs],
    ] as const) {
      refs.finish(
        adopted,
        (a) => sets[set].added.packed(a),
        (a) => sets[set].removed.packed(a),
      );
    }
  }

  #frontend(
    key: Packed,
    before: number | undefined,
    after: number | undefined,
    owner: PortState | undefined,
    changes: Changes,
  ): void {
    if (before === after) return;
    const set = changes.sets[key.length === 3 ? 'nodeports' : 'frontends'];
    if (after === undefined) {
      set.removed.frontend(key);
      return;
    }
    if (before !== undefined) set.replaced.frontend(key);
    set.added.frontend(key).u32(after);
    if (owner !== undefined) set.added.comment(servicePortName(owner.plan));
  }

  // ---- adoption

  /**
   * Gives service ports the ids that their frontends lead to already. ClusterIPs first: they are nobody else's, while an
   * external address may lead to another Service that asks for it too; then in the order of `winner`.
   */
  #claimFound(diff: Diff<Planned>, found: Found): void {
    const ports = [...diff.added.values()]
      .map((entry) => entry.value)
      .filter((value) => value.type === 'ServicePort')
      .filter((value) => value.family === this.config.family && value.hasEndpoints);
    const byName = ports
      .filter((value) => value.frontends.some((f) => f.kind !== 'ClusterIP'))
      .sort((a, b) => (planKey(a) < planKey(b) ? -1 : 1));
    for (const [kind, values] of [
      ['ClusterIP', ports],
      ['other', byName],
    ] as const) {
      for (const value of values) {
        const key = planKey(value);
        const claim = this.#claims.get(key) ?? { cluster: undefined, local: undefined };
        this.#claims.set(key, claim);
        for (const f of value.frontends) {
          const id = idOf(found.frontends.get(f.key) ?? 0);
          if (id === 0 || (f.kind === 'ClusterIP') !== (kind === 'ClusterIP')) continue;
          if (kind === 'ClusterIP' && value.internal === 'Local') {
            claim.local ??= takeFound(found, id);
            continue;
          }
          claim.cluster ??= takeFound(found, id);
          const local = found.local.get(id);
          if (local !== undefined && claim.cluster?.id === id) claim.local ??= takeFound(found, idOf(local));
        }
      }
    }
  }

  #removeFound(found: Found, now: number, changes: Changes): void {
    const { sets } = changes;
    for (const key of found.frontends.keys()) {
      sets[key.length === 3 ? 'nodeports' : 'frontends'].removed.frontend(key);
    }
    for (const key of this.#firewall.keys()) {
      if (!this.#owners.has(key)) this.#firewall.guard(key, [], now, changes);
    }
    for (const id of found.local.keys()) sets.local.removed.u32(id);
    for (const [id, list] of found.endpoints) {
      list.forEach((endpoint, i) => {
        if (endpoint !== undefined) sets.endpoints.removed.u32(id).u32(i);
      });
    }
    for (const [id, list] of found.slots) {
      list.forEach((slot, i) => {
        if (slot !== undefined) sets.slots.removed.u32(id).u32(i);
      });
    }
    for (const [id, bySlot] of found.slotEndpoints) {
      for (const slot of bySlot.keys()) sets['slot-endpoints'].removed.u32(packSlot(slot, id));
    }
    if (!this.#firstAdoption) return;
    const used = new Set<number>();
    for (const { cluster, local } of this.#ports.values()) used.add(cluster?.id ?? 0).add(local?.id ?? 0);
    this.#ids.giveGaps(used, now);
  }
}

/** Takes the endpoints of an id out of what was found; undefined when they are not as this program writes them. */
function takeFound(found: Found, id: number): BackendSet | undefined {
  const set = adoptBackends(id, found.endpoints.get(id), found.slots.get(id), found.slotEndpoints.get(id));
  if (set === undefined) return undefined;
  found.endpoints.delete(id);
  found.slots.delete(id);
  found.slotEndpoints.delete(id);
  return set;
}

/** Of several service ports that ask for one address and port, the same one always gets it: ClusterIPs first, then by name. */
function winner(all: readonly PortState[], key: Packed): PortState {
  const order = (state: PortState): string => {
    const own = state.plan.frontends.some((f) => f.key === key && f.kind === 'ClusterIP');
    return `${own ? 0 : 1}${planKey(state.plan)}`;
  };
  return all.reduce((best, state) => (order(state) < order(best) ? state : best));
}

function guardOf(owner: PortState | undefined, key: Packed): readonly string[] {
  const frontend = owner?.plan.frontends.find((f) => f.key === key);
  return frontend?.kind === 'LoadBalancerIP' ? (owner?.plan.sourceRanges ?? []) : [];
}
