import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { listenTcp, NetNs } from '@weft/kernel';
import {
  addressDefinitions,
  bgpDefinitions,
  isStatus,
  KubeClient,
  type KubeObject,
  networkAttachmentDefinitionCrd,
  type Node,
  resourceOfKind,
  resources,
} from '@weft/kube';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import { checkKernel } from '../host/kernel.ts';
import { attachHost } from '../host/link.ts';
import { UNDERLAY_API_PORT } from '../topology/addresses.ts';
import { masqueradeWayOut } from '../topology/masquerade.ts';
import { Underlay } from '../topology/underlay.ts';
import { wayOutFailure, wayOutObstacle } from '../topology/wayout.ts';
import { demoManifests, labDnsManifests } from './addons.ts';
import { type ClusterConfig, nodePlaces } from './config.ts';
import { serveControl, type SupervisorStatus } from './control.ts';
import { type ClusterPaths, machinePidFile, nodeDirs } from './paths.ts';
import { Progress } from './progress.ts';
import { isRunning, killUnit, startUnit, type UnitRecord, type UnitSpec } from './units.ts';
import { waitForDemo, waitForDns, waitForNodes } from './wait.ts';

export interface SupervisorOptions {
  readonly config: ClusterConfig;
  readonly paths: ClusterPaths;
  /** Command line of Weft itself, to which a subcommand is appended. */
  readonly self: readonly string[];
  /** Makes sure that the images the cluster starts with are in the store; returns what it did. */
  readonly prepareImages: () => Promise<string>;
  readonly corefile: string;
  readonly log: Logger;
}

interface SavedUnits {
  readonly units: Record<string, UnitRecord>;
  readonly stopped: readonly string[];
  /** False while the network is being laid: what is there then is torn out and laid again. */
  readonly built: boolean;
}

/** How long the way out may take to come up before `up` says that there is none. */
const WAY_OUT_START_MS = 1000;

function lastLine(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '';
  } catch {
    return '';
  }
}

