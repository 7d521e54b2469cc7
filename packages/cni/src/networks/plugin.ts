import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { NetNs } from '@weft/kernel';
import { errorMessage, type Logger } from '@weft/plan';
import type { PodReference } from '../ipam/ipam.ts';
import { ANNOTATIONS, podOf } from '../plugins/addressing.ts';
import { runtimeConfig } from '../plugins/common/conf.ts';
import { ResultCache } from '../runtime/cache.ts';
import { type NetworkList, parseNetworkList } from '../runtime/config.ts';
import { CniRuntime, type InProcess } from '../runtime/runtime.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { isObject, objectField } from '../spec/json.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { versionAtLeast } from '../spec/versions.ts';
import { type NetworksConfig, readNetworksConfig } from './config.ts';
import { type NetworkPod, planNetworks, type PlannedNetwork, wantedNetworks } from './plan.ts';
import { type FoundRecord, NetworkRecords, type NetworksRecord } from './records.ts';
import { findNetworks } from './resolve.ts';
import { moveDefaultRoutes, withDefaultRoutes } from './routes.ts';
import type { NetworkSource } from './source.ts';
import { networkStatus } from './status.ts';
import { attachmentOf, failure, inodeOf, recordOf, stepsOf, throwAll, traceOf } from './steps.ts';

export interface NetworksPluginDeps {
  /** Directory of what containers have, and of the cached results. */
  readonly stateDir: string;
  /** Configurations of networks by name, for definitions without `spec.config`. */
  readonly confDir?: string;
  /** Answers calls of plugins that need no program. */
  readonly inProcess: InProcess;
  readonly source?: NetworkSource;
  /** Runs work while no call for the container is under way. */
  readonly exclusive: (containerId: string, work: () => Promise<void>) => Promise<void>;
  readonly log: Logger;
}

/** One container's networks being attached. */
interface Attempt {
  readonly record: NetworksRecord;
  readonly planned: readonly PlannedNetwork[];
  readonly runtime: CniRuntime;
}

/**
 * Several networks per pod, the job of Multus: one call of a runtime becomes calls of the plugins of every network that
 * the pod's annotations and the configuration name. What a container has is on disk before the first plugin is called,
 * so that DEL needs neither the definitions nor the pod.
 */
export class NetworksPlugin implements Plugin {
  readonly name = 'weft-networks';
  readonly #deps: NetworksPluginDeps;
  readonly #records: NetworkRecords;
  /** What an earlier agent had begun, as it was when this one started. */
  readonly #cutOff: readonly FoundRecord[];
  readonly #runtimes = new Map<string, CniRuntime>();
  /** Containers whose namespace the last sweep missed, with the time of their ADD. */
  #missing = new Map<string, number>();

