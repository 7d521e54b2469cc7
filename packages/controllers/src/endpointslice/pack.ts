import type { Endpoint, EndpointPort, EndpointSlice } from '@weft/kube';
import { sameValue } from '@weft/plan';
import { type AddressType, type EndpointGroup, portListKey } from './compile.ts';

/** The most endpoints of one slice (`--max-endpoints-per-slice`). */
export const MAX_ENDPOINTS = 100;

/** Contents of a slice; name and version are those of the slice it replaces, if any. */
export interface SliceContent {
  readonly addressType: AddressType;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** The writes that lead from the slices there are to the endpoints there must be. */
export interface SliceChanges {
  readonly create: readonly SliceContent[];
  readonly update: readonly { readonly slice: EndpointSlice; readonly content: SliceContent }[];
  readonly remove: readonly EndpointSlice[];
}

export interface PackOptions {
  readonly maxEndpoints?: number;
  /** True when something outside the contents (labels) makes the slice be written anyway. */
  readonly stale?: (slice: EndpointSlice) => boolean;
  /** Keep one empty slice per family of a Service without endpoints, so that "none" can be told from "not yet". */
  readonly placeholder: boolean;
  readonly addressTypes: readonly AddressType[];
}

interface Draft {
  readonly content: SliceContent;
  readonly slice: EndpointSlice | undefined;
}

/**
 * Distributes endpoints over slices so that few slices are written: an endpoint stays in the slice it is in; new ones
 * fill slices that are written anyway, then one slice with room for the whole rest, then new slices. Slices are never
 * re-balanced (KEP-752).
 */
export function packSlices(
  existing: readonly EndpointSlice[],
  groups: readonly EndpointGroup[],
  options: PackOptions,
): SliceChanges {
  const byGroup = new Map<string, EndpointSlice[]>();
  const idOf = (type: string, ports: readonly EndpointPort[] | undefined | null): string =>
    `${type} ${portListKey(ports)}`;
  for (const slice of existing) {
    const id = idOf(slice.addressType, slice.ports);
    byGroup.set(id, [...(byGroup.get(id) ?? []), slice]);
  }
  const create: Draft[] = [];
  const update: Draft[] = [];
  const remove: EndpointSlice[] = [];
  /** Slices that live on, by family. */
  const kept = new Map<string, number>();
  const count = (type: string, n: number): void => void kept.set(type, (kept.get(type) ?? 0) + n);
  for (const group of groups) {
    const id = idOf(group.addressType, group.ports);
    const result = packGroup(byGroup.get(id) ?? [], group, options);
    byGroup.delete(id);
    create.push(...result.create);
    update.push(...result.update);
    remove.push(...result.remove);
    count(group.addressType, result.create.length + result.update.length + result.unchanged);
  }
  for (const rest of byGroup.values()) remove.push(...rest);
  if (options.placeholder) {
    for (const type of options.addressTypes) {
      if ((kept.get(type) ?? 0) > 0) continue;
      const there = remove.findIndex((s) => s.addressType === type && isPlaceholder(s));
      const placeholder: SliceContent = { addressType: type, ports: [], endpoints: [] };
      if (there < 0) create.push({ content: placeholder, slice: undefined });
      else {
        const [slice] = remove.splice(there, 1);
        if (slice !== undefined && options.stale?.(slice)) update.push({ content: placeholder, slice });
      }
    }
  }
  return recycle(create, update, remove);
}

function isPlaceholder(slice: EndpointSlice): boolean {
  return (slice.endpoints ?? []).length === 0 && (slice.ports ?? []).length === 0;
}

/** A slice to delete and one to create of the same family are one update: the proxies see one event. */
function recycle(create: readonly Draft[], update: readonly Draft[], remove: readonly EndpointSlice[]): SliceChanges {
  const left = [...remove];
  const updates = update.map(({ content, slice }) => ({ content, slice: slice as EndpointSlice }));
  const creates: SliceContent[] = [];
  for (const { content } of create) {
    const at = left.findIndex((slice) => slice.addressType === content.addressType);
    const [slice] = at < 0 ? [] : left.splice(at, 1);
    if (slice === undefined) creates.push(content);
    else updates.push({ content, slice });
  }
  return { create: creates, update: updates, remove: left };
}

interface GroupResult {
  readonly create: Draft[];
  readonly update: Draft[];
  readonly remove: EndpointSlice[];
  readonly unchanged: number;
}

function packGroup(existing: readonly EndpointSlice[], group: EndpointGroup, options: PackOptions): GroupResult {
  const max = options.maxEndpoints ?? MAX_ENDPOINTS;
  const missing = new Map(group.endpoints.map((e) => [endpointId(e), e]));
  const changed: { slice: EndpointSlice; endpoints: Endpoint[] }[] = [];
  const unchanged: { slice: EndpointSlice; endpoints: Endpoint[] }[] = [];
  const remove: EndpointSlice[] = [];
  for (const slice of existing) {
    const old = slice.endpoints ?? [];
    const kept: Endpoint[] = [];
    let differs = options.stale?.(slice) === true;
    for (const endpoint of old) {
      const id = endpointId(endpoint);
      const wanted = missing.get(id);
      if (wanted === undefined) {
        differs = true;
        continue;
      }
      missing.delete(id);
      kept.push(wanted);
      if (!sameEndpoint(endpoint, wanted)) differs = true;
    }
    if (kept.length === 0) remove.push(slice);
    else (differs ? changed : unchanged).push({ slice, endpoints: kept });
  }
  const rest = [...missing.values()];
  // The fullest first: slices end up full rather than many.
  changed.sort((a, b) => b.endpoints.length - a.endpoints.length);
  for (const slice of changed) slice.endpoints.push(...rest.splice(0, Math.max(0, max - slice.endpoints.length)));
  if (rest.length > 0 && rest.length < max) {
    const best = bestFit(unchanged, rest.length, max);
    if (best !== undefined) {
      unchanged.splice(unchanged.indexOf(best), 1);
      best.endpoints.push(...rest.splice(0));
      changed.push(best);
    }
  }
  const create: Draft[] = [];
  const contentOf = (endpoints: readonly Endpoint[]): SliceContent => ({
    addressType: group.addressType,
    ports: group.ports,
    endpoints,
  });
  while (rest.length > 0) create.push({ content: contentOf(rest.splice(0, max)), slice: undefined });
  const update = changed.map(({ slice, endpoints }) => ({ slice, content: contentOf(endpoints) }));
  return { create, update, remove, unchanged: unchanged.length };
}

/** The slice that is fullest after taking `n` more. */
function bestFit<T extends { endpoints: Endpoint[] }>(slices: readonly T[], n: number, max: number): T | undefined {
  let best: T | undefined;
  for (const slice of slices) {
    const length = slice.endpoints.length;
    if (length + n <= max && (best === undefined || length > best.endpoints.length)) best = slice;
  }
  return best;
}

/** What makes an endpoint the same one; its conditions, hints and place may change. */
function endpointId(endpoint: Endpoint): string {
  const ref = endpoint.targetRef;
  return `${endpoint.addresses.join()} ${ref?.uid ?? ''} ${ref?.namespace ?? ''}/${ref?.name ?? ''}`;
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    sameValue(a.addresses, b.addresses) &&
    a.conditions?.ready === b.conditions?.ready &&
    a.conditions?.serving === b.conditions?.serving &&
    a.conditions?.terminating === b.conditions?.terminating &&
    a.hostname === b.hostname &&
    a.nodeName === b.nodeName &&
    a.zone === b.zone &&
    a.targetRef?.uid === b.targetRef?.uid &&
    a.targetRef?.name === b.targetRef?.name &&
    sameValue(a.hints ?? {}, b.hints ?? {})
  );
}
