import { parseInterfaceAddress, parseIp } from '@weft/net';
import { checkIfname } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import {
  field,
  isObject,
  type JsonObject,
  objectField,
  objectsField,
  stringField,
  stringsField,
} from '../spec/json.ts';

/** Annotation of a pod: networks it wants besides its first one (Multi-network specification, 4.1). */
export const NETWORKS_ANNOTATION = 'k8s.v1.cni.cncf.io/networks';
/** Annotation of a pod: the network it wants as its first one. The name is that of Multus. */
export const DEFAULT_NETWORK_ANNOTATION = 'v1.multus-cni.io/default-network';
/** Annotation of a pod, written for its readers: the networks it got (Multi-network specification, 5). */
export const NETWORK_STATUS_ANNOTATION = 'k8s.v1.cni.cncf.io/network-status';

/** One network that a pod asks for. */
export interface NetworkSelection {
  readonly namespace: string;
  readonly name: string;
  /** Interface name asked for. */
  readonly ifname: string | undefined;
  /** Addresses asked for, with or without prefix length. */
  readonly ips: readonly string[];
  readonly mac: string | undefined;
  readonly infinibandGuid: string | undefined;
  readonly deviceId: string | undefined;
  /** Gateways of the pod's default routes through this network, at most one per family. Empty: none asked for. */
  readonly defaultRoutes: readonly string[];
  readonly portMappings: readonly JsonObject[] | undefined;
  readonly bandwidth: JsonObject | undefined;
  /** Arguments for the plugins, as `args.cni` of their configuration. */
  readonly cniArgs: JsonObject | undefined;
}

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** Names of custom objects may have dots, which the specification's grammar of the short form has not. */
const NAME = /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/;
const MAC = /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i;
const GUID = /^([0-9a-f]{2}[:-]){7}[0-9a-f]{2}$/i;
/** Most networks of one pod: more is a mistake, and each costs an interface. */
const MOST = 64;

function wrong(path: string, why: string): CniError {
  return new CniError(CniCode.invalidConfig, `${path}: ${why}`);
}

function checkNames(namespace: string, name: string, path: string): void {
  if (!LABEL.test(namespace)) throw wrong(path, `${JSON.stringify(namespace)} is not a namespace name`);
  if (!NAME.test(name)) throw wrong(path, `${JSON.stringify(name)} is not the name of a network`);
}

function readIfname(text: string | undefined, path: string): string | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    return checkIfname(text);
  } catch (error) {
    throw wrong(path, `${JSON.stringify(text)}: ${(error as Error).message.replace(/^CNI_IFNAME: /, '')}`);
  }
}

/** `[NAMESPACE/]NAME[@INTERFACE]` */
function parseShort(item: string, defaultNamespace: string, path: string): NetworkSelection {
  const match = /^(?:([^/@]*)\/)?([^/@]*)(?:@([^/@]*))?$/.exec(item.trim());
  if (match === null)
    throw wrong(path, `${JSON.stringify(item.trim())} is not of the form [NAMESPACE/]NAME[@INTERFACE]`);
  const [, namespace, name = '', ifname] = match.map((part) => part?.trim());
  const selection = { namespace: namespace ?? defaultNamespace, name };
  checkNames(selection.namespace, name, path);
  if (ifname === '') throw wrong(path, `${JSON.stringify(item.trim())} has no interface name behind the @`);
  return { ...selection, ...NOTHING, ifname: readIfname(ifname, path) };
}

const NOTHING = {
  ifname: undefined,
  ips: [],
  mac: undefined,
  infinibandGuid: undefined,
  deviceId: undefined,
  defaultRoutes: [],
  portMappings: undefined,
  bandwidth: undefined,
  cniArgs: undefined,
} as const;

function readMac(value: JsonObject, path: string): string | undefined {
  const mac = stringField(value, 'mac', `${path}.mac`) || undefined;
  if (mac !== undefined && !MAC.test(mac)) throw wrong(`${path}.mac`, `${JSON.stringify(mac)} is not a MAC address`);
  return mac?.toLowerCase().replaceAll('-', ':');
}

