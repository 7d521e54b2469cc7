import { formatIp, parseIp } from '@weft/net';
import { CniCode, CniError } from '../spec/errors.ts';
import { type JsonObject, numberField, objectsField, stringField } from '../spec/json.ts';
import type { CniResult } from '../spec/types.ts';
import { runtimeConfig } from './common/conf.ts';

export type PortProtocol = 'tcp' | 'udp' | 'sctp';

/** A port of the node that leads to a port of a pod. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: PortProtocol;
  /** Address of the node it is bound to; undefined: all of them. */
  readonly hostIp: string | undefined;
}

/** One translation: packets to a port of the node (of one of its addresses, or of all) go to a port of a pod. */
export interface PortEntry {
  readonly family: 4 | 6;
  readonly hostIp: string | undefined;
  readonly protocol: PortProtocol;
  readonly hostPort: number;
  readonly podIp: string;
  readonly containerPort: number;
}

const PROTOCOLS: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp']);

function port(value: JsonObject, name: string, path: string): number {
  const number = numberField(value, name, `${path}.${name}`) ?? 0;
  if (Number.isInteger(number) && number >= 0 && number <= 65535) return number;
  throw new CniError(CniCode.invalidConfig, `${path}.${name}: ${number} is not a port number`);
}

/** Reads capability `portMappings`. Entries without a host port ask for nothing and are left out. */
export function readPortMappings(config: JsonObject): readonly PortMapping[] {
  const path = 'runtimeConfig.portMappings';
  const mappings: PortMapping[] = [];
  for (const item of objectsField({ list: runtimeConfig(config, 'portMappings') }, 'list', path) ?? []) {
    const hostPort = port(item.value, 'hostPort', item.path);
    const containerPort = port(item.value, 'containerPort', item.path);
    if (hostPort === 0) continue;
    if (containerPort === 0) throw new CniError(CniCode.invalidConfig, `${item.path}.containerPort is missing`);
    const protocol = (stringField(item.value, 'protocol', `${item.path}.protocol`) || 'tcp').toLowerCase();
    if (!PROTOCOLS.has(protocol)) {
      throw new CniError(CniCode.invalidConfig, `${item.path}.protocol: "${protocol}" is not tcp, udp or sctp`);
    }
    const text = stringField(item.value, 'hostIP', `${item.path}.hostIP`) ?? '';
    const ip = text === '' ? undefined : parseIp(text);
    if (text !== '' && ip === undefined) {
      throw new CniError(CniCode.invalidConfig, `${item.path}.hostIP: "${text}" is not an IP address`);
    }
    const any = ip === undefined || ip.bytes.every((byte) => byte === 0);
    mappings.push({
      hostPort,
      containerPort,
      protocol: protocol as PortProtocol,
      hostIp: any ? undefined : formatIp(ip),
    });
  }
  return mappings;
}

/** The pod's first address per family, with its length, from the result of the plugins before. */
export function podAddresses(
  result: CniResult,
  ifname: string,
): { readonly v4: string | undefined; readonly v6: string | undefined } {
  const inPod = (result.ips ?? []).filter((ip) => {
    const device = ip.interface === undefined ? undefined : result.interfaces?.[ip.interface];
    return device === undefined || ((device.sandbox ?? '') !== '' && device.name === ifname);
  });
  const first = (v6: boolean): string | undefined => inPod.find((ip) => ip.address.includes(':') === v6)?.address;
  return { v4: first(false), v6: first(true) };
}

/** Name of the node's end of the pod's pair, from the result of the plugins before. */
export function hostInterface(result: CniResult): string | undefined {
  const onNode = (result.interfaces ?? []).filter((i) => (i.sandbox ?? '') === '');
  // By convention a bridge comes before its port.
  return onNode.at(-1)?.name;
}
