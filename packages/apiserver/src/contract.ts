import type { KubeObject } from '@weft/kube';

/** One fault of one field, as Kubernetes reports it in `Status.details.causes` (apimachinery field.Error). */
export interface FieldError {
  readonly reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueNotFound'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
    | 'FieldValueTypeInvalid'
    | 'InternalError';
  /** Path such as `spec.ports[0].port`. */
  readonly field: string;
  /** Kubernetes' wording without the field, for example `Invalid value: 0: must be between 1 and 65535, inclusive`. */
  readonly message: string;
}

/** A resource as discovery lists it. */
export interface ApiResource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly ApiSubresource[];
}

export interface ApiSubresource {
  /** `status`, `scale`, `exec`, … */
  readonly name: string;
  /** Kind of the body, with its group and version when they differ from the parent's. */
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** What strategies may ask of the running server. */
export interface StrategyContext {
  /** Current object, or undefined. `resource` is `group/plural` with an empty group for core: `/services`. */
  get(resource: string, namespace: string | undefined, name: string): KubeObject | undefined;
  list(resource: string, namespace?: string): readonly KubeObject[];
  readonly now: () => Date;
  /** True for dryRun=All: nothing may be reserved. */
  readonly dryRun: boolean;
}

export interface TableColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date' | 'boolean' | 'number';
  readonly format?: string;
  readonly description: string;
  /** 0 is shown always, 1 with `-o wide`. */
  readonly priority: number;
}

/**
 * Everything that is particular to one kind. All functions but `allocate` and `release` are pure; they get their own
 * copy of the object and may change it in place.
 */
export interface KindStrategy {
  /** Fills defaults (after decoding, before validation; also on update and patch). */
  readonly defaults?: (obj: KubeObject) => void;
  /** Clears what a client may not set on create (status, …) and sets generation-like fields of the kind. */
  readonly prepareCreate?: (obj: KubeObject, ctx: StrategyContext) => void;
  /** Carries over what a client may not change on update. metadata is handled by the server. */
  readonly prepareUpdate?: (next: KubeObject, old: KubeObject, ctx: StrategyContext) => void;
  readonly prepareStatusUpdate?: (next: KubeObject, old: KubeObject, ctx: StrategyContext) => void;
  readonly validate?: (obj: KubeObject, ctx: StrategyContext) => FieldError[];
  /** Immutable fields and the like; runs after `validate`. */
  readonly validateUpdate?: (next: KubeObject, old: KubeObject, ctx: StrategyContext) => FieldError[];
  readonly validateDelete?: (obj: KubeObject, ctx: StrategyContext) => FieldError[];
  /** Reserves what the object needs (ClusterIP, NodePort) and writes it into `next`; `old` is undefined on create. */
  readonly allocate?: (next: KubeObject, old: KubeObject | undefined, ctx: StrategyContext) => FieldError[];
  /** Called once the object is gone for good. */
  readonly release?: (obj: KubeObject) => void;
  /** True when `status` is only written through the status subresource. */
  readonly statusSubresource?: boolean;
  /** True when a change of anything but metadata and status increments metadata.generation. */
  readonly hasGeneration?: boolean;
  /** Fields, besides metadata.name and metadata.namespace, that field selectors may use. */
  readonly selectableFields?: Readonly<Record<string, (obj: KubeObject) => string>>;
  readonly columns: readonly TableColumn[];
  readonly cells: (obj: KubeObject, now: Date) => (string | number | boolean | null)[];
  readonly nameRule?: 'dns-subdomain' | 'dns-label' | 'dns1035-label' | 'path-segment';
  /** Grace period for DELETE without one, in seconds (pods). 0 deletes at once. */
  readonly gracefulDelete?: (obj: KubeObject, requested: number | undefined) => number;
  /** Non-fatal remarks returned as HTTP `Warning` headers. */
  readonly warnings?: (obj: KubeObject, old: KubeObject | undefined) => string[];
}
