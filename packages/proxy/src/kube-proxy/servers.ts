import http from 'node:http';
import type { Logger, Metrics } from '@weft/plan';
import type { ProxyHealth } from '../proxy.ts';

/** When this process started, on the steady clock of Go's ` m=+` suffix. */
const started = performance.now();

/** A time as Go prints it with its steady clock: what kube-proxy's /healthz holds. Milliseconds since the epoch. */
function goTime(ms: number): string {
  const date = new Date(ms);
  const [day = '', rest = ''] = date.toISOString().split('T');
  const seconds = Math.max(0, (performance.now() - started - (Date.now() - ms)) / 1000);
  const fraction = `${rest.slice(9, 12)}000000`.replace(/0+$/, '');
  return `${day} ${rest.slice(0, 8)}${fraction === '' ? '' : `.${fraction}`} +0000 UTC m=+${seconds.toFixed(9)}`;
}

export interface HealthzOptions {
  readonly health: () => ProxyHealth;
  readonly metrics: Metrics;
}

/** `/healthz` and `/livez` of kube-proxy's health port, to the byte; the node's fate counts for the first only. */
export function healthzServer({ health, metrics }: HealthzOptions): http.Server {
  const counters = {
    '/healthz': metrics.counter('kubeproxy_proxy_healthz_total', 'Cumulative proxy healthz HTTP status'),
    '/livez': metrics.counter('kubeproxy_proxy_livez_total', 'Cumulative proxy livez HTTP status'),
  };
  return http.createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0] as string;
    if (path !== '/healthz' && path !== '/livez') {
      notFound(response);
      return;
    }
    const { healthy: synced, live, nodeEligible, lastUpdated } = health();
    const healthy = path === '/livez' ? live : synced;
    const now = Date.now();
    const ok = healthy && (path === '/livez' || nodeEligible);
    const updated = healthy ? now : (lastUpdated ?? 0);
    const eligible = path === '/healthz' ? `, "nodeEligible": ${nodeEligible}` : '';
    const code = ok ? 200 : 503;
    counters[path].inc({ code: String(code) });
    response
      .writeHead(code, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' })
      .end(
        `{"lastUpdated": ${JSON.stringify(goTime(updated))},"currentTime": ${JSON.stringify(goTime(now))}${eligible}}`,
      );
  });
}

export interface MetricsServerOptions {
  readonly metrics: Metrics;
  readonly mode: () => string;
  /** What `/configz` shows. */
  readonly config: unknown;
}

/** kube-proxy's metrics port. */
export function metricsServer({ metrics, mode, config }: MetricsServerOptions): http.Server {
  return http.createServer((request, response) => {
    const text = (body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(200, { 'Content-Type': type, 'X-Content-Type-Options': 'nosniff' }).end(body);
    };
    switch ((request.url ?? '').split('?')[0]) {
      case '/metrics':
        return text(metrics.render(), 'text/plain; version=0.0.4; charset=utf-8');
      case '/proxyMode':
        return text(mode());
      case '/healthz':
      case '/livez':
        return text('ok');
      case '/configz':
        return text(JSON.stringify({ 'kubeproxy.config.k8s.io': config }), 'application/json');
      default:
        return notFound(response);
    }
  });
}

function notFound(response: http.ServerResponse): void {
  response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' }).end('404 page not found\n');
}

/** Milliseconds between attempts to listen. */
const RETRY_MS = 5000;

/** `host:port` or `[host]:port`. */
function parseEndpoint(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** Listens until `signal`. A port that is taken is tried again, or with `hard` is reason enough to give up. */
export function listenFor(
  server: http.Server,
  address: string,
  options: { readonly what: string; readonly hard: boolean; readonly signal: AbortSignal; readonly log: Logger },
): Promise<void> {
  const { what, hard, signal, log } = options;
  const endpoint = parseEndpoint(address);
  signal.addEventListener('abort', () => {
    server.close();
    server.closeAllConnections();
  });
  return new Promise((resolve, reject) => {
    server.on('listening', resolve);
    server.on('error', (error) => {
      if (hard) {
        reject(error);
        return;
      }
      log.error(`starting ${what} server failed`, { address, error, retryInMs: RETRY_MS });
      // Services do not wait for it.
      resolve();
      setTimeout(() => {
        if (!signal.aborted) server.listen(endpoint);
      }, RETRY_MS).unref();
    });
    server.listen(endpoint);
  });
}
