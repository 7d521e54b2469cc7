import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { Duplex, PassThrough } from 'node:stream';
import { type Pod, statusErrors, StatusError } from '@weft/kube';
import type { StreamingHandler, StreamRoute } from '../streaming-contract.ts';
import { bridgeCommand } from './commands.ts';
import { collect, openNodeStream } from './kubelet.ts';
import { PORT_FORWARD_PROTOCOL, servePortForward } from './portforward.ts';
import { expectedStreams, SPDY_COMMAND_PROTOCOLS, spdySession } from './spdy-commands.ts';
import {
  acceptWebSocket,
  COMMAND_PROTOCOLS,
  isWebSocket,
  offeredProtocols,
  TUNNEL_PROTOCOL,
  webSocketSession,
} from './websocket.ts';

/** How long a client may take to open its streams, as kubelet's default. */
const STREAM_TIMEOUT_MS = 30_000;

/** exec, attach, port-forward and logs, handed to the pod's node over its unix socket. */
export function createStreaming(kubeletSocket: (node: string) => string): StreamingHandler {
  return {
    upgrade(request, socket, head, route) {
      const work =
        route.kind === 'portforward'
          ? portForward(request, socket, head, route)
          : command(request, socket, head, route);
      work.catch((error: unknown) =>
        refuse(
          socket,
          error instanceof StatusError
            ? error
            : statusErrors.internal(error instanceof Error ? error.message : String(error)),
        ),
      );
    },
    log: (request, response, route) => log(request, response, route, kubeletSocket),
  };

  async function command(request: IncomingMessage, socket: Duplex, head: Buffer, route: StreamRoute): Promise<void> {
    const webSocket = isWebSocket(request);
    const offered = webSocket ? offeredProtocols(request) : spdyProtocols(request);
    const known: readonly string[] = webSocket ? COMMAND_PROTOCOLS : SPDY_COMMAND_PROTOCOLS;
    const protocol = known.find((p) => offered.includes(p));
    if (protocol === undefined)
      throw statusErrors.badRequest(
        `unable to upgrade: none of the stream protocols ${offered.join(', ') || '(none)'} is supported`,
      );
    const answer = await askNode(route, `/${route.kind}?${target(route).toString()}`);
    if (webSocket) {
      const ws = await acceptWebSocket(request, socket, head, protocol);
      bridgeCommand(webSocketSession(ws, protocol), answer);
      return;
    }
    acceptSpdy(socket, protocol);
    bridgeCommand(await spdySession(socket, head, expectedStreams(route.query), STREAM_TIMEOUT_MS), answer);
  }

  async function portForward(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    route: StreamRoute,
  ): Promise<void> {
    const node = {
      socketPath: nodeSocket(route),
      target: (port: string) => `/portforward?${new URLSearchParams({ ...podQuery(route), port }).toString()}`,
    };
    if (!isWebSocket(request)) {
      acceptSpdy(socket, PORT_FORWARD_PROTOCOL);
      servePortForward(socket, head, node);
      return;
    }
    if (!offeredProtocols(request).includes(TUNNEL_PROTOCOL))
      throw statusErrors.badRequest('unable to upgrade: port-forward over WebSocket needs SPDY/3.1+portforward.k8s.io');
    const ws = await acceptWebSocket(request, socket, head, TUNNEL_PROTOCOL);
    const inbound = new PassThrough();
    const tunnel = Duplex.from({
      readable: inbound,
      writable: async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) await new Promise<void>((resolve) => ws.send(chunk, () => resolve()));
        ws.close(1000);
      },
    });
    ws.on('message', (data: Buffer) => void inbound.write(data));
    ws.on('close', () => inbound.end());
    ws.on('error', () => ws.terminate());
    servePortForward(tunnel, Buffer.alloc(0), node);
  }

  function nodeSocket(route: StreamRoute): string {
    if (route.node !== '') return kubeletSocket(route.node);
    throw statusErrors.badRequest(`pod ${route.pod.metadata.name} does not have a host assigned`);
  }

  async function askNode(
    route: StreamRoute,
    path: string,
  ): Promise<Extract<Awaited<ReturnType<typeof openNodeStream>>, { kind: 'stream' }>> {
    const answer = await openNodeStream(nodeSocket(route), path).catch((cause: unknown) => {
      throw statusErrors.internal(
        `error dialing backend: node ${route.node}: ${cause instanceof Error ? cause.message : String(cause)}`,
      );
    });
    if (answer.kind === 'refused') throw nodeError(answer.status, answer.body);
    return answer;
  }
}

