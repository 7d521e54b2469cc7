import { errorMessage } from '@weft/plan';
import { loadNetwork, type NetworkList, parseNetworkList } from '../runtime/config.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, objectField, parseObject, stringField } from '../spec/json.ts';

/** What is needed of a NetworkAttachmentDefinition object. */
export interface NetworkDefinition {
  readonly namespace: string;
  readonly name: string;
  /** `spec.config`: a CNI configuration or list as text; '' when the configuration directory has it. */
  readonly config: string;
  /** Annotation `k8s.v1.cni.cncf.io/resourceName`: the extended resource whose devices this network attaches. */
  readonly resourceName?: string | undefined;
}

/** What a pod's selection changes in the configuration of its network. */
export interface DefinitionChanges {
  readonly deviceId?: string | undefined;
  readonly cniArgs?: JsonObject | undefined;
}

/** Puts a device and arguments into a plugin's configuration, as the conventions place them. */
function changed(plugin: JsonObject, changes: DefinitionChanges): JsonObject {
  const { deviceId, cniArgs } = changes;
  const args = objectField(plugin, 'args', 'args');
  const cni = args === undefined ? undefined : objectField(args, 'cni', 'args.cni');
  return {
    ...plugin,
    ...(deviceId === undefined ? {} : { deviceID: deviceId }),
    ...(cniArgs === undefined ? {} : { args: { ...args, cni: { ...cni, ...cniArgs } } }),
  };
}

/**
 * The network list of a configuration that is kept somewhere else than in a file of its own (pure). It gets `name` when
 * it has none. Errors are CniError 7. The device goes to the first plugin, which makes the interface; arguments go to all.
 */
export function networkOf(
  config: JsonObject,
  name: string,
  where: string,
  changes: DefinitionChanges = {},
): NetworkList {
  const own = stringField(config, 'name') || name;
  const listed = field(config, 'plugins');
  const { deviceId: _, ...forAll } = changes;
  const value =
    Array.isArray(listed) && listed.every(isObject)
      ? { ...config, name: own, plugins: listed.map((p, i) => changed(p, i === 0 ? changes : forAll)) }
      : { ...changed(config, changes), name: own };
  try {
    const list = parseNetworkList(JSON.stringify(value), where);
    if (list.plugins.length > 0) return list;
  } catch (error) {
    throw new CniError(CniCode.invalidConfig, errorMessage(error), undefined, error);
  }
  throw new CniError(
    CniCode.invalidConfig,
    `${where}: neither \`type\` nor \`plugins\` says which plugin is to be called`,
  );
}

/** A network list as text that has all its plugins, also those that came from files of their own. */
export function textOf(list: NetworkList): string {
  const { name, cniVersion, disableCheck, disableGC } = list;
  return JSON.stringify({
    name,
    cniVersion,
    disableCheck,
    disableGC,
    plugins: list.plugins.map((plugin) => plugin.raw),
  });
}

/** Reads `spec.config` of a definition. Errors are CniError 7 and name the definition. */
export function networkOfDefinition(definition: NetworkDefinition, changes: DefinitionChanges = {}): NetworkList {
  const where = `network-attachment-definition ${definition.namespace}/${definition.name}`;
  try {
    const config = parseObject(definition.config, 'spec.config');
    return networkOf(config, definition.name, where, changes);
  } catch (error) {
    const details = error instanceof CniError && error.details ? ` (${error.details})` : '';
    const said = errorMessage(error);
    const message = said.startsWith(where) ? said : `${where}: ${said}${details}`;
    throw new CniError(CniCode.invalidConfig, message, undefined, error);
  }
}

/** The network of a definition without `spec.config`: the one of its name in the configuration directory. */
export async function networkOfDirectory(
  definition: NetworkDefinition,
  confDir: string,
  changes: DefinitionChanges = {},
): Promise<NetworkList> {
  const where = `network-attachment-definition ${definition.namespace}/${definition.name}`;
  try {
    const list = await loadNetwork(confDir, definition.name);
    return networkOf(parseObject(textOf(list), 'it'), definition.name, list.file, changes);
  } catch (error) {
    throw new CniError(CniCode.invalidConfig, `${where} has no spec.config: ${errorMessage(error)}`, undefined, error);
  }
}
