import { chmodSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { KubeObject } from '@weft/kube';
import type { Metrics } from '@weft/plan';
import { formatKubeconfig } from './auth/kubeconfig.ts';
import { Pki } from './auth/pki.ts';
import { Tokens } from './auth/tokens.ts';
import type { ApiResource } from './contract.ts';
import { startControllers } from './controllers/index.ts';
import { serviceAddress } from './controllers/kubernetes-service.ts';
import type { Api } from './http/api.ts';
import { Discovery } from './http/discovery.ts';
import { listen, makeHttp, makeHttps } from './http/listeners.ts';
import { createStrategies } from './kinds/index.ts';
import { OpenapiDocuments } from './openapi/documents.ts';
import type { ApiServer, ApiServerOptions } from './options.ts';
import type { Env } from './registry/context.ts';
import { conversions } from './registry/conversion.ts';
import { Pages } from './registry/list.ts';
import { makeResource, ResourceTable } from './registry/resource.ts';
import { resources } from './schema/index.ts';
import { createStreamingHandler } from './streaming-handler.ts';
import { Store } from './store/store.ts';
import { Watches } from './watch/watch.ts';

/** Starts the embedded Kubernetes API. Throws WeftError (`PORT_IN_USE`, `STORE_…`, `DATA_DIR_IN_USE`, `OPENSSL_MISSING`). */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const pkiReady = Pki.open(join(options.dataDir, 'pki'), serverNames(options));
  // Its failure is looked at below; until then it must not count as unhandled.
  pkiReady.catch(() => {});
  const store = new Store({
    directory: join(options.dataDir, 'store'),
    durability: options.durability,
    log: options.log,
    ...(options.watchHistory === undefined ? {} : { history: options.watchHistory }),
  });
  const servers: Server[] = [];
  const upgraded = new Set<Duplex>();
  const watches = new Watches(options.bookmarkInterval);
  let stopControllers: (() => void) | undefined;
  const close = async (): Promise<void> => {
    watches.close();
    for (const socket of upgraded) socket.destroy();
    stopControllers?.();
    await Promise.all(
      servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      ),
    );
    await store.close();
  };
  try {
    const env: Env = { store, table: new ResourceTable(), now: options.now ?? (() => new Date()), log: options.log };
    const strategies = createStrategies({
      serviceCidrs: options.serviceCidrs,
      nodePortRange: options.nodePortRange,
      clusterDomain: options.clusterDomain,
    });
    for (const api of resources) {
      const { group, version, plural } = api;
      env.table.add(makeResource(api, strategies.strategyFor(api), conversions[`${group}/${version}/${plural}`]));
    }
    strategies.rebuild(allocatedObjects(env));
    const pki = await pkiReady;
    const api: Api = {
      env,
      pages: new Pages(env.now),
      watches,
      discovery: new Discovery(env.table),
      openapi: new OpenapiDocuments(env.table),
      tokens: new Tokens(env, pki.tokenKey, `https://kubernetes.default.svc.${options.clusterDomain}`),
      metrics: options.metrics,
      streaming:
        options.streaming ??
        (options.kubeletSocket === undefined ? undefined : createStreamingHandler(options.kubeletSocket)),
      upgraded,
      notReady: () => (store.failure === undefined ? [] : ['etcd']),
    };
    describeStore(options.metrics, store, watches);
    stopControllers = startControllers(env, options, pki.ca.cert);

    const plain = makeHttp(api);
    await listen(plain, { path: options.unixPath });
    servers.push(plain);
    chmodSync(options.unixPath, 0o600);
    let port: number | undefined;
    if (options.listen !== undefined) {
      const https = makeHttps(api, pki.server, pki.ca.cert);
      await listen(https, { host: options.listen.host, port: options.listen.port });
      servers.push(https);
      ({ port } = https.address() as AddressInfo);
    }
    if (options.unixTlsPath !== undefined) {
      const https = makeHttps(api, pki.server, pki.ca.cert);
      await listen(https, { path: options.unixTlsPath });
      servers.push(https);
    }
    const url = port === undefined ? undefined : `https://${bracket(options.listen?.host ?? '')}:${port}`;
    return {
      url,
      port,
      caPem: pki.ca.cert,
      kubeconfig: (wanted = {}) =>
        formatKubeconfig(
          { name: 'weft', server: url ?? 'https://kubernetes.default.svc', ...wanted },
          pki.ca.cert,
          pki.admin,
        ),
      issueClientCert: (commonName, groups) => pki.issueClient(commonName, groups),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function describeStore(metrics: Metrics, store: Store, watches: Watches): void {
  const objects = metrics.gauge('apiserver_storage_objects', 'Stored objects by resource.');
  const log = metrics.gauge('apiserver_storage_log_bytes', 'Bytes of the log since the last snapshot.');
  const version = metrics.gauge('apiserver_storage_resource_version', 'Version of the last change.');
  const running = metrics.gauge('apiserver_longrunning_requests', 'Running watches.');
  metrics.beforeRender(() => {
    for (const { id, size } of store.collections()) {
      objects.set(size, { resource: id.startsWith('/') ? id.slice(1) : id.split('/').reverse().join('.') });
    }
    log.set(store.logSize);
    version.set(store.rv);
    running.set(watches.size, { verb: 'WATCH' });
  });
}

function bracket(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The stored objects that hold something of a range; parsing the others would be most of the start-up time. */
function* allocatedObjects(env: Env): Generator<{ resource: ApiResource; obj: KubeObject }> {
  for (const { api, storage, strategy } of env.table.stored()) {
    if (strategy.allocate === undefined) continue;
    for (const state of env.store.collection(storage).list()) yield { resource: api, obj: state.object };
  }
}

function serverNames(options: ApiServerOptions): string[] {
  const names = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${options.clusterDomain}`,
    'localhost',
    '127.0.0.1',
    '::1',
    ...options.serviceCidrs.map(serviceAddress),
    ...(options.advertiseAddress === undefined ? [] : [options.advertiseAddress]),
    ...(options.listen === undefined || ['0.0.0.0', '::', ''].includes(options.listen.host)
      ? []
      : [options.listen.host]),
    ...(options.extraSans ?? []),
  ];
  return [...new Set(names)];
}
