import type { ConfigMap, Event, EventsV1Event, KubeObject, Lease, Secret, ServiceAccount } from '@weft/kube';
import { ageOf } from './age.ts';
import { age, createdAt, integer, name, part, printer, wide } from './printer.ts';

const size = (record: object | null | undefined): number => Object.keys(record ?? {}).length;

export const configMaps = printer<ConfigMap>(
  name,
  part('Data', (c) => size(c.data) + size(c.binaryData), integer, 'Number of entries'),
  age,
);

export const secrets = printer<Secret>(
  name,
  part('Type', (s) => s.type ?? '', {}, 'What the secret is for'),
  part('Data', (s) => size(s.data), integer, 'Number of entries'),
  age,
);

export const serviceAccounts = printer<ServiceAccount>(
  name,
  part('Secrets', (s) => s.secrets?.length ?? 0, {}, 'Number of secrets the account names'),
  age,
);

export const leases = printer<Lease>(
  name,
  part('Holder', (l) => l.spec?.holderIdentity ?? '', {}, 'Who holds the lease'),
  age,
);

/** An event in either of its two forms (v1, and events.k8s.io/v1 where some fields have other names). */
export type AnyEvent = Omit<Event, 'involvedObject'> & Partial<Pick<Event, 'involvedObject'>> & Partial<EventsV1Event>;

const regarding = (e: AnyEvent): Event['involvedObject'] => e.involvedObject ?? e.regarding ?? {};
const firstSeen = (e: AnyEvent, now: Date): string =>
  ageOf(e.firstTimestamp ?? e.deprecatedFirstTimestamp ?? e.eventTime, now);

function lastSeen(e: AnyEvent, now: Date): string {
  if (e.series) return ageOf(e.series.lastObservedTime, now);
  const last = e.lastTimestamp ?? e.deprecatedLastTimestamp;
  return last ? ageOf(last, now) : firstSeen(e, now);
}

function eventObject(e: AnyEvent): string {
  const { kind = '', name: target } = regarding(e);
  return target ? `${kind.toLowerCase()}/${target}` : kind.toLowerCase();
}

function eventSource(e: AnyEvent): string {
  const source = e.source ?? e.deprecatedSource ?? {};
  const component = source.component || e.reportingComponent || e.reportingController || '';
  const host = source.host || e.reportingInstance || '';
  return host === '' ? component : `${component}, ${host}`;
}

export const events = printer<AnyEvent>(
  part('Last Seen', lastSeen, {}, 'Time since the event was last seen'),
  part('Type', (e) => e.type ?? '', {}, 'Normal or Warning'),
  part('Reason', (e) => e.reason ?? '', {}, 'Short reason, for machines'),
  part('Object', eventObject, {}, 'Object the event is about'),
  part('Subobject', (e) => regarding(e).fieldPath ?? '', wide, 'Part of the object'),
  part('Source', eventSource, wide, 'Who reported it'),
  part('Message', (e) => (e.message ?? e.note ?? '').trim(), {}, 'What happened, for people'),
  part('First Seen', firstSeen, wide, 'Time since the event was first seen'),
  part('Count', (e) => e.series?.count ?? e.count ?? e.deprecatedCount ?? 1, wide, 'How often it was seen'),
  { ...name, column: { ...name.column, priority: 1 } },
);

export const limitRanges = printer<KubeObject>(name, createdAt);

interface ResourceQuota extends KubeObject {
  status?: { hard?: Record<string, string>; used?: Record<string, string> };
}

function quotaText(quota: ResourceQuota, limits: boolean): string {
  const { hard = {}, used = {} } = quota.status ?? {};
  return Object.keys(hard)
    .sort()
    .filter((resource) => resource.startsWith('limits') === limits)
    .map((resource) => `${resource}: ${used[resource] ?? '0'}/${hard[resource]}`)
    .join(', ');
}

export const resourceQuotas = printer<ResourceQuota>(
  name,
  part('Request', (q) => quotaText(q, false), {}, 'Requests used, of those allowed'),
  part('Limit', (q) => quotaText(q, true), {}, 'Limits used, of those allowed'),
  age,
);
