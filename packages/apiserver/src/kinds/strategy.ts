import type { KubeObject } from '@weft/kube';
import type { FieldError, KindStrategy, StrategyContext } from '../contract.ts';

/** KindStrategy for the one type of object it will be given; columns and cells come from the table room. */
export interface TypedStrategy<T extends KubeObject> {
  readonly defaults?: (obj: T) => void;
  readonly prepareCreate?: (obj: T, ctx: StrategyContext) => void;
  readonly prepareUpdate?: (next: T, old: T, ctx: StrategyContext) => void;
  readonly prepareStatusUpdate?: (next: T, old: T, ctx: StrategyContext) => void;
  readonly validate?: (obj: T, ctx: StrategyContext) => FieldError[];
  readonly validateUpdate?: (next: T, old: T, ctx: StrategyContext) => FieldError[];
  readonly validateDelete?: (obj: T, ctx: StrategyContext) => FieldError[];
  readonly allocate?: (next: T, old: T | undefined, ctx: StrategyContext) => FieldError[];
  readonly release?: (obj: T) => void;
  readonly statusSubresource?: boolean;
  readonly hasGeneration?: boolean;
  readonly selectableFields?: Readonly<Record<string, (obj: T) => string>>;
  readonly nameRule?: KindStrategy['nameRule'];
  readonly gracefulDelete?: (obj: T, requested: number | undefined) => number;
  readonly warnings?: (obj: T, old: T | undefined) => string[];
}

/** What a kind file provides: everything but the table. */
export type KindRules = Omit<KindStrategy, 'columns' | 'cells'>;

/** The server picks a strategy by resource, so each is only ever given objects of its own type. */
export function rules<T extends KubeObject>(typed: TypedStrategy<T>): KindRules {
  return typed as unknown as KindRules;
}

/** Drops `status` on create and keeps the stored one on update, as kinds with a status subresource do. */
export function keepsStatus<T extends KubeObject & { status?: unknown }>(
  initial: () => T['status'] | undefined = () => undefined,
): Pick<TypedStrategy<T>, 'prepareCreate' | 'prepareUpdate' | 'prepareStatusUpdate' | 'statusSubresource'> {
  return {
    statusSubresource: true,
    prepareCreate: (obj) => setStatus(obj, initial()),
    prepareUpdate: (next, old) => setStatus(next, old.status),
  };
}

export function setStatus<T extends { status?: unknown }>(obj: T, status: T['status'] | undefined): void {
  if (status === undefined) delete obj.status;
  else obj.status = status;
}
