import type { NetworkList } from '../runtime/config.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { JsonObject } from '../spec/json.ts';
import {
  DEFAULT_NETWORK_ANNOTATION,
  NETWORKS_ANNOTATION,
  type NetworkSelection,
  parseNetworkSelections,
} from './annotations.ts';
import type { NetworksConfig } from './config.ts';

/** A network that a pod is to get; its configuration may still have to be looked up. */
export type WantedNetwork = {
  /** The pod's first network: the one that Kubernetes knows of. */
  readonly primary: boolean;
  /** The object and field that asks for it. */
  readonly cause: string;
} & (
  | { readonly list: NetworkList; readonly selection?: undefined }
  | {
      readonly list?: undefined;
      readonly selection: NetworkSelection;
      /** A name of the configuration, which may also be that of a network in the configuration directory. */
      readonly anywhere: boolean;
    }
);

/** What the pod says that is attached. */
export interface NetworkPod {
  readonly namespace: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A network with all that is needed to attach it. */
export interface PlannedNetwork {
  /** `NAMESPACE/NAME` of the definition, or the network's own name. */
  readonly name: string;
  readonly primary: boolean;
  readonly cause: string;
  readonly ifname: string;
  readonly list: NetworkList;
  readonly capabilityArgs: JsonObject;
  readonly args: readonly (readonly [string, string])[];
  readonly defaultRoutes: readonly string[];
  readonly deviceId?: string | undefined;
}

/** Names under which the plugin for several networks is called; it cannot be a network of its own. */
export const NETWORKS_PLUGINS: readonly string[] = ['weft-networks', 'multus'];

function named(text: string, namespace: string, where: string): NetworkSelection {
  const selections = parseNetworkSelections(text, namespace, where);
  const [first] = selections;
  if (first !== undefined && selections.length === 1) return first;
  throw new CniError(CniCode.invalidConfig, `${where}: expected one network, got ${selections.length}`);
}

function checkIsolation(config: NetworksConfig, pod: NetworkPod, selection: NetworkSelection, cause: string): void {
  const { namespace } = selection;
  if (!config.namespaceIsolation || namespace === pod.namespace || config.globalNamespaces.includes(namespace)) return;
  throw new CniError(
    CniCode.invalidConfig,
    `${cause}: pods of namespace ${pod.namespace} may not use network ${namespace}/${selection.name}`,
    `namespaceIsolation allows those of their own namespace and of ${config.globalNamespaces.join(', ')}`,
  );
}

/**
 * The networks of a pod in their order (pure): the first one, by the pod's annotation or the configuration, then those
 * that all pods get, then those that the pod asks for. Without a pod, what the configuration says.
 */
export function wantedNetworks(config: NetworksConfig, pod: NetworkPod | undefined): readonly WantedNetwork[] {
  const wanted: WantedNetwork[] = [];
  const own = pod?.annotations[DEFAULT_NETWORK_ANNOTATION] ?? '';
  const [inline, ...more] = config.delegates;
  if (pod !== undefined && own.trim() !== '') {
    const cause = `annotation ${DEFAULT_NETWORK_ANNOTATION}`;
    const selection = named(own, config.multusNamespace, cause);
    if (selection.namespace !== config.multusNamespace) checkIsolation(config, pod, selection, cause);
    wanted.push({ primary: true, cause, selection, anywhere: selection.namespace === config.multusNamespace });
  } else if (inline !== undefined) {
    wanted.push({ primary: true, cause: 'delegates[0]', list: inline });
  } else {
    const cause = 'clusterNetwork';
    const selection = named(config.clusterNetwork as string, config.multusNamespace, cause);
    wanted.push({ primary: true, cause, selection, anywhere: true });
  }
  more.forEach((list, i) => wanted.push({ primary: false, cause: `delegates[${i + 1}]`, list }));
  if (pod === undefined || !config.systemNamespaces.includes(pod.namespace)) {
    config.defaultNetworks.forEach((name, i) => {
      const cause = `defaultNetworks[${i}]`;
      wanted.push({ primary: false, cause, selection: named(name, config.multusNamespace, cause), anywhere: true });
    });
  }
  if (pod === undefined) return wanted;
  const asked = parseNetworkSelections(pod.annotations[NETWORKS_ANNOTATION] ?? '', pod.namespace);
  asked.forEach((selection, i) => {
    const cause = `annotation ${NETWORKS_ANNOTATION}[${i}]`;
    checkIsolation(config, pod, selection, cause);
    wanted.push({ primary: false, cause, selection, anywhere: false });
  });
  return wanted;
}

/** A wanted network whose configuration is known. */
export interface FoundNetwork {
  readonly wanted: WantedNetwork;
  readonly list: NetworkList;
  readonly deviceId?: string | undefined;
}

/** What the runtime said of the pod's attachment. */
export interface OuterCall {
  readonly ifname: string;
  /** CNI_ARGS */
  readonly args: ReadonlyMap<string, string>;
  /** Capability arguments: those of the first network. */
  readonly capabilityArgs: JsonObject;
}

/** CNI_ARGS that say something of one interface. */
const OF_ONE: ReadonlySet<string> = new Set(['IP', 'MAC', 'GATEWAY']);

function capabilitiesOf(selection: NetworkSelection | undefined, deviceId: string | undefined): JsonObject {
  if (selection === undefined) return {};
  const { ips, mac, portMappings, bandwidth, infinibandGuid } = selection;
  return {
    ...(ips.length === 0 ? {} : { ips }),
    ...(mac === undefined ? {} : { mac }),
    ...(portMappings === undefined ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(infinibandGuid === undefined ? {} : { infinibandGUID: infinibandGuid }),
    ...(deviceId === undefined ? {} : { deviceID: deviceId }),
  };
}

/** CNI_ARGS of one network. Addresses also go there when no plugin takes them as a capability. */
function argsOf(found: FoundNetwork, outer: OuterCall): readonly (readonly [string, string])[] {
  const { wanted, list } = found;
  const { ips = [], mac } = wanted.selection ?? {};
  const takes = (capability: string): boolean => list.plugins.some((plugin) => plugin.capabilities.has(capability));
  const own = new Map<string, string>();
  if (ips.length > 0 && !takes('ips')) own.set('IP', ips.join(','));
  if (mac !== undefined && !takes('mac')) own.set('MAC', mac);
  const passed = [...outer.args].filter(([key]) => (wanted.primary ? !own.has(key) : !OF_ONE.has(key)));
  // Plugins of one chain do not all know what is meant for another.
  if (own.size > 0 && !outer.args.has('IgnoreUnknown')) own.set('IgnoreUnknown', '1');
  return [...passed, ...own];
}

function nameOf({ wanted, list }: FoundNetwork): string {
  const { selection } = wanted;
  return selection === undefined ? list.name : `${selection.namespace}/${selection.name}`;
}

/**
 * Gives every network its interface and its arguments (pure). The first network has the runtime's interface, the others
 * `net1`, `net2`, … by their place in the list unless they ask for a name. Refuses what cannot be at once: an interface
 * or a default route that two networks want, an attachment that is the same as another.
 */
export function planNetworks(found: readonly FoundNetwork[], outer: OuterCall): readonly PlannedNetwork[] {
  const takenBy = new Map<string, string>();
  const routedBy = new Map<string, string>();
  return found.map((one, i): PlannedNetwork => {
    const { wanted, list, deviceId } = one;
    const { primary, cause, selection } = wanted;
    const name = nameOf(one);
    const ifname = primary ? outer.ifname : (selection?.ifname ?? `net${i}`);
    const other = takenBy.get(ifname);
    if (other !== undefined) {
      throw new CniError(CniCode.invalidConfig, `${cause}: interface ${ifname} is taken already, by ${other}`);
    }
    takenBy.set(ifname, cause);
    const recursive = list.plugins.find((plugin) => NETWORKS_PLUGINS.includes(plugin.type));
    if (recursive !== undefined) {
      throw new CniError(CniCode.invalidConfig, `${cause}: network ${name} must not call ${recursive.type} again`);
    }
    const defaultRoutes = selection?.defaultRoutes ?? [];
    for (const gateway of defaultRoutes) {
      const family = gateway.includes(':') ? 'IPv6' : 'IPv4';
      const before = routedBy.get(family);
      if (before !== undefined) {
        throw new CniError(CniCode.invalidConfig, `${cause}: ${before} wants the ${family} default route as well`);
      }
      routedBy.set(family, cause);
    }
    return {
      name,
      primary,
      cause,
      ifname,
      list,
      capabilityArgs: { ...(primary ? outer.capabilityArgs : {}), ...capabilitiesOf(selection, deviceId) },
      args: argsOf(one, outer),
      defaultRoutes,
      deviceId,
    };
  });
}