function podQuery(route: StreamRoute): { namespace: string; pod: string } {
  return { namespace: route.namespace, pod: route.pod.metadata.name };
}

function target(route: StreamRoute): URLSearchParams {
  const query = new URLSearchParams(route.query);
  for (const [name, value] of Object.entries(podQuery(route))) query.set(name, value);
  if (!query.has('container')) {
    const name = defaultContainer(route);
    if (name !== undefined) query.set('container', name);
  }
  return query;
}

function defaultContainer(route: StreamRoute): string | undefined {
  const spec = route.pod['spec' as keyof typeof route.pod] as { containers?: { name?: string }[] } | undefined;
  const containers = spec?.containers ?? [];
  const asked = route.pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  if (asked !== undefined) return asked;
  if (containers.length > 1 && route.kind === 'log') {
    throw statusErrors.badRequest(
      `a container name must be specified for pod ${route.pod.metadata.name}, choose one of: [${containers.map((c) => c.name).join(' ')}]`,
    );
  }
  return containers[0]?.name;
}

/** Refuses the name of a container that the pod does not have, as the kubelet would. */
function checkContainer(route: StreamRoute, name: string): void {
  const { spec } = route.pod as Pod;
  const all = [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
  if (all.some((c) => c.name === name)) return;
  throw statusErrors.badRequest(`container ${name} is not valid for pod ${route.pod.metadata.name}`);
}

function spdyProtocols(request: IncomingMessage): string[] {
  return [request.headers['x-stream-protocol-version'] ?? []]
    .flat()
    .flatMap((line) => line.split(',').map((p) => p.trim()));
}

function acceptSpdy(socket: Duplex, protocol: string): void {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
}

/** The node's refusal in the node's own words. */
function nodeError(status: number, body: Buffer): StatusError {
  try {
    const parsed = JSON.parse(body.toString('utf8')) as ConstructorParameters<typeof StatusError>[0];
    if (parsed.kind === 'Status') return new StatusError(parsed);
  } catch {
    // Not a Status: passed on as text.
  }
  return status === 404 ? statusErrors.badRequest(body.toString('utf8')) : statusErrors.internal(body.toString('utf8'));
}

function refuse(socket: Duplex, error: StatusError): void {
  if (socket.destroyed) return;
  const body = JSON.stringify(error.status);
  socket.end(
    `HTTP/1.1 ${error.httpCode} ${http.STATUS_CODES[error.httpCode] ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

async function log(
  request: IncomingMessage,
  response: ServerResponse,
  route: StreamRoute,
  kubeletSocket: (node: string) => string,
): Promise<void> {
  const query = target(route);
  if (route.node === '') {
    // Nothing has run, so nothing was said: kube-apiserver answers without content, not with an error.
    checkContainer(route, query.get('container') ?? '');
    response.writeHead(204).end();
    return;
  }
  const upstream = await new Promise<IncomingMessage>((resolve, reject) => {
    const ask = http.request({ socketPath: kubeletSocket(route.node), path: `/logs?${query.toString()}` }, resolve);
    ask.on('error', (cause) =>
      reject(statusErrors.internal(`Get "https://${route.node}:10250/containerLogs": ${cause.message}`)),
    );
    request.on('close', () => ask.destroy());
    ask.end();
  });
  if (upstream.statusCode !== 200) throw nodeError(upstream.statusCode ?? 500, await collect(upstream));
  response.writeHead(200, { 'content-type': 'text/plain' });
  // Followers wait for the first line; they must know that the stream is open.
  response.flushHeaders();
  upstream.pipe(response);
  upstream.on('error', () => response.destroy());
  await new Promise<void>((resolve) => response.on('close', resolve));
}