function readIps(value: JsonObject, path: string): readonly string[] {
  // One address may stand without its list, as older writers have it.
  const one = field(value, 'ips');
  const ips = typeof one === 'string' ? [one] : (stringsField(value, 'ips', `${path}.ips`) ?? []);
  ips.forEach((ip, i) => {
    const known = ip.includes('/') ? parseInterfaceAddress(ip) : parseIp(ip);
    if (known === undefined) throw wrong(`${path}.ips[${i}]`, `${JSON.stringify(ip)} is not an address`);
  });
  return ips;
}

function readDefaultRoutes(value: JsonObject, path: string): readonly string[] {
  const gateways = stringsField(value, 'default-route', `${path}.default-route`) ?? [];
  const families = gateways.map((gateway, i) => {
    const ip = parseIp(gateway);
    if (ip === undefined) throw wrong(`${path}.default-route[${i}]`, `${JSON.stringify(gateway)} is not an address`);
    return ip.family;
  });
  if (new Set(families).size < families.length)
    throw wrong(`${path}.default-route`, 'more than one gateway of a family');
  return gateways;
}

function parseElement(value: JsonObject, defaultNamespace: string, path: string): NetworkSelection {
  const text = (name: string): string | undefined => stringField(value, name, `${path}.${name}`) || undefined;
  const name = text('name');
  if (name === undefined) throw wrong(`${path}.name`, 'is missing: which network?');
  const namespace = text('namespace') ?? defaultNamespace;
  checkNames(namespace, name, path);
  const guid = text('infiniband-guid');
  if (guid !== undefined && !GUID.test(guid)) {
    throw wrong(`${path}.infiniband-guid`, `${JSON.stringify(guid)} is not a GUID of eight bytes`);
  }
  return {
    namespace,
    name,
    ifname: readIfname(text('interface') ?? text('interfaceRequest'), `${path}.interface`),
    ips: readIps(value, path),
    mac: readMac(value, path),
    infinibandGuid: guid,
    deviceId: text('deviceID'),
    defaultRoutes: readDefaultRoutes(value, path),
    portMappings: objectsField(value, 'portMappings', `${path}.portMappings`)?.map((item) => item.value),
    bandwidth: objectField(value, 'bandwidth', `${path}.bandwidth`),
    cniArgs: objectField(value, 'cni-args', `${path}.cni-args`),
  };
}

/**
 * Reads annotation `k8s.v1.cni.cncf.io/networks` in either form: `[NAMESPACE/]NAME[@INTERFACE], …`, or a JSON list of
 * objects. Names without a namespace are of the pod's. An empty text asks for nothing. Errors are CniError 7 (or 6, for
 * what is no JSON or of a wrong type) and name the annotation and the field.
 */
export function parseNetworkSelections(
  text: string,
  podNamespace: string,
  annotation: string = NETWORKS_ANNOTATION,
): readonly NetworkSelection[] {
  if (text.trim() === '') return [];
  const selections = /[[{"]/.test(text)
    ? parseJson(text, annotation).map((value, i) => parseElement(value, podNamespace, `${annotation}[${i}]`))
    : text.split(',').map((item, i) => parseShort(item, podNamespace, `${annotation}[${i}]`));
  if (selections.length > MOST) throw wrong(annotation, `${selections.length} networks are more than ${MOST}`);
  return selections;
}

function parseJson(text: string, annotation: string): readonly JsonObject[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(CniCode.decode, `${annotation} is not valid JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(value)) throw new CniError(CniCode.decode, `${annotation} is not a JSON list`);
  return value.map((item: unknown, i) => {
    if (isObject(item)) return item;
    throw new CniError(CniCode.decode, `${annotation}[${i}]: expected an object, got ${JSON.stringify(item)}`);
  });
}