/**
 * Keeps one cluster alive: builds its network, starts its nodes, and brings back what ends. It can be
 * killed and started again at any moment: all it knows is on disk, and what runs goes on without it.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #underlay: Underlay;
  readonly #progress = new Progress();
  readonly #unitFile: string;
  readonly #units = new Map<string, UnitRecord>();
  readonly #stopped = new Set<string>();
  readonly #client: KubeClient;
  /** Power switches of nodes, one turn at a time. */
  readonly #power = new Map<string, Promise<void>>();
  #built = false;
  #watchTimer: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#underlay = new Underlay(options.config, options.paths.netnsDir);
    this.#unitFile = path.join(options.paths.runDir, 'units.json');
    this.#client = new KubeClient({
      transport: { kind: 'unix', path: options.paths.apiSocket },
      userAgent: 'weft-supervisor',
    });
  }

  async run(): Promise<void> {
    const { paths, log } = this.#options;
    mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
    const adopted = this.#load();
    await serveControl(paths.controlSocket, this.#progress, {
      status: () => this.#status(),
      stopNode: (name) => this.#inTurn(name, () => this.#stopNode(name)),
      startNode: (name) => this.#inTurn(name, () => this.#startNode(name)),
    });
    try {
      if (adopted) log.info('took over a running cluster', { units: [...this.#units.keys()] });
      const images = this.#options.prepareImages();
      images.catch(() => {});
      if (!adopted) await this.#build();
      this.#proxyApi();
      this.#watchTimer = setInterval(() => this.#revive(), 300);
      // What a former supervisor did not come to is done now; with nodes switched off there is no "all Ready" to wait for.
      if (this.#stopped.size === 0) await this.#bringUp(images);
      else this.#progress.emit({ type: 'ready' });
    } catch (error) {
      log.error('cannot bring up the cluster', { error });
      const known = error instanceof WeftError ? error : undefined;
      this.#progress.emit({
        type: 'failed',
        error: {
          code: known?.code ?? 'START_FAILED',
          message: errorMessage(error),
          hint: known?.hint ?? `look at the logs in ${paths.logDir}`,
        },
      });
    }
  }

  close(): void {
    clearInterval(this.#watchTimer);
    this.#client.close();
  }

  /** True when a former supervisor laid the network; ends what one had begun that did not come to the end of it. */
  #load(): boolean {
    let saved: SavedUnits;
    try {
      saved = JSON.parse(readFileSync(this.#unitFile, 'utf8')) as SavedUnits;
    } catch {
      return false;
    }
    if (!saved.built) {
      for (const record of Object.values(saved.units)) killUnit(record);
      return false;
    }
    this.#built = true;
    for (const [name, record] of Object.entries(saved.units)) this.#units.set(name, record);
    for (const name of saved.stopped) this.#stopped.add(name);
    return true;
  }

  #save(): void {
    const saved: SavedUnits = {
      units: Object.fromEntries(this.#units),
      stopped: [...this.#stopped],
      built: this.#built,
    };
    writeFileSync(`${this.#unitFile}.new`, JSON.stringify(saved));
    renameSync(`${this.#unitFile}.new`, this.#unitFile);
  }

  async #build(): Promise<void> {
    const { config, paths } = this.#options;
    await checkKernel(path.dirname(paths.stateDir), config.backend);
    await this.#progress.phase('underlay', async () => {
      await this.#underlay.createRouter();
      const places = nodePlaces(config);
      for (const place of places) {
        await this.#underlay.createNode(place);
        this.#start(this.#nodeSpec(place.name));
      }
      if (!config.rootless) await attachHost(config, this.#underlay.addresses, this.#underlay.routerPath);
      const obstacle = wayOutObstacle();
      if (obstacle === undefined) {
        await masqueradeWayOut(this.#underlay.routerPath);
        writeFileSync(path.join(this.#options.paths.runDir, 'router.ready'), 'yes\n');
      } else this.#progress.emit({ type: 'note', text: obstacle });
      this.#built = true;
      this.#save();
      const where =
        config.subnets === 1
          ? config.underlayCidr.replace(/\/\d+$/, '/24')
          : `${config.subnets} subnets of ${config.underlayCidr}`;
      return { detail: `${places.length} nodes in ${where}, ${config.backend}`, value: undefined };
    });
  }

  async #bringUp(images: Promise<string>): Promise<void> {
    const { config, paths } = this.#options;
    await this.#progress.phase('api', async () => {
      await this.#apiReady();
      await this.#ensureAll([...addressDefinitions(), ...bgpDefinitions(), networkAttachmentDefinitionCrd()]);
      return { detail: `https://127.0.0.1:${config.apiPort}, kubeconfig ${paths.kubeconfig}`, value: undefined };
    });
    await this.#progress.phase('images', async () => {
      const detail = await images;
      // Not before: a pod that cannot have its image waits for seconds.
      await this.#ensureAll(labDnsManifests(config, this.#options.corefile));
      return { detail, value: undefined };
    });
    await this.#progress.phase('nodes', async () => {
      await waitForNodes(
        this.#client,
        nodePlaces(config).map((p) => p.name),
      );
      // Not before: the scheduler spreads pods over the nodes that are Ready.
      if (config.demo) await this.#ensureAll(demoManifests());
      return {
        detail: `${config.nodes} Ready; pods ${config.podCidr}, Services ${config.serviceCidr}`,
        value: undefined,
      };
    });
    const n1 = this.#underlay.nodePath('n1');
    await this.#progress.phase('dns', async () => ({
      detail: await waitForDns(this.#client, config, n1),
      value: undefined,
    }));
    if (wayOutObstacle() === undefined) {
      const obstacle = await this.#wayOutObstacle(WAY_OUT_START_MS);
      if (obstacle !== undefined) this.#progress.emit({ type: 'note', text: obstacle });
    }
    if (config.demo) {
      await this.#progress.phase('demo', async () => ({
        detail: await waitForDemo(this.#client, config, n1),
        value: undefined,
      }));
    }
    this.#progress.emit({ type: 'ready' });
  }

  async #apiReady(): Promise<void> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      try {
        await this.#client.request({ method: 'GET', path: '/readyz' });
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #ensureAll(manifests: readonly KubeObject[]): Promise<void> {
    await Promise.all(manifests.map((manifest) => this.#ensure(manifest)));
  }

  async #ensure(manifest: KubeObject): Promise<void> {
    const type = resourceOfKind(manifest.apiVersion ?? '', manifest.kind ?? '');
    if (type === undefined) throw new RangeError(`unknown kind ${manifest.apiVersion} ${manifest.kind}`);
    try {
      await this.#client.create(type, manifest);
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
    }
  }

  #start(spec: UnitSpec): void {
    const record = startUnit(spec);
    this.#units.set(spec.name, record);
    if (spec.machine === true) writeFileSync(machinePidFile(this.#options.paths, spec.name), `${record.pid}\n`);
    this.#save();
  }

  #nodeSpec(node: string): UnitSpec {
    const { self, config, paths } = this.#options;
    mkdirSync(nodeDirs(paths, node).runDir, { recursive: true });
    return {
      name: node,
      command: [...self, 'node', 'run', node, '--cluster', config.name],
      env: {},
      logFile: path.join(paths.logDir, `${node}.log`),
      netns: this.#underlay.nodePath(node),
      machine: true,
    };
  }

  /** Pods reach the API at the router's address: bytes are passed on, TLS ends in the API. */
  #proxyApi(): void {
    const router = NetNs.open(this.#underlay.routerPath);
    try {
      const address = this.#underlay.addresses.routers[0] as string;
      const fd = listenTcp(address, UNDERLAY_API_PORT, router);
      const server = net.createServer({ allowHalfOpen: true }, (inbound) => {
        const outbound = net.connect({ path: this.#options.paths.apiTlsSocket, allowHalfOpen: true });
        inbound.pipe(outbound).pipe(inbound);
        inbound.on('error', () => outbound.destroy());
        outbound.on('error', () => inbound.destroy());
      });
      server.listen({ fd });
    } finally {
      router.close();
    }
  }

  /** Brings back units that ended without being asked to: a node whose first process was killed starts like a machine. */
  #revive(): void {
    for (const [name, record] of this.#units) {
      if (this.#stopped.has(name) || this.#power.has(name) || isRunning(record)) continue;
      this.#options.log.warn('starting again what has ended', { unit: name });
      this.#inTurn(name, () => this.#startNode(name)).catch((error: unknown) =>
        this.#options.log.error('cannot start node', { node: name, error }),
      );
    }
  }

  /** Runs one turn of a node's power switch after the one before has ended. */
  #inTurn(name: string, turn: () => Promise<void>): Promise<void> {
    const before = this.#power.get(name) ?? Promise.resolve();
    const mine = before
      .catch(() => {})
      .then(turn)
      .finally(() => {
        if (this.#power.get(name) === mine) this.#power.delete(name);
      });
    this.#power.set(name, mine);
    return mine;
  }

  #place(name: string): ReturnType<typeof nodePlaces>[number] {
    const place = nodePlaces(this.#options.config).find((p) => p.name === name);
    if (place !== undefined) return place;
    throw new WeftError({
      code: 'NO_SUCH_NODE',
      message: `there is no node "${name}" in cluster ${this.#options.config.name}`,
      hint: 'weft status lists the nodes',
    });
  }

  /** Switches a node off: power and cable. The API learns at once, as from a machine's management board. */
  async #stopNode(name: string): Promise<void> {
    this.#place(name);
    const record = this.#units.get(name);
    this.#stopped.add(name);
    this.#save();
    if (record !== undefined) killUnit(record);
    await this.#underlay.unplug(name);
    this.#underlay.removeNode(name);
    rmSync(nodeDirs(this.#options.paths, name).runDir, { recursive: true, force: true });
    await this.#markNotReady(name).catch((error: unknown) =>
      // The node is off all the same; its lease tells the control plane in time.
      this.#options.log.warn('cannot mark a node that is off', { node: name, error: errorMessage(error) }),
    );
  }

  async #startNode(name: string): Promise<void> {
    const place = this.#place(name);
    const record = this.#units.get(name);
    if (record !== undefined && isRunning(record)) return;
    this.#stopped.delete(name);
    rmSync(nodeDirs(this.#options.paths, name).runDir, { recursive: true, force: true });
    await this.#underlay.createNode(place);
    this.#start(this.#nodeSpec(name));
  }

  async #markNotReady(name: string): Promise<void> {
    const node = await this.#client.get<Node>(resources.nodes, undefined, name);
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const conditions = (node.status?.conditions ?? []).map((c) =>
      c.type === 'Ready'
        ? {
            ...c,
            status: 'Unknown' as const,
            reason: 'NodeStatusUnknown',
            message: 'Kubelet stopped posting node status.',
            lastTransitionTime: now,
          }
        : c,
    );
    await this.#client.patch<Node>(
      resources.nodes,
      undefined,
      name,
      { status: { conditions } },
      { type: 'merge', subresource: 'status' },
    );
  }

  /** Why pods cannot reach outside. Something that was only just started gets `patienceMs` to come up. */
  async #wayOutObstacle(patienceMs = 0): Promise<string | undefined> {
    const obstacle = wayOutObstacle();
    if (obstacle !== undefined || !this.#built) return obstacle;
    const deadline = Date.now() + patienceMs;
    while (!(await this.#underlay.hasWayOut())) {
      if (Date.now() >= deadline) {
        const logFile = path.join(this.#options.paths.logDir, 'wayout.log');
        return wayOutFailure(lastLine(logFile), logFile);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return undefined;
  }

  async #status(): Promise<SupervisorStatus> {
    const obstacle = await this.#wayOutObstacle();
    return {
      pid: process.pid,
      ...(obstacle === undefined ? {} : { wayOutObstacle: obstacle }),
      units: [...this.#units].map(([name, record]) => ({
        name,
        running: isRunning(record),
        stopped: this.#stopped.has(name),
      })),
    };
  }
}
