import http from 'node:http';
import { listenTcp, type NetNs } from '@weft/kernel';
import { type Diff, errorMessage, type Logger, silentLogger } from '@weft/plan';
import { formatAddress } from '../model/packed.ts';
import type { Planned, ServicePort } from '../model/types.ts';

export interface HealthCheckOptions {
  /** Whether the proxy itself is up to date: a balancer must not send to a node that is not. */
  readonly healthy: () => boolean;
  /** Health checks answer on every address; else on those of the plan's `NodePortAddress` entries. */
  readonly everywhere: () => boolean;
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  /** A port that cannot be listened on, with the reason. */
  readonly failed?: (service: string, port: number, reason: string) => void;
}

/** Milliseconds between attempts to listen on a port that was taken. */
const RETRY_MS = 5000;

/** What a balancer asks about one Service. */
interface Check {
  readonly service: string;
  readonly port: number;
  /** Ready local endpoints by service port: ports of one Service share their endpoints. */
  readonly ready: Map<string, number>;
  servers: http.Server[];
}

/**
 * `healthCheckNodePort`: one HTTP server per Service of type LoadBalancer with the Local policy, which tells whether this
 * node has an endpoint to send to. Answers as kube-proxy's, to the byte.
 */
export class HealthCheckServers {
  readonly #options: HealthCheckOptions;
  readonly #log: Logger;
  /** By `ns/name`. */
  readonly #checks = new Map<string, Check>();
  readonly #addresses = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HealthCheckOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  /** Ports that are served, by Service. */
  get ports(): ReadonlyMap<string, number> {
    return new Map([...this.#checks].map(([service, check]) => [service, check.port]));
  }

  /** Takes in a change of the plan that is in effect. */
  note(diff: Diff<Planned>): void {
    const before = [...this.#addresses].sort().join();
    for (const [key, { value }] of diff.removed) {
      if (value.type === 'NodePortAddress') this.#addresses.delete(formatAddress(value.address));
      else this.#remove(key, value);
    }
    for (const [key, { value }] of diff.added) this.#set(key, value);
    for (const [key, { to }] of diff.changed) this.#set(key, to.value);
    if ([...this.#addresses].sort().join() === before || this.#options.everywhere()) return;
    this.reopen();
  }

  /** Listens anew everywhere: where health checks answer has changed. */
  reopen(): void {
    for (const check of this.#checks.values()) this.#close(check);
    for (const check of this.#checks.values()) this.#open(check);
  }

  /** A port that was taken may be free by now. */
  #retry(): void {
    for (const check of this.#checks.values()) if (check.servers.length === 0) this.#open(check, false);
  }

  #set(key: string, value: Planned): void {
    if (value.type === 'NodePortAddress') {
      this.#addresses.add(formatAddress(value.address));
      return;
    }
    const check = this.#checks.get(value.service);
    if (value.healthCheckNodePort === 0) {
      if (check !== undefined) this.#remove(key, value);
      return;
    }
    if (check?.port === value.healthCheckNodePort) {
      check.ready.set(key, value.localReady);
      return;
    }
    if (check !== undefined) this.#close(check);
    const fresh: Check = {
      service: value.service,
      port: value.healthCheckNodePort,
      ready: new Map([...(check?.ready ?? []), [key, value.localReady]]),
      servers: [],
    };
    this.#checks.set(value.service, fresh);
    this.#open(fresh);
  }

  #remove(key: string, { service }: ServicePort): void {
    const check = this.#checks.get(service);
    if (check === undefined) return;
    check.ready.delete(key);
    if (check.ready.size > 0) return;
    this.#checks.delete(service);
    this.#close(check);
  }

  #open(check: Check, report = true): void {
    const addresses = this.#options.everywhere() ? ['::'] : [...this.#addresses];
    for (const address of addresses) {
      try {
        this.#listen(check, address);
      } catch (error) {
        if (address === '::' && this.#listenIPv4(check)) continue;
        this.#timer ??= setInterval(() => this.#retry(), RETRY_MS).unref();
        if (!report) continue;
        const reason = errorMessage(error);
        this.#log.error('cannot serve the health check of a Service', {
          service: check.service,
          port: check.port,
          error,
        });
        this.#options.failed?.(check.service, check.port, reason);
      }
    }
  }

  /** For kernels without IPv6. */
  #listenIPv4(check: Check): boolean {
    try {
      this.#listen(check, '0.0.0.0');
      return true;
    } catch {
      return false;
    }
  }

  #listen(check: Check, address: string): void {
    const fd = listenTcp(address, check.port, this.#options.ns);
    const server = http.createServer((_request, response) => this.#answer(check, response));
    server.on('error', (error) => this.#log.error('health check server', { service: check.service, error }));
    server.listen({ fd });
    // Nothing waits for them.
    server.unref();
    check.servers.push(server);
  }

  #close(check: Check): void {
    for (const server of check.servers.splice(0)) {
      server.close();
      server.closeAllConnections();
    }
  }

  #answer({ service, ready }: Check, response: http.ServerResponse): void {
    const healthy = this.#options.healthy();
    const count = Math.max(0, ...ready.values());
    const [namespace = '', name = ''] = service.split('/');
    const body = [
      '{',
      '\t"service": {',
      `\t\t"namespace": "${namespace}",`,
      `\t\t"name": "${name}"`,
      '\t},',
      `\t"localEndpoints": ${count},`,
      `\t"serviceProxyHealthy": ${healthy}`,
      '}',
    ].join('\n');
    response
      .writeHead(count > 0 && healthy ? 200 : 503, {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(count),
      })
      .end(body);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const check of this.#checks.values()) this.#close(check);
    this.#checks.clear();
  }
}