  constructor(deps: NetworksPluginDeps) {
    this.#deps = deps;
    this.#records = new NetworkRecords(join(deps.stateDir, 'pods'), deps.log);
    new ResultCache(deps.stateDir).removeUnfinished();
    this.#cutOff = this.#records.list().filter((record) => !record.ready);
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const config = readNetworksConfig(request.config, request.network);
    checkReady(config);
    await this.#clear(request);
    const pod = podOf(request.args);
    const planned = await this.#plan(request, config, pod);
    const path = pathOf(config, request);
    const attempt: Attempt = { planned, runtime: this.#runtime(path), record: recordOf(request, planned, pod, path) };
    this.#records.begin(attempt.record);
    const results = await this.#attachAll(request, attempt);
    this.#records.ready(request);
    this.#tell(attempt, results);
    return results[0] as CniResult;
  }

  async del(request: PluginRequest): Promise<void> {
    const record = this.#records.get(request);
    if (record !== undefined) return this.#detach(record, request.netns);
    await this.#detachUnrecorded(request);
  }

  async check(request: PluginRequest): Promise<void> {
    const record = this.#records.get(request);
    if (record?.ready !== true) {
      throw new CniError(CniCode.unknownContainer, `container ${request.containerId} is not attached to any network`);
    }
    const runtime = this.#runtime(record.path);
    for (const step of stepsOf(record)) {
      if (versionAtLeast(step.list.cniVersion, '0.4.0')) {
        await runtime.check(step.list, attachmentOf(record, step, request.netns));
      }
    }
  }

  async status(request: PluginRequest): Promise<void> {
    const config = readNetworksConfig(request.config, request.network);
    checkReady(config);
    const runtime = this.#runtime(pathOf(config, request));
    await runtime.status(await this.#firstNetwork(config));
  }

  async gc(request: PluginRequest): Promise<void> {
    const config = readNetworksConfig(request.config, request.network);
    const { validAttachments: valid } = request;
    if (valid === undefined) return;
    const named = new Set(valid.map((a) => `${a.containerId}/${a.ifname}`));
    const all = this.#records.list().filter((record) => record.network === request.network);
    const stale = all.filter((record) => !named.has(`${record.containerId}/${record.ifname}`));
    const errors: unknown[] = [];
    for (const record of stale) await this.#detach(record, record.netns).catch((error) => errors.push(error));
    const first = await this.#firstNetwork(config).catch(() => undefined);
    const lists = new Map(all.flatMap(stepsOf).map((step) => [step.list.name, step.list]));
    if (first !== undefined) lists.set(first.name, first);
    const kept = all.filter((record) => !stale.includes(record)).flatMap((r) => stepsOf(r).map((s) => ({ r, s })));
    const runtime = this.#runtime(pathOf(config, request));
    for (const list of lists.values()) {
      const attachments = kept
        .filter(({ s }) => s.list.name === list.name)
        .map(({ r, s }) => ({ containerId: r.containerId, ifname: s.ifname }));
      await runtime.gc(list, attachments).catch((error) => errors.push(error));
    }
    throwAll(errors, `GC of ${request.network}`);
  }

  /** Takes down what an ADD had begun when an earlier agent died: no runtime was told of it. */
  async recover(): Promise<void> {
    for (const record of this.#cutOff) await this.#forget(record, 'its ADD was cut off');
  }

  /** Takes down what containers have that `keep` does not name. */
  async reconcile(keep: (record: FoundRecord) => boolean): Promise<void> {
    for (const record of this.#records.list()) {
      if (!keep(record)) await this.#forget(record, 'its sandbox is gone');
    }
  }

  /** Takes down what containers have whose namespace was gone at two looks in a row, if it was ever seen. */
  async sweep(): Promise<void> {
    const gone = this.#records.list().filter((r) => r.sandbox !== undefined && inodeOf(r.netns) !== r.sandbox);
    const again = gone.filter((r) => this.#missing.get(`${r.containerId}/${r.ifname}`) === r.since);
    this.#missing = new Map(gone.map((r) => [`${r.containerId}/${r.ifname}`, r.since]));
    for (const record of again) await this.#forget(record, 'its network namespace is gone');
  }

  /** Takes one container down, unless somebody else has done it meanwhile. */
  async #forget(record: FoundRecord, why: string): Promise<void> {
    const about = { container: record.containerId, pod: record.pod, why };
    await this.#deps.exclusive(record.containerId, async () => {
      if (this.#records.get(record)?.since !== record.since) return;
      try {
        await this.#detach(record, record.netns);
        this.#deps.log.info('took the networks of a container down', about);
      } catch (error) {
        this.#deps.log.warn('cannot take the networks of a container down', { ...about, error: errorMessage(error) });
      }
    });
  }

  /** Makes way for an ADD: refuses when the container has its networks, takes remains of an earlier ADD down. */
  async #clear(request: PluginRequest): Promise<void> {
    const old = this.#records.get(request);
    if (old === undefined) return;
    if (old.ready && old.netns === request.netns && old.sandbox === inodeOf(request.netns)) {
      throw new CniError(
        CniCode.interfaceExists,
        `container ${request.containerId} has its networks already, with ${request.ifname}`,
        'call DEL before another ADD',
      );
    }
    await this.#detach(old, old.netns);
  }

  async #plan(
    request: PluginRequest,
    config: NetworksConfig,
    pod: PodReference | undefined,
  ): Promise<readonly PlannedNetwork[]> {
    const { source, confDir } = this.#deps;
    try {
      const wanted = wantedNetworks(config, await this.#podOf(request, pod));
      const found = await findNetworks(wanted, pod, { config, confDir, source });
      const capabilityArgs = objectField(request.config, 'runtimeConfig') ?? {};
      return planNetworks(found, { ifname: request.ifname, args: request.args, capabilityArgs });
    } catch (error) {
      if (pod !== undefined && error instanceof CniError) {
        const missing = error.cniCode === CniCode.tryAgainLater;
        const details = error.details ? ` (${error.details})` : '';
        source?.event(pod, 'Warning', missing ? 'NoNetworkFound' : 'InvalidNetworks', `${error.message}${details}`);
      }
      throw error;
    }
  }

  /** The pod with its annotations: told by the runtime, or from the cache. */
  async #podOf(request: PluginRequest, pod: PodReference | undefined): Promise<NetworkPod | undefined> {
    if (pod === undefined) return undefined;
    const told = runtimeConfig(request.config, ANNOTATIONS);
    if (isObject(told)) return { namespace: pod.namespace, annotations: told as Readonly<Record<string, string>> };
    const { source } = this.#deps;
    if (source === undefined) return { namespace: pod.namespace, annotations: {} };
    const annotations = await source.annotations(pod);
    if (annotations !== undefined) return { namespace: pod.namespace, annotations };
    throw new CniError(
      CniCode.tryAgainLater,
      `pod ${pod.namespace}/${pod.name} is not known to the agent yet, and the runtime does not tell its annotations`,
      'look whether the agent reaches the API server',
    );
  }

