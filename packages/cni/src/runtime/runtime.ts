import { errorMessage, WeftError } from '@weft/plan';
import { Locks } from '../locks.ts';
import { checkContainerId, checkIfname } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { type JsonObject, parseObject, stringField, stringsField } from '../spec/json.ts';
import { checkResult, parseResult, resultToVersion } from '../spec/result.ts';
import type { Attachment, CniCommand, CniResult } from '../spec/types.ts';
import { CURRENT_VERSION, isSupportedVersion, versionAtLeast } from '../spec/versions.ts';
import { type CachedAttachment, ResultCache } from './cache.ts';
import { DirectAgent } from './direct.ts';
import { loadNetwork, type NetworkList, type PluginConfig } from './config.ts';
import { execPlugin, findPlugin } from './exec.ts';

export interface CniRuntimeOptions {
  /** Directory of network configurations, for `load`. */
  readonly confDir: string;
  /** Directories of plugin executables, first match wins. */
  readonly binDirs: readonly string[];
  /** libcni's cache directory. */
  readonly cacheDir: string;
  /** Environment of plugins, besides CNI_*; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Longest one plugin may take, milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
  /** Gets what plugins that succeeded wrote to stderr. */
  readonly onStderr?: (text: string) => void;
  /** Answers calls of plugins that need no program. */
  readonly inProcess?: InProcess;
  /** Calls the agent itself where the executable would do nothing else: Node takes a millisecond to start one. */
  readonly direct?: boolean;
}

/** A call of a plugin, as its executable would get it. */
export interface PluginCall {
  readonly type: string;
  /** CNI_PATH, split. */
  readonly path: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

/** Resolves with what the plugin would print and rejects with its error; undefined leaves the call to a program. */
export type InProcess = (call: PluginCall) => Promise<string> | undefined;

/** W3C trace context of a call; plugins get it as TRACEPARENT, TRACESTATE and BAGGAGE, as from libcni. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
  readonly baggage?: string;
}

/** A container to attach, check or detach. */
export interface RuntimeAttachment extends Attachment {
  /** Path of the network namespace; '' when it is gone (DEL). */
  readonly netns: string;
  /** CNI_ARGS. */
  readonly args?: readonly (readonly [string, string])[];
  /** Arguments by capability: `portMappings`, `bandwidth`, `ips`, `mac`, …; passed to plugins that declare them. */
  readonly capabilityArgs?: JsonObject;
  readonly signal?: AbortSignal;
  readonly trace?: TraceContext;
}

/**
 * Calls CNI plugins as libcni does: by executing them, with environment, standard input and exit status. Calls for one
 * attachment are made one at a time, and GC of a network waits for all others of this object (CNI 1.1, "GC").
 */
export class CniRuntime {
  readonly #options: CniRuntimeOptions;
  readonly #cache: ResultCache;
  readonly #env: Readonly<Record<string, string>>;
  readonly #found = new Map<string, Promise<string>>();
  readonly #locks = new Map<string, Locks>();
  readonly #direct: DirectAgent | undefined;

  constructor(options: CniRuntimeOptions) {
    this.#options = options;
    this.#direct = options.direct === true ? new DirectAgent() : undefined;
    this.#cache = new ResultCache(options.cacheDir);
    const inherited = Object.entries(options.env ?? process.env);
    this.#env = Object.fromEntries(
      inherited.filter((pair): pair is [string, string] => pair[1] !== undefined && !pair[0].startsWith('CNI_')),
    );
  }

