import type { Changes } from './changes.ts';
import { denseUpdate } from './dense.ts';
import { MAX_SLOT, packSlot } from './layout.ts';
import { type Packed, packList, unpackList } from '../model/packed.ts';

/** Slots of an affinity Service: a name of an endpoint that stays the same while its index moves. */
interface Sticky {
  /** By index. */
  slots: number[];
  next: number;
  /** Given back; handed out again only when all fresh ones are used, oldest first. */
  readonly freed: number[];
}

/** The endpoints of one id as they are in the kernel: index 0..N-1 without gaps. */
export interface BackendSet {
  readonly id: number;
  /** Packed endpoints by index. */
  list: Packed;
  sticky: Sticky | undefined;
}

/** A set without endpoints; with `affinity` its endpoints will have slots. */
export function emptyBackends(id: number, affinity: boolean): BackendSet {
  return { id, list: '', sticky: affinity ? { slots: [], next: 1, freed: [] } : undefined };
}

/** Takes over endpoints that are in the kernel. Undefined when they are not what this program writes. */
export function adoptBackends(
  id: number,
  endpoints: readonly (Packed | undefined)[] | undefined,
  slots: readonly (number | undefined)[] | undefined,
  slotEndpoints: ReadonlyMap<number, Packed> | undefined,
): BackendSet | undefined {
  const dense = (list: readonly unknown[]): boolean => {
    for (let i = 0; i < list.length; i++) if (list[i] === undefined) return false;
    return true;
  };
  if (slots === undefined && slotEndpoints === undefined) {
    if (endpoints === undefined || !dense(endpoints)) return undefined;
    return { id, list: packList(endpoints as Packed[]), sticky: undefined };
  }
  if (endpoints !== undefined || slots === undefined || slotEndpoints === undefined || !dense(slots)) return undefined;
  const used = new Set(slots as number[]);
  const list = (slots as number[]).map((slot) => slotEndpoints.get(slot));
  if (!dense(list) || used.size !== slotEndpoints.size || new Set(slotEndpoints.values()).size !== used.size) {
    return undefined;
  }
  let next = 1;
  for (const slot of used) next = Math.max(next, slot + 1);
  const freed: number[] = [];
  for (let slot = 1; slot < next; slot++) if (!used.has(slot)) freed.push(slot);
  return { id, list: packList(list as Packed[]), sticky: { slots: [...(slots as number[])], next, freed } };
}

/** Number of indexes. */
export function backendCount(set: BackendSet, width: number): number {
  return set.list.length / width;
}

/**
 * Brings the kernel's list to hold exactly `target`, and writes what that takes to `changes`.
 * `size` says how many indexes a number of endpoints shall have (at least as many).
 */
export function updateBackends(
  set: BackendSet,
  target: Packed,
  width: number,
  size: (count: number) => number,
  changes: Changes,
): void {
  if (set.list === target && size(target.length / width) === target.length / width) return;
  const old = unpackList(set.list, width);
  let goal = unpackList(target, width);
  if (set.sticky !== undefined && goal.length > MAX_SLOT) goal = goal.slice(0, MAX_SLOT);
  const distinct = goal.length;
  const wanted = distinct === 0 ? 0 : size(distinct);
  for (let i = distinct; i < wanted; i++) goal.push(goal[i % distinct] as Packed);
  const next = old.length === 0 ? goal : denseUpdate(old, goal);
  if (set.sticky === undefined) writePlain(set.id, old, next, changes);
  else writeSticky(set.id, set.sticky, old, next, changes);
  const packed = packList(next);
  // Usually the same text: keep the plan's.
  set.list = packed === target ? target : packed;
}

function writePlain(id: number, old: readonly Packed[], next: readonly Packed[], changes: Changes): void {
  const { added, replaced, removed } = changes.sets.endpoints;
  for (let i = 0; i < next.length; i++) {
    const endpoint = next[i] as Packed;
    if (old[i] === endpoint) continue;
    if (i < old.length) replaced.u32(id).u32(i);
    added.u32(id).u32(i).endpoint(endpoint);
  }
  for (let i = next.length; i < old.length; i++) removed.u32(id).u32(i);
}

function writeSticky(
  id: number,
  sticky: Sticky,
  old: readonly Packed[],
  next: readonly Packed[],
  changes: Changes,
): void {
  const slotOf = new Map<Packed, number>();
  old.forEach((endpoint, i) => slotOf.set(endpoint, sticky.slots[i] as number));
  const leaving = new Map(slotOf);
  for (const endpoint of next) leaving.delete(endpoint);
  const taken: number[] = [...leaving.values()];
  const reused = new Set<number>();
  const endpoints = changes.sets['slot-endpoints'];
  for (const endpoint of next) {
    if (slotOf.has(endpoint)) continue;
    let slot = sticky.next <= MAX_SLOT ? sticky.next++ : sticky.freed.shift();
    if (slot === undefined) {
      // Every slot is in use: the newcomer inherits the clients of one that leaves.
      slot = taken.pop() as number;
      reused.add(slot);
      endpoints.replaced.u32(packSlot(slot, id));
    }
    slotOf.set(endpoint, slot);
    endpoints.added.u32(packSlot(slot, id)).endpoint(endpoint);
  }
  for (const slot of leaving.values()) {
    if (reused.has(slot)) continue;
    endpoints.removed.u32(packSlot(slot, id));
    sticky.freed.push(slot);
  }
  const slots = next.map((endpoint) => slotOf.get(endpoint) as number);
  const { added, replaced, removed } = changes.sets.slots;
  slots.forEach((slot, i) => {
    if (sticky.slots[i] === slot) return;
    if (i < sticky.slots.length) replaced.u32(id).u32(i);
    added.u32(id).u32(i).u32(packSlot(slot, id));
  });
  for (let i = slots.length; i < sticky.slots.length; i++) removed.u32(id).u32(i);
  sticky.slots = slots;
}

/** Removes the whole list. */
export function clearBackends(set: BackendSet, width: number, changes: Changes): void {
  const old = unpackList(set.list, width);
  if (set.sticky === undefined) writePlain(set.id, old, [], changes);
  else writeSticky(set.id, set.sticky, old, [], changes);
  set.list = '';
}
