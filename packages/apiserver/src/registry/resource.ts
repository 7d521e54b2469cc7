import { apiVersionOf } from '@weft/kube';
import type { ApiResource, KindStrategy } from '../contract.ts';
import { gvkType } from '../schema/index.ts';
import type { AnyObject, Stored } from '../store/stored.ts';

/** Turns objects of one version of a kind into those of the stored version, and back. Both give new objects. */
export interface Conversion {
  readonly toStored: (object: AnyObject) => AnyObject;
  readonly fromStored: (object: AnyObject) => AnyObject;
}

/** The parts of a CustomResourceDefinition that serving its objects needs. */
export interface CustomKind {
  readonly crd: string;
  /** `openAPIV3Schema` of this version. */
  readonly schema: unknown;
  /** True for `preserveUnknownFields: true`. */
  readonly open: boolean;
  readonly listKind: string;
  readonly scale: { readonly spec: string; readonly status: string; readonly selector?: string } | undefined;
}

/** One version of one resource, as it is served. */
export interface Resource {
  readonly api: ApiResource;
  readonly apiVersion: string;
  readonly strategy: KindStrategy;
  /** Collection of the store; versions of one resource share it. */
  readonly storage: string;
  /** Name of the published type; undefined for custom resources. */
  readonly typeName: string | undefined;
  readonly conversion: Conversion | undefined;
  readonly custom: CustomKind | undefined;
  /** True for the version that is stored; the strategy of that version has the say. */
  readonly isStored: boolean;
  /** False for a stored version that clients do not see. */
  readonly served: boolean;
}

export function makeResource(
  api: ApiResource,
  strategy: KindStrategy,
  more: Partial<Pick<Resource, 'storage' | 'conversion' | 'custom' | 'isStored' | 'served'>> = {},
): Resource {
  return {
    api,
    strategy,
    apiVersion: apiVersionOf(api.group, api.version),
    storage: more.storage ?? `${api.group}/${api.plural}`,
    typeName: more.custom === undefined ? gvkType(api.group, api.version, api.kind) : undefined,
    conversion: more.conversion,
    custom: more.custom,
    isStored: more.isStored ?? more.conversion === undefined,
    served: more.served ?? true,
  };
}

/** A stored object in the version of `resource`. */
export function objectOf(resource: Resource, state: Stored): AnyObject {
  return resource.conversion?.fromStored(state.object) ?? state.object;
}

/** All resources that are served now. */
export class ResourceTable {
  readonly #byPath = new Map<string, Resource>();
  readonly #stored = new Map<string, Resource>();
  #version = 0;

  /** Changes whenever a resource comes or goes: what is derived from the table may be cached under it. */
  get version(): number {
    return this.#version;
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  /** The version of a resource that is stored, by `group/plural`. */
  byStorage(storage: string): Resource | undefined {
    return this.#stored.get(storage);
  }

  /** Every version that is served. */
  all(): Resource[] {
    return [...this.#byPath.values()];
  }

  /** Every resource once, in the version that is stored. */
  stored(): Resource[] {
    return [...this.#stored.values()];
  }

  add(resource: Resource): void {
    const { group, version, plural } = resource.api;
    if (resource.served) this.#byPath.set(`${group}/${version}/${plural}`, resource);
    if (resource.isStored) this.#stored.set(resource.storage, resource);
    this.#version += 1;
  }

  remove(resource: Resource): void {
    const { group, version, plural } = resource.api;
    const path = `${group}/${version}/${plural}`;
    if (this.#byPath.get(path) === resource) this.#byPath.delete(path);
    if (this.#stored.get(resource.storage) === resource) this.#stored.delete(resource.storage);
    this.#version += 1;
  }
}
