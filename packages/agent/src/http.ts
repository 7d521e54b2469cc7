import http from 'node:http';
import { errorMessage, type Logger, type Metrics } from '@weft/plan';

/** One question that a health endpoint answers. */
export interface HealthCheck {
  readonly name: string;
  /** Undefined when all is well, else what is wrong. */
  readonly problem: () => string | undefined;
}

/**
 * `/healthz`, `/livez`, `/readyz` and `/metrics` of an agent. `?verbose` names every check, as Kubernetes' components
 * do.
 */
export function healthServer(options: {
  readonly live: readonly HealthCheck[];
  readonly ready: readonly HealthCheck[];
  readonly metrics: Metrics;
  /** Paths that answer with JSON, to the query of the URL; 404 while there is nothing to tell. */
  readonly documents?: Readonly<Record<string, (query: URLSearchParams) => unknown>>;
}): http.Server {
  const answer: http.RequestListener = async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://agent');
    if (url.pathname === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(options.metrics.render());
      return;
    }
    const document = await options.documents?.[url.pathname]?.(url.searchParams);
    if (document !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
      return;
    }
    const checks =
      url.pathname === '/readyz'
        ? options.ready
        : ['/healthz', '/livez'].includes(url.pathname)
          ? options.live
          : undefined;
    if (checks === undefined) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
      return;
    }
    const results = checks.map((c) => ({ name: c.name, problem: c.problem() }));
    const failed = results.some((r) => r.problem !== undefined);
    const verbose = failed || url.searchParams.has('verbose');
    const lines = results.map((r) =>
      r.problem === undefined ? `[+]${r.name} ok` : `[-]${r.name} failed: ${r.problem}`,
    );
    const last = `${url.pathname.slice(1)} check ${failed ? 'failed' : 'passed'}`;
    response
      .writeHead(failed ? 503 : 200, { 'content-type': 'text/plain' })
      .end(verbose ? `${[...lines, last].join('\n')}\n` : 'ok');
  };
  return http.createServer((request, response) => {
    void Promise.resolve(answer(request, response)).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
      response.end(`${errorMessage(error)}\n`);
    });
  });
}

/** Listens, and reports instead of dying when it cannot: a node without health endpoint still has a network. */
export function listenOrReport(
  server: http.Server,
  where: { readonly host: string; readonly port: number },
  log: Logger,
): void {
  server.on('error', (error) => log.error('cannot serve health and metrics', { ...where, error }));
  server.listen(where);
}
