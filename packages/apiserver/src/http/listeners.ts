import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type ListenOptions, type Server as NetServer } from 'node:net';
import { errorMessage, WeftError } from '@weft/plan';
import type { KeyedCert } from '../auth/pki.ts';
import type { Api } from './api.ts';
import { requestHandler, upgradeHandler } from './handler.ts';

/** An HTTP server of one listener. `trusted`: plain HTTP for whoever can open the socket. */
export function makeHttp(api: Api): Server {
  return tune(createServer(requestHandler(api, true)).on('upgrade', upgradeHandler(api, true)));
}

/** An HTTPS server that asks for a client certificate and does without one. */
export function makeHttps(api: Api, server: KeyedCert, caPem: string): Server {
  const https = createTlsServer(
    {
      cert: server.cert,
      key: server.key,
      ca: caPem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
    },
    requestHandler(api, false),
  );
  https.on('upgrade', upgradeHandler(api, false));
  return tune(https as unknown as Server);
}

function tune(server: Server): Server {
  // Watches are idle for minutes by nature, and a reader may take its time for a large list.
  server.requestTimeout = 60_000;
  server.timeout = 0;
  server.keepAliveTimeout = 90_000;
  server.maxHeadersCount = 200;
  return server;
}

/** Listens; a Unix socket that nobody serves any more is replaced. Throws WeftError `PORT_IN_USE` or `LISTEN_FAILED`. */
export async function listen(server: NetServer, where: ListenOptions): Promise<void> {
  if (where.path !== undefined) await removeStale(where.path);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(listenError(error, where));
    server.once('error', onError);
    server.listen(where, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, where: ListenOptions): WeftError {
  const place = where.path ?? `${where.host}:${where.port}`;
  if (error.code === 'EADDRINUSE') {
    return new WeftError({
      code: 'PORT_IN_USE',
      message: `the API server cannot listen on ${place}: it is in use by another process`,
      hint:
        where.path === undefined
          ? 'Choose another port, or stop the process that holds it (ss -ltnp shows it).'
          : 'Stop the other API server first.',
      cause: error,
    });
  }
  return new WeftError({
    code: 'LISTEN_FAILED',
    message: `the API server cannot listen on ${place}: ${errorMessage(error)}`,
    cause: error,
  });
}

async function removeStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (alive) throw listenError(Object.assign(new Error('in use'), { code: 'EADDRINUSE' }), { path });
  rmSync(path, { force: true });
}
