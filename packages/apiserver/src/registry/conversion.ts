import type { AnyObject } from '../store/stored.ts';
import type { Conversion } from './resource.ts';
import { isRecord } from './json.ts';

/** Names of the fields of core/v1 Event (left) and events.k8s.io/v1 Event (right) that hold the same. */
const EVENT_FIELDS: readonly (readonly [core: string, events: string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
];

function renamed(object: AnyObject, apiVersion: string, names: ReadonlyMap<string, string>): AnyObject {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(object)) out[names.get(key) ?? key] = value;
  out.apiVersion = apiVersion;
  return out as unknown as AnyObject;
}

/** Events are stored as core/v1 (pkg/apis/events/v1/conversion.go). */
const events: Conversion = {
  toStored: (object) => renamed(object, 'v1', new Map(EVENT_FIELDS.map(([core, other]) => [other, core]))),
  fromStored: (object) => renamed(object, 'events.k8s.io/v1', new Map(EVENT_FIELDS)),
};

interface Metric {
  readonly type?: string;
  readonly resource?: {
    readonly name?: string;
    readonly target?: { readonly type?: string; readonly averageUtilization?: number };
    readonly current?: { readonly averageUtilization?: number };
  };
}

const isCpu = (metric: Metric): boolean => metric.type === 'Resource' && metric.resource?.name === 'cpu';

/** HorizontalPodAutoscalers are stored as v2; v1 knows the CPU metric only, and keeps the rest in an annotation. */
const autoscalers: Conversion = {
  toStored: (object) => {
    const { targetCPUUtilizationPercentage: percent, ...spec } = isRecord(object.spec) ? object.spec : {};
    const annotations = { ...object.metadata.annotations };
    const others = readMetrics(annotations[METRICS]).filter((m) => !isCpu(m));
    delete annotations[METRICS];
    const cpu: Metric = {
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: percent as number } },
    };
    const metrics = [...others, ...(percent === undefined ? [] : [cpu])];
    const status = isRecord(object.status) ? { ...object.status } : undefined;
    if (status !== undefined) delete status.currentCPUUtilizationPercentage;
    const { annotations: _, ...metadata } = object.metadata;
    return {
      ...object,
      apiVersion: 'autoscaling/v2',
      metadata: Object.keys(annotations).length > 0 ? { ...metadata, annotations } : metadata,
      spec: metrics.length === 0 ? spec : { ...spec, metrics },
      ...(status === undefined ? {} : { status }),
    };
  },
  fromStored: (object) => {
    const {
      metrics = [],
      behavior: _,
      ...spec
    } = (isRecord(object.spec) ? object.spec : {}) as { metrics?: Metric[]; behavior?: unknown };
    const percent = metrics.find(isCpu)?.resource?.target?.averageUtilization;
    const others = metrics.filter((m) => !isCpu(m));
    const {
      currentMetrics = [],
      conditions: __,
      ...status
    } = (isRecord(object.status) ? object.status : {}) as {
      currentMetrics?: Metric[];
      conditions?: unknown;
    };
    const current = currentMetrics.find(isCpu)?.resource?.current?.averageUtilization;
    return {
      ...object,
      apiVersion: 'autoscaling/v1',
      metadata:
        others.length === 0
          ? object.metadata
          : { ...object.metadata, annotations: { ...object.metadata.annotations, [METRICS]: JSON.stringify(others) } },
      spec: percent === undefined ? spec : { ...spec, targetCPUUtilizationPercentage: percent },
      status: current === undefined ? status : { ...status, currentCPUUtilizationPercentage: current },
    };
  },
};

const METRICS = 'autoscaling.alpha.kubernetes.io/metrics';

function readMetrics(text: string | undefined): Metric[] {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? (value as Metric[]) : [];
  } catch {
    return [];
  }
}

/** Built-in resources that are stored in another version, by `group/version/plural`. */
export const conversions: Readonly<Record<string, { readonly storage: string; readonly conversion: Conversion }>> = {
  'events.k8s.io/v1/events': { storage: '/events', conversion: events },
  'autoscaling/v1/horizontalpodautoscalers': {
    storage: 'autoscaling/horizontalpodautoscalers',
    conversion: autoscalers,
  },
};
