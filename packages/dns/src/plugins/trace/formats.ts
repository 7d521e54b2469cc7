import type { Span } from './span.ts';

/** How a collector wants spans. */
export interface Format {
  readonly method: string;
  readonly path: string;
  /** Names of the tags: what is between `coredns.io` and the tag. */
  readonly separator: string;
  encode(spans: readonly Span[]): string;
}

/** Where the server listens, as zipkin shows it. */
interface LocalEndpoint {
  readonly serviceName: string;
  readonly port?: number;
}

/** Zipkin's API v2. */
export function zipkin(localEndpoint: LocalEndpoint): Format {
  return {
    method: 'POST',
    path: '/api/v2/spans',
    separator: '/',
    encode: (spans) =>
      JSON.stringify(
        spans.map((span) => ({
          traceId: span.traceId,
          id: span.id,
          ...(span.parentId === undefined ? {} : { parentId: span.parentId }),
          name: span.name,
          timestamp: span.start,
          duration: Math.max(1, span.duration),
          ...(span.top ? { kind: 'SERVER' } : {}),
          ...(span.shared ? { shared: true } : {}),
          localEndpoint,
          ...(span.error === undefined
            ? {}
            : { annotations: [{ timestamp: span.start + span.duration, value: span.error }] }),
          tags: span.error === undefined ? span.tags : { ...span.tags, error: 'true' },
        })),
      ),
  };
}

/** The trace API of the Datadog agent. Its ids are numbers: the low 52 bits of ours. */
export function datadog(service: string, analyticsRate: number): Format {
  const number = (id: string | undefined): number => (id === undefined ? 0 : Number.parseInt(id.slice(-13), 16));
  return {
    method: 'PUT',
    path: '/v0.3/traces',
    separator: '@',
    encode: (spans) => {
      const traces = new Map<string, Span[]>();
      for (const span of spans) traces.set(span.traceId, [...(traces.get(span.traceId) ?? []), span]);
      return JSON.stringify(
        [...traces.values()].map((trace) =>
          trace.map((span) => ({
            trace_id: number(span.traceId),
            span_id: number(span.id),
            parent_id: number(span.parentId),
            name: span.name,
            resource: span.name,
            service,
            type: 'dns',
            start: span.start * 1000,
            duration: Math.max(1, span.duration) * 1000,
            error: span.error === undefined ? 0 : 1,
            meta:
              span.error === undefined
                ? span.tags
                : { ...span.tags, 'error.message': span.error, 'error.type': 'dns_error' },
            metrics: span.top && analyticsRate > 0 ? { '_dd1.sr.eausr': analyticsRate } : {},
          })),
        ),
      );
    },
  };
}
