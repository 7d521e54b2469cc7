import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, isAbsolute } from 'node:path';
import { NetNs } from '@weft/kernel';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import { asCniError, CniCode, CniError } from '../spec/errors.ts';
import { intField } from '../plugins/common/conf.ts';
import { isObject, objectField, parseObject, stringField, stringsField } from '../spec/json.ts';
import { resultToVersion } from '../spec/result.ts';
import { CURRENT_VERSION } from '../spec/versions.ts';
import { DhcpClient, type Granted } from './client.ts';
import { LeaseBook } from './book.ts';
import { leaseResult } from './lease.ts';
import { clientId, clientOptions } from './options.ts';
import { DHCP_SOCKET, type DhcpRequest, MESSAGE_LIMIT } from './protocol.ts';

export interface DhcpDaemonOptions {
  readonly log: Logger;
  /** Default `/run/cni/dhcp.sock`. */
  readonly socketPath?: string;
  /** Put before paths of the host: of the socket and of network namespaces. */
  readonly hostPrefix?: string;
  /** Absolute path of a file for the process id. */
  readonly pidFile?: string;
  /** How long one server is asked, ms. Default 10 s. */
  readonly timeoutMs?: number;
  /** Longest pause between attempts, ms. Default 62 s. */
  readonly resendMaxMs?: number;
  /** When acquiring is given up, ms. Default 208 s. */
  readonly resendTimeoutMs?: number;
  /** Have servers answer by broadcast. */
  readonly broadcast?: boolean;
}

interface Held {
  readonly client: DhcpClient;
  readonly request: DhcpRequest;
}

/** Keeps the DHCP leases of sandboxes for the IPAM plugin `dhcp`, whose calls come by a unix socket. */
export class DhcpDaemon {
  readonly #options: DhcpDaemonOptions;
  readonly #log: Logger;
  readonly #leases = new Map<string, Held>();
  readonly #connections = new Set<Socket>();
  readonly #book: LeaseBook;
  #server: Server | undefined;

  constructor(options: DhcpDaemonOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#book = new LeaseBook(`${this.socketPath}.leases`, options.log);
  }

  get socketPath(): string {
    return `${this.#options.hostPrefix ?? ''}${this.#options.socketPath ?? DHCP_SOCKET}`;
  }

  async start(): Promise<void> {
    const { pidFile } = this.#options;
    if (pidFile !== undefined && !isAbsolute(pidFile)) {
      throw new WeftError({ code: 'DHCP_PIDFILE', message: `pidfile ${pidFile}: the path is not absolute` });
    }
    const path = this.socketPath;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    const server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    this.#server = server;
    for (const [key, { request, granted }] of this.#book.open()) await this.#resume(key, request, granted);
    if (pidFile !== undefined) writeFileSync(pidFile, String(process.pid));
    this.#log.info('DHCP daemon is ready', { socket: path });
  }

  /** Ends the daemon. Sandboxes go on using their addresses, and the next daemon keeps the leases. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    for (const { client } of this.#leases.values()) client.abandon();
    this.#leases.clear();
    for (const socket of this.#connections) socket.destroySoon();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    const { pidFile } = this.#options;
    if (pidFile !== undefined) rmSync(pidFile, { force: true });
  }

  #serve(socket: Socket): void {
    let text = '';
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const at = text.indexOf('\n');
      if (at < 0) {
        if (text.length > MESSAGE_LIMIT) socket.destroy();
        return;
      }
      socket.removeAllListeners('data').resume();
      void this.#reply(text.slice(0, at)).then((answer) => socket.end(JSON.stringify(answer)));
    });
  }

  async #reply(line: string): Promise<object> {
    try {
      return await this.#do(readRequest(line));
    } catch (thrown) {
      const error = asCniError(thrown);
      this.#log.warn('DHCP call failed', { error: error.message });
      return { error: { code: error.cniCode, msg: error.message, details: error.details ?? '' } };
    }
  }

  async #do(request: DhcpRequest): Promise<object> {
    const key = keyOf(request);
    switch (request.method) {
      case 'allocate':
        return this.#allocate(key, request);
      case 'check': {
        const lease = this.#leases.get(key)?.client.lease;
        if (lease === undefined) {
          throw new CniError(CniCode.unknownContainer, `dhcp: no lease of container ${request.containerId} is known`);
        }
        this.#leases.get(key)?.client.refresh();
        return resultToVersion(leaseResult(lease, undefined), CURRENT_VERSION);
      }
      case 'release':
        this.#release(key);
        return {};
      case 'gc':
        for (const [other, held] of this.#leases) {
          const name = `${held.request.containerId}/${held.request.ifname}`;
          if (held.request.network === request.network && request.valid?.includes(name) === false) this.#release(other);
        }
        return {};
      case 'status':
        return { leases: this.#leases.size };
    }
  }

  #release(key: string): void {
    this.#leases.get(key)?.client.stop();
    this.#forget(key);
  }

  async #allocate(key: string, request: DhcpRequest): Promise<object> {
    const priority = intField(request.ipam, 'priority', { min: 0, max: 0x7fffffff }, 'ipam.priority');
    const held = this.#leases.get(key);
    if (held?.client.lease !== undefined) held.client.refresh();
    else await this.#acquire(key, request);
    const lease = this.#leases.get(key)?.client.lease;
    if (lease === undefined) throw new CniError(CniCode.tryAgainLater, 'dhcp: the lease was released meanwhile');
    return resultToVersion(leaseResult(lease, priority), CURRENT_VERSION);
  }

  async #acquire(key: string, request: DhcpRequest): Promise<void> {
    // One attachment has one client: a second call for it takes the place of the first.
    this.#release(key);
    const client = this.#client(key, request);
    this.#leases.set(key, { client, request });
    try {
      await client.acquire();
    } catch (error) {
      if (this.#leases.get(key)?.client === client) this.#forget(key);
      throw error;
    }
  }

  /** Goes on with a lease of the daemon before this one; what is gone meanwhile is forgotten. */
  async #resume(key: string, request: DhcpRequest, granted: Granted): Promise<void> {
    try {
      const client = this.#client(key, request);
      this.#leases.set(key, { client, request });
      await client.resume(granted);
    } catch (error) {
      this.#log.info('a DHCP lease is not gone on with', { lease: key, why: errorMessage(error) });
      this.#forget(key);
    }
  }

