import { parsePrefix, type Prefix } from '@weft/net';
import { type Diff, diffPlans, type Entry } from '@weft/plan';
import { nodeFacts } from '../../src/model/node.ts';
import { slimService, slimSlice, type SlimSlice } from '../../src/model/slim.ts';
import type { Planned } from '../../src/model/types.ts';
import { World } from '../../src/model/world.ts';
import type { FamilyConfig } from '../../src/config.ts';
import { type Event, NODE } from './worlds.ts';

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

export const CONFIG: FamilyConfig = {
  family: 4,
  detector: { by: 'cidr', cidrs: [prefix('10.244.0.0/16')] },
  serviceCidrs: [prefix('10.96.0.0/12')],
  masqueradeAll: false,
  masqueradeMark: 0x4000,
  nodePorts: { all: false, primary: true, cidrs: [] },
};

/** The same pods, in two blocks. */
export const TWO_BLOCKS: FamilyConfig = {
  ...CONFIG,
  detector: { by: 'cidr', cidrs: [prefix('10.244.0.0/17'), prefix('10.244.128.0/17')] },
};

/** A world that is fed events like a watch feeds it, with the loop's bookkeeping of what was applied. */
export class Feed {
  readonly world = new World({ nodeName: NODE, families: [4], primaryNodePorts: true });
  readonly applied = new Map<string, Entry<Planned>>();
  readonly #slices = new Map<string, SlimSlice>();
  readonly #dirty = new Set<string>();

  constructor() {
    this.#mark(
      this.world.setNode(
        nodeFacts({
          metadata: { name: NODE },
          status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
        } as never),
      ),
    );
  }

  push(event: Event): void {
    if (event.kind === 'service') {
      const slim = event.object === undefined ? undefined : slimService(event.object);
      this.#mark([this.world.setService(`default/${event.name}`, slim)]);
      return;
    }
    const old = this.#slices.get(event.name);
    const slim = event.object === undefined ? undefined : slimSlice(NODE)(event.object);
    if (slim === undefined) this.#slices.delete(event.name);
    else this.#slices.set(event.name, slim);
    this.#mark(this.world.setSlice(old, slim));
  }

  /** The change since the last call, as the loop would hand it to `apply`. */
  take(): Diff<Planned> {
    const before = new Map<string, Entry<Planned>>();
    const after = new Map<string, Entry<Planned>>();
    for (const unit of this.#dirty) {
      for (const [key, entry] of this.applied) if (unitOf(key, entry) === unit) before.set(key, entry);
      for (const [key, entry] of this.world.compile(unit)) after.set(key, entry);
    }
    this.#dirty.clear();
    for (const key of before.keys()) this.applied.delete(key);
    for (const [key, entry] of after) this.applied.set(key, entry);
    return diffPlans(before, after);
  }

  /** The whole plan as the first diff of a new agent. */
  whole(): Diff<Planned> {
    return diffPlans(new Map(), this.applied);
  }

  #mark(units: readonly string[]): void {
    for (const unit of units) this.#dirty.add(unit);
  }
}

function unitOf(_key: string, entry: Entry<Planned>): string {
  return entry.value.type === 'ServicePort' ? entry.value.service : 'node';
}
