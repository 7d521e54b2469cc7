import { addToIp, formatIp, parseInterfaceAddress, prefixOf } from '@weft/net';
import { booleanField, field, type JsonObject, objectField, stringField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniDns, CniIp, CniResult, CniRoute, PluginRequest } from '../spec/types.ts';
import { familyOf, invalid, mtuField, wantedMac } from './common/conf.ts';
import { ipamConfig } from './common/ipam.ts';
import { readIpMasq } from './common/masquerade.ts';

/** Configuration of the plugin `bridge`, with the names of the reference plugin. */
export interface BridgeConfig {
  readonly bridge: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly ipMasq: boolean;
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  readonly disableContainerInterface: boolean;
  readonly portIsolation: boolean;
  readonly enabledad: boolean;
  readonly mac: string | undefined;
  readonly dns: CniDns | undefined;
}

/** Options that would change what is forwarded, and that we do not have: an attachment without them would be wrong. */
const NOT_SERVED = ['vlan', 'vlanTrunk', 'macspoofchk'] as const;

function isAsked(value: unknown): boolean {
  return value !== undefined && value !== false && value !== 0 && !(Array.isArray(value) && value.length === 0);
}

export function readBridgeConfig(request: PluginRequest): BridgeConfig {
  const { config } = request;
  const missing = NOT_SERVED.find((name) => isAsked(field(config, name)));
  if (missing !== undefined) throw invalid(`bridge: ${missing} is not served`, 'leave it out');
  const flag = (name: string): boolean => booleanField(config as JsonObject, name) ?? false;
  const read: BridgeConfig = {
    bridge: stringField(config, 'bridge') || 'cni0',
    isGateway: flag('isGateway') || flag('isDefaultGateway'),
    isDefaultGateway: flag('isDefaultGateway'),
    forceAddress: flag('forceAddress'),
    ipMasq: readIpMasq(config),
    mtu: mtuField(config),
    hairpinMode: flag('hairpinMode'),
    promiscMode: flag('promiscMode'),
    disableContainerInterface: flag('disableContainerInterface'),
    portIsolation: flag('portIsolation'),
    enabledad: flag('enabledad'),
    mac: wantedMac(request),
    dns: readDns(objectField(config, 'dns'), 'dns'),
  };
  if (read.hairpinMode && read.promiscMode) {
    throw invalid('bridge: cannot set hairpin mode and promiscuous mode at the same time');
  }
  if (read.disableContainerInterface && ipamConfig(request) !== undefined) {
    throw invalid('bridge: cannot use IPAM when disableContainerInterface is set');
  }
  return read;
}

/** The first address of an address's subnet: the gateway where IPAM names none. */
function firstAddress(address: string): string {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined) throw invalid(`bridge: not an address with a prefix length: ${address}`);
  return formatIp(addToIp(prefixOf(parsed.ip, parsed.length).ip, 1));
}

const ANYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/**
 * What IPAM gave as the pod will have it (pure): addresses belong to the third interface of the result, have a gateway
 * when the bridge is one, and with `isDefaultGateway` each family has a default route by it.
 */
export function planAddresses(
  given: CniResult,
  config: Pick<BridgeConfig, 'isGateway' | 'isDefaultGateway'>,
): { readonly ips: readonly CniIp[]; readonly routes: readonly CniRoute[]; readonly gateways: readonly string[] } {
  const routes = [...(given.routes ?? [])];
  const gateways: string[] = [];
  const ips = (given.ips ?? []).map((ip): CniIp => {
    const gateway = ip.gateway ?? (config.isGateway ? firstAddress(ip.address) : undefined);
    const anywhere = ANYWHERE[familyOf(ip.address)];
    if (
      config.isDefaultGateway &&
      gateway !== undefined &&
      !routes.some(({ dst, gw }) => dst === anywhere && gw !== undefined)
    ) {
      routes.push({ dst: anywhere, gw: gateway });
    }
    if (config.isGateway && gateway !== undefined) gateways.push(`${gateway}/${ip.address.split('/')[1]}`);
    return { ...ip, ...(gateway === undefined ? {} : { gateway }), interface: 2 };
  });
  return { ips, routes, gateways };
}