  /** The network of the configuration directory: by name, or the first file's. */
  load(name?: string): Promise<NetworkList> {
    return loadNetwork(this.#options.confDir, name);
  }

  /** What is remembered of attachments, of one network or of all. */
  attachments(networkName?: string): readonly CachedAttachment[] {
    return this.#cache.list(networkName);
  }

  /** What is remembered of one container, of all networks, in order of their names. */
  attachmentsOf(containerId: string): readonly CachedAttachment[] {
    return this.#cache.list(undefined, containerId);
  }

  /** Replaces the remembered result of an attachment, when something has been changed after its ADD. */
  amend(list: NetworkList, attachment: Attachment, result: CniResult): void {
    const cached = this.#cache.read(list.name, attachment);
    if (cached !== undefined) this.#cache.write({ ...cached, result: resultToVersion(result, list.cniVersion) });
  }

  /**
   * Attaches a container: every plugin in order, each with the result of the one before. The final result is cached.
   * When it rejects, call `del`: plugins that succeeded before the failure still hold what they made.
   */
  add(list: NetworkList, attachment: RuntimeAttachment): Promise<CniResult> {
    return this.#one(list, attachment, async () => {
      let previous: JsonObject | undefined;
      for (const plugin of list.plugins) {
        const text = await this.#exec('ADD', list, plugin, attachment, previous);
        // A plugin with nothing to add may print nothing.
        if (text.trim() !== '') previous = readAnswer(text, list, plugin);
      }
      if (previous === undefined) {
        throw new CniError(CniCode.decode, `network ${list.name}: no plugin printed a result`);
      }
      const result = parseResult(previous, list.cniVersion);
      checkResult(result);
      this.#cache.write({
        networkName: list.name,
        containerId: attachment.containerId,
        ifname: attachment.ifname,
        config: list.text,
        netns: attachment.netns,
        cniArgs: attachment.args ?? [],
        capabilityArgs: attachment.capabilityArgs ?? {},
        result: previous,
      });
      return result;
    });
  }

  /** Detaches a container: the plugins in reverse order, up to the first error. Safe to call again and again. */
  del(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    return this.#one(list, attachment, () => this.#del(list, attachment));
  }

  /** Throws what is no longer as ADD left it. */
  check(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    return this.#one(list, attachment, async () => {
      if (!versionAtLeast(list.cniVersion, '0.4.0')) {
        throw new WeftError({
          code: 'CNI_CHECK_UNSUPPORTED',
          message: `configuration version "${list.cniVersion}" does not support the CHECK command`,
        });
      }
      if (list.disableCheck) return;
      const cached = this.#cache.read(list.name, attachment);
      if (cached?.result === undefined) {
        throw new CniError(
          CniCode.unknownContainer,
          `container ${attachment.containerId} has no cached result for ${attachment.ifname} of network ${list.name}`,
        );
      }
      const previous = asVersion(cached.result, list.cniVersion);
      for (const plugin of list.plugins) await this.#exec('CHECK', list, plugin, attachment, previous);
    });
  }

  /** Throws the first plugin's reason not to be ready. Lists below version 1.1.0 are always ready. */
  async status(list: NetworkList): Promise<void> {
    if (!versionAtLeast(list.cniVersion, '1.1.0')) return;
    for (const plugin of list.plugins) await this.#exec('STATUS', list, plugin, undefined, undefined);
  }

  /**
   * Frees what belongs to no valid attachment: DEL for those in the cache, then GC for the plugins' own leftovers.
   * Without a list all cached ones go, and plugins get none either, which means to them that there is nothing to do; an
   * empty list means that no attachment is valid. All failures are joined in one error.
   */
  async gc(list: NetworkList, valid: readonly Attachment[] | undefined): Promise<void> {
    if (list.disableGC) return;
    await this.#lock(list).exclusive(async () => {
      const keep = new Set((valid ?? []).map((a) => `${a.containerId}/${a.ifname}`));
      const errors: unknown[] = [];
      for (const cached of this.#cache.list(list.name)) {
        if (keep.has(`${cached.containerId}/${cached.ifname}`)) continue;
        await this.#del(list, attachmentOf(cached)).catch((error) => errors.push(error));
      }
      if (versionAtLeast(list.cniVersion, '1.1.0')) {
        const attachments = valid?.map((a) => ({ containerID: a.containerId, ifname: a.ifname }));
        // Plugins built with older libraries know the list by its misspelt name only.
        const additions =
          attachments === undefined
            ? {}
            : { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments };
        for (const plugin of list.plugins) {
          await this.#exec('GC', list, plugin, undefined, undefined, additions).catch((error) => errors.push(error));
        }
      }
      if (errors.length === 1) throw errors[0];
      if (errors.length > 1) {
        throw new AggregateError(errors, `GC of ${list.name} failed: ${errors.map(errorMessage).join('; ')}`);
      }
    });
  }

  /** Versions that a plugin executable supports. Plugins older than the verb VERSION know 0.1.0. */
  async version(type: string): Promise<readonly string[]> {
    const file = await findPlugin(type, this.#options.binDirs, 'version');
    const dummy = { CNI_CONTAINERID: 'dummy', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_PATH: 'dummy' };
    let text: string;
    try {
      text = await execPlugin(file, {
        env: { ...this.#env, ...dummy, CNI_COMMAND: 'VERSION' },
        stdin: JSON.stringify({ cniVersion: CURRENT_VERSION }),
        timeoutMs: this.#options.timeoutMs ?? 60_000,
      });
    } catch (error) {
      if (error instanceof CniError && error.message === 'unknown CNI_COMMAND: VERSION') return ['0.1.0'];
      throw error;
    }
    const answer = parseObject(text, `version of plugin ${type}`);
    const versions = stringsField(answer, 'supportedVersions') ?? [];
    if (versions.length > 0) return versions;
    if (stringField(answer, 'cniVersion') === '0.2.0') return ['0.1.0', '0.2.0'];
    throw new CniError(CniCode.decode, `version of plugin ${type}: supportedVersions is missing`);
  }

  /** Throws when a plugin is missing or does not support the list's version. Resolves with all capabilities it takes. */
  async validate(list: NetworkList): Promise<readonly string[]> {
    const problems: string[] = [];
    for (const { type } of list.plugins) {
      const versions = await this.version(type).catch((error) => {
        problems.push(errorMessage(error));
        return undefined;
      });
      if (versions !== undefined && !versions.includes(list.cniVersion)) {
        problems.push(`plugin ${type} does not support version "${list.cniVersion}", but ${versions.join(', ')}`);
      }
    }
    if (problems.length > 0) {
      throw new WeftError({
        code: 'CNI_NETWORK_UNUSABLE',
        message: `network ${list.name}${list.file === '' ? '' : ` (${list.file})`}: ${problems.join('; ')}`,
      });
    }
    return [...new Set(list.plugins.flatMap((plugin) => [...plugin.capabilities]))];
  }

  async #del(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    const cached = versionAtLeast(list.cniVersion, '0.4.0') ? this.#cache.read(list.name, attachment) : undefined;
    let previous: JsonObject | undefined;
    try {
      if (cached?.result !== undefined) previous = asVersion(cached.result, list.cniVersion);
    } catch {
      // A damaged cache never keeps a container from going; plugins do without the result.
      this.#cache.remove(list.name, attachment);
    }
    for (const plugin of [...list.plugins].reverse()) await this.#exec('DEL', list, plugin, attachment, previous);
    this.#cache.remove(list.name, attachment);
  }

  #lock(list: NetworkList): Locks {
    let locks = this.#locks.get(list.name);
    if (locks === undefined) this.#locks.set(list.name, (locks = new Locks()));
    return locks;
  }

  async #one<T>(list: NetworkList, attachment: RuntimeAttachment, work: () => Promise<T>): Promise<T> {
    checkContainerId(attachment.containerId);
    checkIfname(attachment.ifname);
    return this.#lock(list).keyed(`${attachment.containerId}/${attachment.ifname}`, work);
  }

  async #exec(
    command: CniCommand,
    list: NetworkList,
    plugin: PluginConfig,
    attachment: RuntimeAttachment | undefined,
    previous: JsonObject | undefined,
    additions: JsonObject = {},
  ): Promise<string> {
    const input = {
      ...plugin.raw,
      name: list.name,
      cniVersion: list.cniVersion,
      ...capabilityInput(plugin, attachment),
      ...(previous === undefined ? {} : { prevResult: previous }),
      ...additions,
    };
    const options = {
      env: { ...this.#env, ...environmentOf(command, attachment), CNI_PATH: this.#options.binDirs.join(':') },
      stdin: JSON.stringify(input),
      timeoutMs: this.#options.timeoutMs ?? 60_000,
      direct: this.#direct,
      ...(attachment?.signal === undefined ? {} : { signal: attachment.signal }),
      ...(this.#options.onStderr === undefined ? {} : { onStderr: this.#options.onStderr }),
    };
    const { type } = plugin;
    const own = this.#options.inProcess?.({
      type,
      path: this.#options.binDirs,
      env: options.env,
      stdin: options.stdin,
    });
    if (own !== undefined) return own.catch((error: unknown) => Promise.reject(inChain(error, command, list, type)));
    for (let again = true; ; again = false) {
      const file = await this.#find(type, list);
      try {
        return await execPlugin(file, options);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT' && again) {
          // It was taken away; another directory may have it.
          this.#found.delete(type);
          continue;
        }
        throw inChain(error, command, list, file);
      }
    }
  }

  #find(type: string, list: NetworkList): Promise<string> {
    let found = this.#found.get(type);
    if (found === undefined) {
      found = findPlugin(type, this.#options.binDirs, list.file || `network ${list.name}`);
      this.#found.set(type, found);
      // It may be installed later.
      found.catch(() => this.#found.delete(type));
    }
    return found;
  }
}

