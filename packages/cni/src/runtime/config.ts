import { readdir, readFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { errorMessage, WeftError } from '@weft/plan';
import { checkNetworkName } from '../spec/environment.ts';
import { CniError } from '../spec/errors.ts';
import {
  booleanField,
  field,
  type JsonObject,
  objectField,
  objectsField,
  parseObject,
  stringField,
  stringsField,
} from '../spec/json.ts';
import { isVersion, negotiateVersion } from '../spec/versions.ts';

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
  /**
   * Version all calls use: the highest that the list allows and we support. When it allows none, its own, which plugins
   * will refuse, as under libcni.
   */
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

/** Plugins in files of their own, `<dir>/*.conf` (CNI 1.1, "Network configuration format"). */
async function readPluginFiles(dir: string): Promise<readonly PluginConfig[]> {
  const names = await configFiles(dir, ['.conf']).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw invalid(dir, errorMessage(error));
  });
  return Promise.all(
    names.map(async (name) => {
      const file = join(dir, name);
      const text = await readText(file);
      return described(file, () => plugin(parseObject(text, 'it'), 'it'));
    }),
  );
}

/** Runs a reader of a configuration; its errors name the file. */
function described<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const why = errorMessage(error);
    throw invalid(file, error instanceof CniError && error.details ? `${why} (${error.details})` : why);
  }
}

function readVersions(value: JsonObject): string {
  const versions = stringsField(value, 'cniVersions') ?? [];
  const own = stringField(value, 'cniVersion') || undefined;
  versions.forEach((version, i) => {
    if (!isVersion(version)) throw new Error(`cniVersions[${i}]: ${JSON.stringify(version)} is not a version`);
  });
  if (own !== undefined && !isVersion(own)) throw new Error(`cniVersion: ${JSON.stringify(own)} is not a version`);
  return negotiateVersion(own, versions);
}

type Parsed = Omit<NetworkList, 'file' | 'text'> & { readonly onlyInlined: boolean };

function parseChecked(value: JsonObject): Parsed {
  const name = checkNetworkName(stringField(value, 'name'));
  const cniVersion = readVersions(value);
  const onlyInlined = booleanField(value, 'loadOnlyInlinedPlugins') ?? false;
  const listed = objectsField(value, 'plugins');
  if (listed === undefined && onlyInlined) {
    throw new Error('loadOnlyInlinedPlugins is true, but `plugins` is missing');
  }
  if (listed?.length === 0) throw new Error('the list has no plugins');
  return {
    name,
    cniVersion,
    disableCheck: booleanField(value, 'disableCheck') ?? false,
    disableGC: booleanField(value, 'disableGC') ?? false,
    onlyInlined,
    plugins: (listed ?? []).map((item) => plugin(item.value, item.path)),
  };
}

/** A single plugin's configuration as a list of one; libcni's "upconversion". */
function upconvert(value: JsonObject): JsonObject {
  return { name: field(value, 'name'), cniVersion: field(value, 'cniVersion'), plugins: [value] };
}

function parseList(text: string, file: string): NetworkList & { readonly onlyInlined: boolean } {
  return described(file, () => {
    const value = parseObject(text, 'it');
    const single = field(value, 'plugins') === undefined && stringField(value, 'type') !== undefined;
    if (!single) return { ...parseChecked(value), file, text };
    const list = upconvert(value);
    return { ...parseChecked(list), onlyInlined: true, file, text: JSON.stringify(list) };
  });
}

/**
 * Reads the text of a network list, or of a single plugin configuration, which becomes a list of one.
 * `file` is named in errors; plugins kept in files of their own (`<dir>/<network>/*.conf`, CNI 1.1) are not read here.
 */
export function parseNetworkList(text: string, file = ''): NetworkList {
  const { onlyInlined: _, ...list } = parseList(text, file);
  return list;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new WeftError({
      code: 'CNI_CONFIG_UNREADABLE',
      message: `cannot read ${file}: ${errorMessage(error)}`,
      cause: error,
    });
  }
}

/** Reads one file, with the plugins that CNI 1.1 lets live in a directory of the network's name. */
async function loadNetworkFile(file: string): Promise<NetworkList> {
  const { onlyInlined, ...list } = parseList(await readText(file), file);
  if (onlyInlined) return list;
  const plugins = [...list.plugins, ...(await readPluginFiles(join(dirname(file), list.name)))];
  if (plugins.length === 0) throw invalid(file, 'the list has no plugins');
  return { ...list, plugins };
}

const LISTS = ['.conflist'] as const;
const SINGLES = ['.conf', '.json'] as const;

/** Files of a directory with one of these extensions, in order of their names. */
async function configFiles(dir: string, extensions: readonly string[]): Promise<readonly string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && extensions.includes(extname(entry.name)))
    .map((entry) => entry.name)
    .sort();
}

async function networkFiles(dir: string, extensions: readonly string[]): Promise<readonly string[]> {
  try {
    return await configFiles(dir, extensions);
  } catch (error) {
    throw new WeftError({
      code: 'CNI_CONFIG_MISSING',
      message: `cannot read the CNI configuration directory ${dir}: ${errorMessage(error)}`,
      cause: error,
    });
  }
}

/**
 * The network to use from a configuration directory. With a name: the first list, then the first single configuration,
 * of that name, as libcni looks for it; a file that cannot be read ends the search. Without: the first file by name, as
 * containerd and CRI-O take it.
 */
export async function loadNetwork(dir: string, name?: string): Promise<NetworkList> {
  if (name === undefined) {
    const [first] = await networkFiles(dir, [...LISTS, ...SINGLES]);
    if (first !== undefined) return loadNetworkFile(join(dir, first));
  } else {
    for (const extensions of [LISTS, SINGLES]) {
      for (const entry of await networkFiles(dir, extensions)) {
        const list = await loadNetworkFile(join(dir, entry));
        if (list.name === name) return list;
      }
    }
  }
  throw new WeftError({
    code: 'CNI_CONFIG_MISSING',
    message: name === undefined ? `no network configuration in ${dir}` : `no network named "${name}" in ${dir}`,
    hint: 'a CNI configuration is a *.conflist, *.conf or *.json file there',
  });
}

/** All networks of a configuration directory that can be read, and the reasons why others cannot. */
export async function loadNetworks(
  dir: string,
): Promise<{ readonly lists: readonly NetworkList[]; readonly errors: readonly unknown[] }> {
  const lists: NetworkList[] = [];
  const errors: unknown[] = [];
  for (const entry of await networkFiles(dir, [...LISTS, ...SINGLES])) {
    try {
      lists.push(await loadNetworkFile(join(dir, entry)));
    } catch (error) {
      errors.push(error);
    }
  }
  return { lists, errors };
}
