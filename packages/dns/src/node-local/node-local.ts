import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { listenTcp, type NetNs } from '@weft/kernel';
import { errorMessage, type Logger, type Metrics, WeftError } from '@weft/plan';
import { HttpHub } from '../server/http.ts';
import { DnsMetrics } from '../server/metrics.ts';
import { type DnsServer, startDns } from '../server/server.ts';
import { renderCorefile } from './corefile.ts';
import { NodeLocalNetwork, type SetupError } from './network.ts';
import type { NodeLocalOptions } from './options.ts';

/** What the mode needs from its process. */
export interface NodeLocalSurroundings {
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where the link and the rules are made. Default: the calling thread's namespace. */
  readonly ns?: NetNs;
}

function fileText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Node-local cache mode: a DNS server at addresses of the node's own, with the link and the rules that bring queries
 * there, as CoreDNS's node-cache has it. Two instances may run at once while one replaces the other: sockets are shared
 * (SO_REUSEPORT), the link and the rules belong to the one that came last, and the other answers what it had taken.
 */
export class NodeLocal {
  readonly #options: NodeLocalOptions;
  readonly #log: Logger;
  readonly #surroundings: NodeLocalSurroundings;
  readonly #network: NodeLocalNetwork;
  readonly #hub = new HttpHub((host, port) => listenTcp(host, port, undefined, { share: true }));
  readonly #setupErrors;
  readonly #ownMetrics = new DnsMetrics();
  #server: DnsServer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #syncing: Promise<void> | undefined;

  private constructor(options: NodeLocalOptions, surroundings: NodeLocalSurroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#log = surroundings.log;
    this.#network = new NodeLocalNetwork(options, randomUUID(), surroundings.ns);
    this.#setupErrors = this.#ownMetrics.counter(
      'coredns_nodecache_setup_errors_total',
      'The number of errors during periodic network setup for node-cache',
      ['errortype'],
    );
    // From the start, so that an alert can be written on their growth.
    for (const type of ['configmap', 'interface_add', 'interface_check', 'iptables']) this.#setupErrors.cell(type);
  }

  /** @throws WeftError when the Corefile cannot be written or served */
  static async start(options: NodeLocalOptions, surroundings: NodeLocalSurroundings): Promise<NodeLocal> {
    const mode = new NodeLocal(options, surroundings);
    try {
      await mode.#start();
      return mode;
    } catch (error) {
      await mode.close();
      throw error;
    }
  }

  get server(): DnsServer | undefined {
    return this.#server;
  }

  /** Ports of the HTTP endpoints of the setup's metrics. */
  get httpPorts(): Record<string, number> {
    return this.#hub.ports();
  }

  /** Looks after link, rules and Corefile now; otherwise done every `-syncinterval`. */
  sync(): Promise<void> {
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  /** Ends: queries take their usual way again, or the newer instance's; what was taken is answered; the link goes last. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#syncing?.catch(() => {});
    const tearDown = async (work: () => Promise<void>): Promise<void> => {
      if (this.#options.skipTeardown) return;
      await work().catch((error: unknown) => this.#log.error('cannot tear down', { error }));
    };
    await tearDown(() => this.#network.tearDownRules());
    await this.#server?.close({ lameduck: true });
    await tearDown(() => this.#network.tearDownLink());
    await this.#hub.close();
    this.#network.close();
  }

  async #start(): Promise<void> {
    const { conf, port, syncInterval, metricsAddress } = this.#options;
    this.#writeCorefile();
    await this.#network.claimLink(this.#failed);
    this.#server = await startDns({
      corefile: { path: conf },
      port,
      share: true,
      log: this.#log,
      ...(this.#surroundings.metrics === undefined ? {} : { metrics: this.#surroundings.metrics }),
      ...(this.#surroundings.env === undefined ? {} : { env: this.#surroundings.env }),
    });
    // Another instance that ended meanwhile may have taken the link with it, not knowing of this one yet.
    await this.#network.claimLink(this.#failed);
    await this.#network.claimRules(this.#failed);
    await this.#hub.serve(metricsAddress, '/metrics', (_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
      response.end(this.#ownMetrics.render());
    });
    this.#timer = setInterval(() => {
      this.sync().catch((error: unknown) => this.#log.error('cannot sync', { error }));
    }, syncInterval * 1000);
  }

  readonly #failed = (type: SetupError | 'configmap', error: unknown): void => {
    this.#setupErrors.cell(type).value += 1;
    this.#log.error(`node-local set-up, ${type}: ${errorMessage(error)}`, { error });
  };

  async #sync(): Promise<void> {
    await this.#network.audit(this.#failed);
    try {
      if (!this.#writeCorefile()) return;
    } catch (error) {
      this.#failed('configmap', error);
      return;
    }
    // A Corefile that is wrong leaves the old one in force; the server says why.
    await this.#server?.reload().catch(() => {});
  }

  /** Writes the Corefile from its template; true when it has changed. */
  #writeCorefile(): boolean {
    const { conf, baseCorefile, kubeDnsConfig } = this.#options;
    const template = fileText(baseCorefile);
    if (template === undefined) {
      if (fileText(conf) !== undefined) return false;
      throw new WeftError({
        code: 'NODE_LOCAL_COREFILE',
        message: `there is neither a template ${baseCorefile} (-basecorefile) nor a Corefile ${conf} (-conf)`,
        hint: 'mount the ConfigMap node-local-dns, key Corefile, as Corefile.base',
      });
    }
    const { text, problems } = renderCorefile(template, {
      options: this.#options,
      env: this.#surroundings.env ?? process.env,
      stubDomains: fileText(path.join(kubeDnsConfig, 'stubDomains')),
      upstreamNameservers: fileText(path.join(kubeDnsConfig, 'upstreamNameservers')),
    });
    for (const problem of problems) this.#failed('configmap', new Error(problem));
    if (fileText(conf) === text) return false;
    mkdirSync(path.dirname(conf), { recursive: true });
    writeFileSync(`${conf}.new`, text);
    renameSync(`${conf}.new`, conf);
    return true;
  }
}
