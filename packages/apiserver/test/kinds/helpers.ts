import type { KubeObject } from '@weft/kube';
import type { ApiResource, FieldError, KindStrategy, StrategyContext } from '../../src/contract.ts';
import { createStrategies, type StrategyConfig } from '../../src/kinds/index.ts';
import { resources } from '../../src/schema/index.ts';

export const NOW = new Date('2026-01-01T00:00:00Z');

export const secondsAgo = (seconds: number): string =>
  `${new Date(NOW.getTime() - seconds * 1000).toISOString().slice(0, 19)}Z`;

/** The resource by `group/plural`. */
export function resourceOf(id: string): ApiResource {
  const found = resources.find((r) => `${r.group}/${r.plural}` === id);
  if (found === undefined) throw new Error(`no resource ${id}`);
  return found;
}

/** Plain JSON of an object, as a client would send it. */
export type Body = Record<string, unknown> & { metadata?: Record<string, unknown> };

/** `field: message`, as it stands in a Status. */
export const texts = (errors: readonly FieldError[]): string[] => errors.map((e) => `${e.field}: ${e.message}`);

export interface Outcome<T> {
  readonly obj: T;
  readonly errors: string[];
}

/** Takes objects through the same steps as the server does, in its order, and keeps those that are accepted. */
export class Steps {
  readonly #strategies;
  readonly #stored = new Map<string, KubeObject>();

  constructor(config: Partial<StrategyConfig> = {}) {
    this.#strategies = createStrategies({
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: [30000, 32767],
      clusterDomain: 'cluster.local',
      ...config,
    });
  }

  strategy(id: string): KindStrategy {
    return this.#strategies.strategyFor(resourceOf(id));
  }

  rebuild(objects: Iterable<{ resource: ApiResource; obj: KubeObject }>): void {
    this.#strategies.rebuild(objects);
  }

  /** Adds what strategies can look up. */
  store(id: string, obj: Body): void {
    const { namespace = '', name = '' } = (obj.metadata ?? {}) as { namespace?: string; name?: string };
    this.#stored.set(`${id} ${namespace} ${name}`, obj as unknown as KubeObject);
  }

  create<T extends KubeObject>(id: string, body: Body, dryRun = false): Outcome<T> {
    const obj = structuredClone(body) as unknown as T;
    obj.metadata = { uid: 'uid-1', ...obj.metadata };
    if (resourceOf(id).namespaced) obj.metadata.namespace ??= 'default';
    const strategy = this.strategy(id);
    const ctx = this.#context(dryRun);
    strategy.defaults?.(obj);
    strategy.prepareCreate?.(obj, ctx);
    const errors = strategy.validate?.(obj, ctx) ?? [];
    if (errors.length === 0) errors.push(...(strategy.allocate?.(obj, undefined, ctx) ?? []));
    return { obj, errors: texts(errors) };
  }

  /** `body` is the whole object that a PUT or a patch arrives at. */
  update<T extends KubeObject>(id: string, old: T, body: Body): Outcome<T> {
    const next = structuredClone(body) as unknown as T;
    const strategy = this.strategy(id);
    const ctx = this.#context(false);
    strategy.defaults?.(next);
    strategy.prepareUpdate?.(next, old, ctx);
    const errors = [...(strategy.validate?.(next, ctx) ?? []), ...(strategy.validateUpdate?.(next, old, ctx) ?? [])];
    if (errors.length === 0) errors.push(...(strategy.allocate?.(next, old, ctx) ?? []));
    return { obj: next, errors: texts(errors) };
  }

  /** The object with some fields replaced, then updated. */
  change<T extends KubeObject>(id: string, old: T, edit: (copy: T) => void): Outcome<T> {
    const copy = structuredClone(old);
    edit(copy);
    return this.update(id, old, copy as unknown as Body);
  }

  row(id: string, obj: Body): Record<string, unknown> {
    const { columns, cells } = this.strategy(id);
    const row = cells(obj as unknown as KubeObject, NOW);
    return Object.fromEntries(columns.map((column, i) => [column.name, row[i]]));
  }

  #context(dryRun: boolean): StrategyContext {
    const of = (resource: string, namespace = ''): [string, KubeObject][] =>
      [...this.#stored].filter(([key]) => key.startsWith(`${resource} ${namespace}`));
    return {
      get: (resource, namespace, name) => this.#stored.get(`${resource} ${namespace ?? ''} ${name}`),
      list: (resource, namespace) => of(resource, namespace).map(([, obj]) => obj),
      now: () => NOW,
      dryRun,
    };
  }
}

/** A template whose pods carry `app: <name>`. */
export const template = (name: string, spec: Record<string, unknown> = {}): Record<string, unknown> => ({
  metadata: { labels: { app: name } },
  spec: { containers: [{ name: 'c', image: 'nginx' }], ...spec },
});
