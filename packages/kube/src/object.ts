import type { ObjectMeta, OwnerReference } from './types/meta.ts';

/** What every API object has. Lists of the API server leave `apiVersion` and `kind` out of their items. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** An object that is not stored yet: its name may still be generated (`generateName`). */
export type Draft<T extends KubeObject> = Omit<T, 'metadata'> & { metadata: Partial<ObjectMeta> };

/** `namespace/name`, or `name` for an object without a namespace: the key of informers and stores. */
export function objectKey(object: { metadata: { name?: string; namespace?: string } }): string {
  const { name = '', namespace } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/** The inverse of objectKey. */
export function splitKey(key: string): { namespace?: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** `''` + `v1` → `v1`; `apps` + `v1` → `apps/v1`. */
export function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}

/** `apps/v1` → group `apps`, version `v1`; `v1` is the core group, whose name is empty. */
export function parseApiVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf('/');
  return slash < 0
    ? { group: '', version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** The owner reference that names `owner` as the managing controller (it blocks foreground deletion of the owner). */
export function controllerRef(owner: KubeObject, kind?: { apiVersion: string; kind: string }): OwnerReference {
  return {
    apiVersion: kind?.apiVersion ?? owner.apiVersion ?? '',
    kind: kind?.kind ?? owner.kind ?? '',
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The one owner reference with `controller: true`, if any. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((ref) => ref.controller === true);
}

/** True when `owner` is the managing controller of `object`; compares the uid, so a re-created owner does not match. */
export function isControlledBy(object: KubeObject, owner: KubeObject): boolean {
  const ref = controllerOf(object);
  return ref !== undefined && ref.uid === owner.metadata.uid;
}

/** True once deletion was asked for: the object lives on for its finalizers or its grace period. */
export function isDeleting(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}