  /** Attaches one network after the other; takes all down again when one fails. */
  async #attachAll(request: PluginRequest, attempt: Attempt): Promise<readonly CniResult[]> {
    const { planned, record, runtime } = attempt;
    const results: CniResult[] = [];
    let at = 0;
    try {
      for (; at < planned.length; at++) {
        const network = planned[at] as PlannedNetwork;
        results.push(await runtime.add(network.list, attachmentOf(record, network, request.netns, traceOf(request))));
      }
      return await this.#route(request, attempt, results);
    } catch (error) {
      const network = planned[Math.min(at, planned.length - 1)] as PlannedNetwork;
      const failed = failure(error, network, at < planned.length);
      if (record.pod !== undefined && !network.primary) {
        this.#deps.source?.event(record.pod, 'Warning', 'NetworkAttachmentFailed', failed.message);
      }
      await this.#detach({ ...record, networks: record.networks.slice(0, at + 1), ready: false }, request.netns).catch(
        (cause: unknown) => {
          // The record stays: a DEL, or the next start, does the rest.
          this.#deps.log.warn('cannot undo a failed ADD', {
            container: record.containerId,
            error: errorMessage(cause),
          });
        },
      );
      throw failed;
    }
  }

  async #route(request: PluginRequest, attempt: Attempt, results: CniResult[]): Promise<readonly CniResult[]> {
    const { planned, record, runtime } = attempt;
    const routed = withDefaultRoutes(planned, results);
    if (routed === results) return results;
    const sandbox = NetNs.open(request.netns);
    try {
      await moveDefaultRoutes(planned, sandbox);
    } finally {
      sandbox.close();
    }
    planned.forEach((network, i) => {
      const result = routed[i] as CniResult;
      // CHECK compares with what is cached.
      if (result !== results[i]) runtime.amend(network.list, attachmentOf(record, network, record.netns), result);
    });
    return routed;
  }

  #tell({ record, planned }: Attempt, results: readonly CniResult[]): void {
    const { source } = this.#deps;
    if (source === undefined || record.pod === undefined) return;
    const statuses = planned.map((network, i) => networkStatus(network.name, results[i] as CniResult, network));
    const asked = planned.length > 1 || planned[0]?.cause !== 'delegates[0]';
    if (!asked) return;
    source.attached(record.pod, statuses);
    for (const status of statuses) {
      const ips = status.ips === undefined ? '' : ` [${status.ips.join(' ')}]`;
      source.event(record.pod, 'Normal', 'AddedInterface', `Add ${status.interface ?? ''}${ips} from ${status.name}`);
    }
  }

  /** The plugins of all networks in reverse order; one that fails keeps none of the others. */
  async #detach(record: FoundRecord, netns: string): Promise<void> {
    const runtime = this.#runtime(record.path);
    // Plugins of several makers fail on a path that is there no more, and all do without one.
    const path = netns !== '' && existsSync(netns) ? netns : '';
    const errors: unknown[] = [];
    for (const step of [...stepsOf(record)].reverse()) {
      await runtime.del(step.list, attachmentOf(record, step, path)).catch((error: unknown) => errors.push(error));
    }
    throwAll(errors, `DEL of container ${record.containerId}`);
    this.#records.remove(record);
  }

  /** DEL of what no record tells of: it was never there, or the state directory was lost. */
  async #detachUnrecorded(request: PluginRequest): Promise<void> {
    const { containerId } = request;
    let config: NetworksConfig | undefined;
    try {
      config = readNetworksConfig(request.config, request.network);
    } catch (error) {
      this.#deps.log.debug('DEL with a configuration that says nothing', { error: errorMessage(error) });
    }
    const runtime = this.#runtime(pathOf(config, request));
    const netns = request.netns !== '' && existsSync(request.netns) ? request.netns : '';
    const args = [...request.args];
    const capabilityArgs = objectField(request.config, 'runtimeConfig') ?? {};
    const configured = (config?.delegates ?? []).map((list, i) => ({
      list,
      attachment: { containerId, ifname: i === 0 ? request.ifname : `net${i}`, netns, args, capabilityArgs },
    }));
    // The results of a record that cannot be read.
    const cached = runtime.attachmentsOf(containerId).flatMap((entry) => {
      try {
        const list = parseNetworkList(entry.config, entry.networkName);
        return [{ list, attachment: { ...entry, netns, args: entry.cniArgs } }];
      } catch {
        return [];
      }
    });
    const errors: unknown[] = [];
    for (const { list, attachment } of [...configured, ...cached].reverse()) {
      await runtime.del(list, attachment).catch((error: unknown) => errors.push(error));
    }
    throwAll(errors, `DEL of container ${containerId}`);
  }

  async #firstNetwork(config: NetworksConfig): Promise<NetworkList> {
    const { source, confDir } = this.#deps;
    const [first] = wantedNetworks({ ...config, defaultNetworks: [] }, undefined);
    const found = await findNetworks(first === undefined ? [] : [first], undefined, { config, confDir, source });
    return (found[0] as { list: NetworkList }).list;
  }

  #runtime(path: readonly string[]): CniRuntime {
    const key = path.join(':');
    let runtime = this.#runtimes.get(key);
    if (runtime === undefined) {
      const { confDir = '', stateDir, inProcess, log } = this.#deps;
      const onStderr = (text: string): void => log.debug('a CNI plugin said', { text: text.trim().slice(0, 500) });
      runtime = new CniRuntime({ confDir, binDirs: path, cacheDir: stateDir, inProcess, onStderr });
      this.#runtimes.set(key, runtime);
    }
    return runtime;
  }
}

function checkReady(config: NetworksConfig): void {
  const file = config.readinessIndicatorFile;
  if (file === undefined || existsSync(file)) return;
  throw new CniError(
    CniCode.tryAgainLater,
    `the first network is not ready: ${file} (readinessindicatorfile) is missing`,
  );
}

function pathOf(config: NetworksConfig | undefined, request: PluginRequest): readonly string[] {
  return config?.binDir === undefined ? request.path : [config.binDir, ...request.path];
}
