import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { WeftError } from '@weft/plan';
import { checkNetworkName } from '../spec/environment.ts';
import {
  booleanField,
  isObject,
  type JsonObject,
  objectField,
  objectsField,
  parseObject,
  stringField,
  stringsField,
} from '../spec/json.ts';
import { isSupportedVersion, negotiateVersion, SUPPORTED_VERSIONS } from '../spec/versions.ts';

/** One plugin of a network list, as configured. */
export interface PluginConfig {
  readonly type: string;
  /** Capabilities the plugin declares: the runtime's arguments it wants. */
  readonly capabilities: ReadonlySet<string>;
  /** The whole object; it is passed on with additions. */
  readonly raw: JsonObject;
}

/** A network: plugins that are called one after the other. */
export interface NetworkList {
  readonly name: string;
  /** Version all calls use: the highest that the list allows and we support. */
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConfig[];
  /** File it was read from; '' when it came from elsewhere. */
  readonly file: string;
  /** The original text, for the result cache. */
  readonly text: string;
}

function invalid(file: string, why: string, hint?: string): WeftError {
  return new WeftError({
    code: 'CNI_CONFIG_INVALID',
    message: `${file || 'network configuration'}: ${why}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

function plugin(raw: JsonObject, path: string): PluginConfig {
  const type = stringField(raw, 'type', `${path}.type`);
  if (type === undefined || type === '') throw new Error(`${path}.type is missing: which plugin is to be called?`);
  const capabilities = Object.entries(objectField(raw, 'capabilities', `${path}.capabilities`) ?? {});
  return { type, capabilities: new Set(capabilities.filter(([, on]) => on === true).map(([name]) => name)), raw };
}

async function readPluginFiles(dir: string): Promise<readonly PluginConfig[]> {
  const names = (await readdir(dir).catch(() => [])).filter((name) => name.endsWith('.conf')).sort();
  return Promise.all(
    names.map(async (name) => plugin(parseObject(await readFile(join(dir, name), 'utf8'), name), join(dir, name))),
  );
}

function parseChecked(value: JsonObject, single: boolean): Omit<NetworkList, 'file' | 'text'> {
  const name = checkNetworkName(stringField(value, 'name'));
  const versions = stringsField(value, 'cniVersions') ?? [];
  const cniVersion = negotiateVersion(stringField(value, 'cniVersion') || undefined, versions);
  if (!isSupportedVersion(cniVersion)) {
    throw new Error(`cniVersion "${cniVersion}" is not supported; supported are ${SUPPORTED_VERSIONS.join(', ')}`);
  }
  if (single) return { name, cniVersion, disableCheck: false, disableGC: false, plugins: [plugin(value, name)] };
  const only = booleanField(value, 'loadOnlyInlinedPlugins') ?? false;
  const listed = objectsField(value, 'plugins');
  if (only && (listed === undefined || listed.length === 0)) {
    throw new Error('loadOnlyInlinedPlugins is true, but `plugins` is missing');
  }
  return {
    name,
    cniVersion,
    disableCheck: booleanField(value, 'disableCheck') ?? false,
    disableGC: booleanField(value, 'disableGC') ?? false,
    plugins: (listed ?? []).map((item) => plugin(item.value, item.path)),
  };
}

/**
 * Reads the text of a network list, or of a single plugin configuration, which becomes a list of one.
 * `file` is named in errors; plugins kept in files of their own (`<dir>/<network>/*.conf`, CNI 1.1) are not read here.
 */
export function parseNetworkList(text: string, file = ''): NetworkList {
  try {
    const value = parseObject(text, 'it');
    const single = !('plugins' in value) && stringField(value, 'type') !== undefined;
    const list = parseChecked(value, single);
    return { ...list, file, text };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const details =
      error instanceof Error && 'details' in error && typeof error.details === 'string' ? ` (${error.details})` : '';
    throw invalid(file, why + details);
  }
}

/** Reads one file, with the plugins that CNI 1.1 lets live in a directory of the network's name. */
async function loadNetworkFile(file: string): Promise<NetworkList> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new WeftError({
      code: 'CNI_CONFIG_UNREADABLE',
      message: `cannot read ${file}: ${(error as Error).message}`,
      cause: error,
    });
  }
  const list = parseNetworkList(text, file);
  const value: unknown = JSON.parse(text);
  const only = isObject(value) && (booleanField(value, 'loadOnlyInlinedPlugins') ?? false);
  const more = only ? [] : await readPluginFiles(join(file, '..', list.name));
  const plugins = [...list.plugins, ...more];
  if (plugins.length === 0) throw invalid(file, 'the list has no plugins');
  return { ...list, plugins };
}

const EXTENSIONS: ReadonlySet<string> = new Set(['.conflist', '.conf', '.json']);

/**
 * The network to use from a configuration directory. With a name: the first list (then single configuration) of that
 * name, as libcni looks for it. Without: the first file by name, as containerd and CRI-O take it.
 */
export async function loadNetwork(dir: string, name?: string): Promise<NetworkList> {
  let names: string[];
  try {
    names = (await readdir(dir)).filter((entry) => EXTENSIONS.has(extname(entry))).sort();
  } catch (error) {
    throw new WeftError({
      code: 'CNI_CONFIG_MISSING',
      message: `cannot read the CNI configuration directory ${dir}: ${(error as Error).message}`,
      cause: error,
    });
  }
  if (name === undefined && names[0] !== undefined) return loadNetworkFile(join(dir, names[0]));
  const lists = names.filter((entry) => entry.endsWith('.conflist'));
  for (const entry of [...lists, ...names.filter((other) => !lists.includes(other))]) {
    const list = await loadNetworkFile(join(dir, entry));
    if (list.name === name) return list;
  }
  throw new WeftError({
    code: 'CNI_CONFIG_MISSING',
    message: name === undefined ? `no network configuration in ${dir}` : `no network named "${name}" in ${dir}`,
    hint: 'a CNI configuration is a *.conflist, *.conf or *.json file there',
  });
}
