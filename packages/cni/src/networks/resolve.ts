import { errorMessage } from '@weft/plan';
import type { PodReference } from '../ipam/ipam.ts';
import { loadNetwork, type NetworkList } from '../runtime/config.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { NetworksConfig } from './config.ts';
import { networkOfDefinition, networkOfDirectory } from './definition.ts';
import type { FoundNetwork, WantedNetwork } from './plan.ts';
import type { NetworkSource } from './source.ts';

/** Where configurations of networks are looked up. */
export interface Lookup {
  readonly config: NetworksConfig;
  /** Directory of network configurations when the plugin's own names none. */
  readonly confDir: string | undefined;
  readonly source: NetworkSource | undefined;
}

function notFound(wanted: WantedNetwork & { list?: undefined }, why: string): CniError {
  const { namespace, name } = wanted.selection;
  const message = `${wanted.cause}: cannot find a network-attachment-definition (${name}) in namespace (${namespace})`;
  // It may be made after the pod.
  return new CniError(CniCode.tryAgainLater, `${message}${why}`);
}

/** A network of the configuration directory whose name the configuration gives. */
async function ofDirectory(lookup: Lookup, name: string): Promise<NetworkList | string> {
  const dir = lookup.config.confDir ?? lookup.confDir;
  if (dir === undefined) return '';
  try {
    return await loadNetwork(dir, name);
  } catch (error) {
    return `; ${errorMessage(error)}`;
  }
}

/** Looks up the configurations of a pod's networks, in order. Devices are given out in the order of the networks. */
export async function findNetworks(
  wanted: readonly WantedNetwork[],
  pod: PodReference | undefined,
  lookup: Lookup,
): Promise<readonly FoundNetwork[]> {
  const { config, source } = lookup;
  const given = new Map<string, string[]>();
  const deviceOf = async (resourceName: string | undefined): Promise<string | undefined> => {
    if (resourceName === undefined || pod === undefined || source?.devices === undefined) return undefined;
    if (!given.has(resourceName)) given.set(resourceName, [...(await source.devices(pod, resourceName))]);
    return given.get(resourceName)?.shift();
  };
  const found: FoundNetwork[] = [];
  for (const one of wanted) {
    if (one.list !== undefined) {
      found.push({ wanted: one, list: one.list });
      continue;
    }
    const { selection } = one;
    const definition = await source?.definition(selection.namespace, selection.name);
    if (definition === undefined) {
      const list = one.anywhere ? await ofDirectory(lookup, selection.name) : '';
      if (typeof list === 'string') throw notFound(one, list);
      found.push({ wanted: one, list, deviceId: selection.deviceId });
      continue;
    }
    const deviceId = selection.deviceId ?? (await deviceOf(definition.resourceName));
    const changes = { deviceId, cniArgs: selection.cniArgs };
    const dir = config.confDir ?? lookup.confDir;
    const list =
      definition.config.trim() === '' && dir !== undefined
        ? await networkOfDirectory(definition, dir, changes)
        : networkOfDefinition(definition, changes);
    found.push({ wanted: one, list, deviceId });
  }
  return found;
}
