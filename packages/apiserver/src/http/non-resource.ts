import { platform } from 'node:os';
import { OPENAPI_V2_PROTO, OPENAPI_V2_PROTO_ANSWER } from '../openapi/v2.ts';
import type { Api, Exchange } from './api.ts';
import { notAcceptable, parseAccept } from './negotiate.ts';
import { sendJson, sendText, wantsPretty } from './respond.ts';

/** The release whose API this is. */
const VERSION = {
  major: '1',
  minor: '33',
  emulationMajor: '1',
  emulationMinor: '33',
  minCompatibilityMajor: '1',
  minCompatibilityMinor: '32',
  gitVersion: 'v1.33.0+weft',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: '',
  compiler: 'node',
  platform: `${platform()}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
};

const YEAR_S = 365 * 24 * 3600;

/** Serves paths that name no resource: health, version, metrics, discovery, OpenAPI. False when there is no such path. */
export function serveNonResource(api: Api, exchange: Exchange): boolean {
  const { request, response, query } = exchange;
  const path = exchange.path.length > 1 ? exchange.path.replace(/\/+$/, '') : exchange.path;
  if (request.method !== 'GET' && request.method !== 'HEAD') return false;
  const pretty = wantsPretty(request, query);
  switch (path) {
    case '/version':
      sendJson(response, 200, VERSION, { pretty: true });
      return true;
    case '/metrics':
      sendText(response, 200, api.metrics.render(), 'text/plain; version=0.0.4; charset=utf-8');
      return true;
    case '/openapi/v3':
      sendJson(response, 200, api.openapi.index(), { pretty });
      return true;
    case '/openid/v1/jwks':
      sendJson(response, 200, api.tokens.jwks(), { type: 'application/jwk-set+json' });
      return true;
    case '/.well-known/openid-configuration':
      sendJson(response, 200, {
        issuer: api.tokens.issuer,
        jwks_uri: `${api.tokens.issuer}/openid/v1/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      });
      return true;
    case '/':
      sendJson(response, 200, { paths: rootPaths(api) }, { pretty });
      return true;
  }
  const health = /^\/(healthz|livez|readyz)(?:\/(.+))?$/.exec(path);
  if (health !== null) {
    serveHealth(api, exchange, health[1] as string, health[2]);
    return true;
  }
  if (path === '/openapi/v2') return serveOpenapiV2(api, exchange);
  if (path.startsWith('/openapi/v3/')) return serveOpenapi(api, exchange, path.slice('/openapi/v3/'.length));
  if (path === '/api' || path.startsWith('/api/') || path === '/apis' || path.startsWith('/apis/')) {
    return serveDiscovery(api, exchange, path);
  }
  return false;
}

function rootPaths(api: Api): string[] {
  const groups = new Set(
    api.env.table.all().map(({ api: r }) => (r.group === '' ? `/api/${r.version}` : `/apis/${r.group}/${r.version}`)),
  );
  return ['/api', '/apis', ...groups, '/healthz', '/livez', '/metrics', '/openapi/v3', '/readyz', '/version'].sort();
}

function serveHealth(api: Api, exchange: Exchange, kind: string, check: string | undefined): void {
  const { response, query } = exchange;
  const waiting = kind === 'livez' ? [] : api.notReady();
  const checks = ['ping', 'log', 'etcd', ...(kind === 'readyz' ? ['poststarthook/start-default-objects'] : [])];
  const ok = waiting.length === 0;
  if (check !== undefined) {
    const known = checks.includes(check);
    sendText(response, known ? 200 : 404, known ? 'ok' : '404 page not found\n');
    return;
  }
  const exclude = query.getAll('exclude');
  if (!query.has('verbose') && ok) {
    sendText(response, 200, 'ok');
    return;
  }
  const lines = checks
    .filter((c) => !exclude.includes(c))
    .map((c) => (waiting.includes(c) ? `[-]${c} failed: not finished` : `[+]${c} ok`));
  sendText(response, ok ? 200 : 500, `${lines.join('\n')}\n${kind} check ${ok ? 'passed' : 'failed'}\n`);
}

/** KEP-3352: the aggregated form, when the client takes it, must name itself in the Content-Type. */
function serveDiscovery(api: Api, exchange: Exchange, path: string): boolean {
  const { request, response, query } = exchange;
  let aggregated: 'v2' | 'v2beta1' | undefined;
  if (path === '/api' || path === '/apis') {
    let found = false;
    for (const { type, parameters } of parseAccept(request.headers.accept)) {
      if (type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
      const version = parameters.get('v');
      if (parameters.get('as') === undefined) found = true;
      else if (
        parameters.get('g') === 'apidiscovery.k8s.io' &&
        parameters.get('as') === 'APIGroupDiscoveryList' &&
        (version === 'v2' || version === 'v2beta1')
      ) {
        aggregated = version;
        found = true;
      }
      if (found) break;
    }
    if (!found && !(request.headers.accept ?? '').includes('text/html')) throw notAcceptable();
  }
  const document = api.discovery.document(path, aggregated);
  if (document === undefined) return false;
  response.setHeader('Vary', 'Accept');
  sendJson(response, 200, document, {
    pretty: wantsPretty(request, query),
    ...(aggregated === undefined
      ? {}
      : { type: `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList` }),
  });
  return true;
}

/** Only the protobuf form: 404 for the JSON form is what kubectl from 1.29 on and other clients cope with. */
function serveOpenapiV2(api: Api, exchange: Exchange): boolean {
  const { request, response } = exchange;
  if (!(request.headers.accept ?? '').includes(OPENAPI_V2_PROTO)) return false;
  const document = api.openapi.v2();
  response.writeHead(200, {
    'Content-Type': OPENAPI_V2_PROTO_ANSWER,
    'Content-Length': document.length,
    'Cache-Control': 'no-cache, private',
  });
  response.end(request.method === 'HEAD' ? undefined : document);
  return true;
}

function serveOpenapi(api: Api, exchange: Exchange, path: string): boolean {
  const { response, query, request } = exchange;
  const found = api.openapi.document(path);
  if (found === undefined) return false;
  const { document, hash } = found;
  response.setHeader('ETag', `"${hash}"`);
  response.setHeader('Vary', 'Accept');
  if (request.headers['if-none-match'] === `"${hash}"`) {
    response.writeHead(304).end();
    return true;
  }
  const immutable = hash !== '' && query.get('hash') === hash;
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': document.length,
    'Cache-Control': immutable ? `public, max-age=${YEAR_S}, immutable` : 'no-cache, private',
  });
  response.end(request.method === 'HEAD' ? undefined : document);
  return true;
}
