// Written by scripts/generate-types.mjs from the published Kubernetes OpenAPI document; edit that script instead.
import type { EventSource, ObjectReference } from './core.ts';
import type { MicroTime, ObjectMeta, Time } from './meta.ts';

/** The events.k8s.io/v1 `Event`; stored as the same object as the core/v1 event. */
export interface EventsV1Event {
  action?: string;
  apiVersion?: string;
  deprecatedCount?: number;
  deprecatedFirstTimestamp?: Time;
  deprecatedLastTimestamp?: Time;
  deprecatedSource?: EventSource;
  eventTime: MicroTime;
  kind?: string;
  metadata: ObjectMeta;
  note?: string;
  reason?: string;
  regarding?: ObjectReference;
  related?: ObjectReference;
  reportingController?: string;
  reportingInstance?: string;
  series?: EventsV1EventSeries;
  type?: 'Normal' | 'Warning' | (string & {});
}

/** The events.k8s.io/v1 `EventSeries`. */
export interface EventsV1EventSeries {
  count: number;
  lastObservedTime: MicroTime;
}
