import { WeftError } from '@weft/plan';
import { checkContainerId, checkIfname } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { type JsonObject, parseObject, stringsField } from '../spec/json.ts';
import { parseResult } from '../spec/result.ts';
import type { Attachment, CniCommand, CniResult } from '../spec/types.ts';
import { versionAtLeast } from '../spec/versions.ts';
import { ResultCache } from './cache.ts';
import { loadNetwork, type NetworkList, parseNetworkList, type PluginConfig } from './config.ts';
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
}

/** Calls CNI plugins as libcni does: by executing them, with environment, standard input and exit status. */
export class CniRuntime {
  readonly #options: CniRuntimeOptions;
  readonly #cache: ResultCache;
  readonly #env: Readonly<Record<string, string>>;
  readonly #found = new Map<string, Promise<string>>();

  constructor(options: CniRuntimeOptions) {
    this.#options = options;
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

  /**
   * Attaches a container: every plugin in order, each with the result of the one before. The final result is cached.
   * When it rejects, call `del`: plugins that succeeded before the failure still hold what they made.
   */
  async add(list: NetworkList, attachment: RuntimeAttachment): Promise<CniResult> {
    check(attachment);
    let previous: JsonObject | undefined;
    for (const plugin of list.plugins) {
      const text = await this.#exec('ADD', list, plugin, attachment, previous);
      // A plugin with nothing to add may print nothing.
      if (text.trim() !== '') {
        previous = { cniVersion: list.cniVersion, ...parseObject(text, `result of plugin ${plugin.type}`) };
      }
    }
    if (previous === undefined) {
      throw new CniError(CniCode.decode, `network ${list.name}: no plugin printed a result`);
    }
    const result = parseResult(previous, list.cniVersion);
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
  }

  /** Detaches a container: the plugins in reverse order, up to the first error. Safe to call again and again. */
  async del(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    check(attachment);
    const cached = this.#cache.read(list.name, attachment);
    const previous = versionAtLeast(list.cniVersion, '0.4.0') ? cached?.result : undefined;
    for (const plugin of [...list.plugins].reverse()) await this.#exec('DEL', list, plugin, attachment, previous);
    this.#cache.remove(list.name, attachment);
  }

  /** Throws what is no longer as ADD left it. */
  async check(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    check(attachment);
    if (!versionAtLeast(list.cniVersion, '0.4.0')) {
      throw new WeftError({
        code: 'CNI_CHECK_UNSUPPORTED',
        message: `configuration version "${list.cniVersion}" does not support the CHECK command`,
      });
    }
    if (list.disableCheck) return;
    const cached = this.#cache.read(list.name, attachment);
    if (cached?.result === undefined) {
      throw new WeftError({
        code: 'CNI_NOT_ATTACHED',
        message: `container ${attachment.containerId} has no cached result for ${attachment.ifname} of network ${list.name}`,
      });
    }
    for (const plugin of list.plugins) await this.#exec('CHECK', list, plugin, attachment, cached.result);
  }

  /** Throws the first plugin's reason not to be ready. Lists below version 1.1.0 are always ready. */
  async status(list: NetworkList): Promise<void> {
    if (!versionAtLeast(list.cniVersion, '1.1.0')) return;
    for (const plugin of list.plugins) await this.#exec('STATUS', list, plugin, undefined, undefined);
  }

  /**
   * Frees what belongs to no valid attachment: DEL for those in the cache, then GC for the plugins' own leftovers.
   * Without a list only the cached ones go. All failures are joined in one error.
   */
  async gc(list: NetworkList, valid: readonly Attachment[] | undefined): Promise<void> {
    if (list.disableGC) return;
    const keep = new Set((valid ?? []).map((a) => `${a.containerId}/${a.ifname}`));
    const errors: unknown[] = [];
    for (const cached of this.#cache.list(list.name)) {
      if (keep.has(`${cached.containerId}/${cached.ifname}`)) continue;
      const { containerId, ifname, netns, cniArgs: args, capabilityArgs } = cached;
      await this.del(list, { containerId, ifname, netns, args, capabilityArgs }).catch((error) => errors.push(error));
    }
    if (valid !== undefined && versionAtLeast(list.cniVersion, '1.1.0')) {
      const attachments = valid.map((a) => ({ containerID: a.containerId, ifname: a.ifname }));
      // Plugins built with older libraries know the list by its misspelt name only.
      const additions = { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments };
      for (const plugin of list.plugins) {
        await this.#exec('GC', list, plugin, undefined, undefined, additions).catch((error) => errors.push(error));
      }
    }
    if (errors.length > 0)
      throw errors.length === 1 ? errors[0] : new AggregateError(errors, `GC of ${list.name} failed`);
  }

  /** Versions that a plugin executable supports. */
  async version(type: string): Promise<readonly string[]> {
    const list = parseNetworkList(JSON.stringify({ cniVersion: '1.1.0', name: 'version', plugins: [{ type }] }));
    const dummy = { containerId: 'dummy', ifname: 'dummy', netns: 'dummy' };
    const plugin = list.plugins[0] as PluginConfig;
    const text = await this.#exec('VERSION', list, plugin, dummy, undefined);
    return stringsField(parseObject(text, `version of plugin ${type}`), 'supportedVersions') ?? [];
  }

  async #exec(
    command: CniCommand,
    list: NetworkList,
    plugin: PluginConfig,
    attachment: RuntimeAttachment | undefined,
    previous: JsonObject | undefined,
    additions: JsonObject = {},
  ): Promise<string> {
    const file = await this.#find(plugin.type, list);
    const input = {
      ...plugin.raw,
      name: list.name,
      cniVersion: list.cniVersion,
      ...capabilityInput(plugin, attachment),
      ...(previous === undefined ? {} : { prevResult: previous }),
      ...additions,
    };
    const env: Record<string, string> = {
      ...this.#env,
      CNI_COMMAND: command,
      CNI_PATH: this.#options.binDirs.join(':'),
      ...(attachment === undefined
        ? {}
        : { CNI_CONTAINERID: attachment.containerId, CNI_NETNS: attachment.netns, CNI_IFNAME: attachment.ifname }),
    };
    const args = attachment?.args ?? [];
    if (args.length > 0) env['CNI_ARGS'] = args.map(([key, value]) => `${key}=${value}`).join(';');
    try {
      return await execPlugin(file, {
        env,
        stdin: JSON.stringify(input),
        timeoutMs: this.#options.timeoutMs ?? 60_000,
        ...(attachment?.signal === undefined ? {} : { signal: attachment.signal }),
      });
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      const where = `network ${list.name}${list.file === '' ? '' : ` (${list.file})`}: plugin ${file} failed (${command})`;
      throw new CniError(error.cniCode, `${where}: ${error.message}`, error.details, error);
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

function capabilityInput(plugin: PluginConfig, attachment: RuntimeAttachment | undefined): JsonObject {
  const wanted = Object.entries(attachment?.capabilityArgs ?? {}).filter(([name]) => plugin.capabilities.has(name));
  return wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) };
}

function check(attachment: RuntimeAttachment): void {
  checkContainerId(attachment.containerId);
  checkIfname(attachment.ifname);
}