  #client(key: string, request: DhcpRequest): DhcpClient {
    const { containerId, network, ifname } = request;
    const { timeoutMs = 10_000, resendMaxMs = 62_000, resendTimeoutMs = 208_000, broadcast = false } = this.#options;
    const options = clientOptions(request.ipam, new Map(Object.entries(request.args)));
    const client: DhcpClient = new DhcpClient({
      ns: openNamespace(`${this.#options.hostPrefix ?? ''}${request.netns}`),
      ifname,
      clientId: clientId(containerId, network, ifname),
      options,
      timeoutMs,
      resendMaxMs,
      resendTimeoutMs,
      broadcast,
      log: this.#log,
      onLease: (granted) => this.#book.put(key, { request, granted }),
      onEnd: () => {
        if (this.#leases.get(key)?.client === client) this.#forget(key);
      },
    });
    return client;
  }

  #forget(key: string): void {
    this.#leases.delete(key);
    this.#book.remove(key);
  }
}

function keyOf({ containerId, network, ifname }: DhcpRequest): string {
  return `${containerId}/${network}/${ifname}`;
}

function readRequest(line: string): DhcpRequest {
  const value = parseObject(line, 'request');
  const text = (name: string): string => stringField(value, name) ?? '';
  const method = text('method');
  if (!['allocate', 'release', 'check', 'status', 'gc'].includes(method)) {
    throw new CniError(CniCode.decode, `request: method ${JSON.stringify(method)} is unknown`);
  }
  const args = objectField(value, 'args') ?? {};
  const valid = stringsField(value, 'valid');
  return {
    method: method as DhcpRequest['method'],
    containerId: text('containerId'),
    ifname: text('ifname'),
    netns: text('netns'),
    network: text('network'),
    args: Object.fromEntries(Object.entries(args).filter((e): e is [string, string] => typeof e[1] === 'string')),
    ipam: isObject(value['ipam']) ? value['ipam'] : {},
    ...(valid === undefined ? {} : { valid }),
  };
}

function openNamespace(path: string): NetNs {
  let ns: NetNs | undefined;
  try {
    ns = NetNs.open(path);
    ns.run(() => {});
    return ns;
  } catch (error) {
    ns?.close();
    throw new CniError(CniCode.invalidNetns, `dhcp: ${errorMessage(error)}`, undefined, error);
  }
}

/** Takes away a socket that nobody listens on; one that somebody does is refused. */
async function removeStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (alive) {
    throw new WeftError({
      code: 'DHCP_RUNNING',
      message: `a DHCP daemon listens on ${path} already`,
      hint: 'stop it, or choose another socket with -socketpath',
    });
  }
  rmSync(path, { force: true });
}
