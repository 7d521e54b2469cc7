import type { Changes } from './changes.ts';
import { type ClassKind, className, classOf, FIRST_CLASS, idOf, MAX_CLASS, packClass } from './layout.ts';
import { REUSE_DELAY_MS } from './ids.ts';
import type { RuleText } from './rules.ts';

interface ClassRecord {
  readonly number: number;
  readonly kind: ClassKind;
  readonly name: string;
  readonly map: 'classes' | 'local-classes';
  users: number;
  /** When the last user left. */
  idleSince: number;
}

/** From this many classes on, endpoint counts are rounded up so that few more are needed. */
const CROWDED = 1024;

/** Rounds up to one of 16 steps per power of two: at most one endpoint in 16 gets a second share. */
export function roundedSize(count: number): number {
  if (count <= 16) return count;
  const step = 2 ** (Math.floor(Math.log2(count)) - 4);
  return Math.ceil(count / step) * step;
}

function classMap(kind: ClassKind): 'classes' | 'local-classes' {
  return kind === 'l' ? 'local-classes' : 'classes';
}

/**
 * The shared chains: one per kind of frontend, endpoint count and affinity time that any Service has. A class without
 * users rests for a second before its chain goes, since packets may still hold its number.
 */
export class ClassTable {
  readonly #text: RuleText;
  readonly #byName = new Map<string, ClassRecord>();
  readonly #byNumber = new Map<number, ClassRecord>();
  readonly #freed: number[] = [];
  #next = FIRST_CLASS;

  constructor(text: RuleText) {
    this.#text = text;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** How many indexes a set of `count` endpoints gets. */
  sizeFor(count: number): number {
    return this.#byName.size >= CROWDED ? roundedSize(count) : count;
  }

  /** A class that is in the kernel already. */
  adopt(number: number, kind: ClassKind, name: string, now: number): void {
    const record: ClassRecord = { number, kind, name, map: classMap(kind), users: 0, idleSince: now };
    this.#byName.set(name, record);
    this.#byNumber.set(number, record);
    if (number >= this.#next) this.#next = number + 1;
  }

  kindOf(p: number): ClassKind | undefined {
    return this.#byNumber.get(classOf(p))?.kind;
  }

  /** Value that leads to the endpoints of `id`; counts one user. Undefined when there is no free number. */
  acquire(kind: ClassKind, endpoints: number, affinity: number, id: number, changes: Changes): number | undefined {
    const name = className(kind, endpoints, affinity);
    let record = this.#byName.get(name);
    if (record === undefined) {
      const number = this.#freed.pop() ?? (this.#next <= MAX_CLASS ? this.#next++ : undefined);
      if (number === undefined) return undefined;
      record = { number, kind, name, map: classMap(kind), users: 0, idleSince: 0 };
      this.#byName.set(name, record);
      this.#byNumber.set(number, record);
      const chains = this.#text.classChains(kind, endpoints, affinity);
      changes.classesAdded.push({ map: record.map, number, chains });
    }
    record.users += 1;
    return packClass(record.number, id);
  }

  /** Gives back what `acquire` returned. Values that refuse or drop have no class and are ignored. */
  release(p: number, now: number): void {
    const record = idOf(p) === 0 ? undefined : this.#byNumber.get(classOf(p));
    if (record === undefined) return;
    record.users -= 1;
    if (record.users === 0) record.idleSince = now;
  }

  /** Whether a class is waiting to be removed. */
  get hasIdle(): boolean {
    for (const record of this.#byName.values()) if (record.users === 0) return true;
    return false;
  }

  /** Removes classes that nothing has led to for a second. */
  sweep(now: number, changes: Changes): void {
    for (const record of this.#byName.values()) {
      if (record.users > 0 || record.idleSince + REUSE_DELAY_MS > now) continue;
      this.#byName.delete(record.name);
      this.#byNumber.delete(record.number);
      this.#freed.push(record.number);
      // `e-5` names `n-5`, which nothing else does.
      const chains = record.kind === 'e' ? [record.name, `n${record.name.slice(1)}`] : [record.name];
      changes.classesRemoved.push({ map: record.map, number: record.number, chains });
    }
  }
}