/** A plugin's error with the network and the plugin in front. */
function inChain(error: unknown, command: CniCommand, list: NetworkList, plugin: string): unknown {
  if (!(error instanceof CniError)) return error;
  const where = `network ${list.name}${list.file === '' ? '' : ` (${list.file})`}: plugin ${plugin} failed (${command})`;
  // As libcni words it: whoever shows the message shows the details too.
  const details = error.details === undefined || error.details === '' ? '' : `; ${error.details}`;
  return new CniError(error.cniCode, `${where}: ${error.message}${details}`, error.details, error);
}

/** A cached attachment as a runtime would ask for it again. */
function attachmentOf(cached: CachedAttachment): RuntimeAttachment {
  const { containerId, ifname, netns, cniArgs: args, capabilityArgs } = cached;
  return { containerId, ifname, netns, args, capabilityArgs };
}

/** Reads what a plugin printed; a result without a version has the configuration's. */
function readAnswer(text: string, list: NetworkList, plugin: PluginConfig): JsonObject {
  const what = `network ${list.name}: result of plugin ${plugin.type}`;
  let answer: JsonObject;
  try {
    answer = parseObject(text, what);
  } catch (error) {
    const said = JSON.stringify(text.trim().slice(0, 200));
    throw new CniError(CniCode.decode, `${errorMessage(error)}: ${said}`, undefined, error);
  }
  const { cniVersion: _, ...rest } = answer;
  const own = stringField(answer, 'cniVersion', `${what}: cniVersion`);
  return { cniVersion: own || list.cniVersion, ...rest };
}

