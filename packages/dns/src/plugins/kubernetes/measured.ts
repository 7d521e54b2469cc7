import type { DnsMetrics } from '../../server/metrics.ts';
import type { KubeAccess, KubeSource } from '../../server/plugin.ts';

/** Seconds: the default buckets of Prometheus' client library. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Where the API server is, as metrics name it; empty when a kubeconfig says so. */
function hostOf({ endpoint, kubeconfig }: KubeAccess): string {
  if (kubeconfig !== undefined) return '';
  if (endpoint !== undefined) return URL.canParse(endpoint) ? new URL(endpoint).host : endpoint;
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '' } = process.env;
  return host === '' ? '' : `${host}:${port}`;
}

/** Counts a client's requests as CoreDNS does. A watch is a request that is answered when its stream opens. */
export function measured(client: KubeSource, access: KubeAccess, metrics: DnsMetrics): KubeSource {
  const host = hostOf(access);
  const requests = metrics.counter(
    'coredns_kubernetes_rest_client_requests_total',
    'Number of HTTP requests, partitioned by status code, method, and host.',
    ['code', 'method', 'host'],
  );
  const latency = metrics
    .histogram(
      'coredns_kubernetes_rest_client_request_duration_seconds',
      'Request latency in seconds. Broken down by verb and host.',
      ['verb', 'host'],
      SECONDS,
    )
    .cell('GET', host);
  const waited = metrics
    .histogram(
      'coredns_kubernetes_rest_client_rate_limiter_duration_seconds',
      'Client side rate limiter latency in seconds. Broken down by verb and host.',
      ['verb', 'host'],
      SECONDS,
    )
    .cell('GET', host);
  const begin = (): ((error?: unknown) => void) => {
    const started = performance.now();
    let told = false;
    return (error) => {
      if (told) return;
      told = true;
      const { httpCode } = (error ?? {}) as { httpCode?: number };
      const code = error === undefined ? '200' : String(httpCode ?? '<error>');
      requests.cell(code, 'GET', host).value += 1;
      latency.observe((performance.now() - started) / 1000);
      // Nothing limits the few requests of a watch.
      waited.observe(0);
    };
  };
  const close = client.close?.bind(client);
  return {
    list: async (...args) => {
      const done = begin();
      try {
        const list = await client.list(...args);
        done();
        return list;
      } catch (error) {
        done(error);
        throw error;
      }
    },
    watch: async (type, namespace, options, onEvent, signal) => {
      const done = begin();
      const onOpen = (): void => {
        done();
        options.onOpen?.();
      };
      try {
        await client.watch(type, namespace, { ...options, onOpen }, onEvent, signal);
      } catch (error) {
        done(error);
        throw error;
      }
    },
    ...(close === undefined ? {} : { close }),
  };
}
