import type { Diff, Entry, Plan } from '@weft/plan';
import type { Planned } from './model/types.ts';

export const NO_CHANGE: Diff<Planned> = { added: new Map(), changed: new Map(), removed: new Map() };

/** The plan after `diff`, as the first diff of a data plane that starts anew. */
export function wholePlan(diff: Diff<Planned>, applied: Plan<Planned>): Diff<Planned> {
  const added = new Map<string, Entry<Planned>>();
  for (const [key, entry] of applied) if (!diff.removed.has(key)) added.set(key, entry);
  for (const [key, { to }] of diff.changed) added.set(key, to);
  for (const [key, entry] of diff.added) added.set(key, entry);
  return { added, changed: new Map(), removed: new Map() };
}