/** A result in the version of the list, which may have changed since it was cached. */
function asVersion(result: JsonObject, version: string): JsonObject {
  if (stringField(result, 'cniVersion') === version || !isSupportedVersion(version)) return result;
  return resultToVersion(parseResult(result), version);
}

function capabilityInput(plugin: PluginConfig, attachment: RuntimeAttachment | undefined): JsonObject {
  const wanted = Object.entries(attachment?.capabilityArgs ?? {}).filter(([name]) => plugin.capabilities.has(name));
  return wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) };
}

function environmentOf(command: CniCommand, attachment: RuntimeAttachment | undefined): Record<string, string> {
  const env: Record<string, string> = { CNI_COMMAND: command };
  if (attachment === undefined) return env;
  env['CNI_CONTAINERID'] = attachment.containerId;
  env['CNI_NETNS'] = attachment.netns;
  env['CNI_IFNAME'] = attachment.ifname;
  const args = attachment.args ?? [];
  if (args.length > 0) env['CNI_ARGS'] = args.map(([key, value]) => `${key}=${value}`).join(';');
  const { trace } = attachment;
  if (trace !== undefined) {
    env['TRACEPARENT'] = trace.traceparent;
    if (trace.tracestate !== undefined) env['TRACESTATE'] = trace.tracestate;
    if (trace.baggage !== undefined) env['BAGGAGE'] = trace.baggage;
  }
  return env;
}
