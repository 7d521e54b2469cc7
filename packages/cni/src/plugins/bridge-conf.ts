import { booleanField, objectsField, stringField } from '../spec/json.ts';
import type { PluginRequest } from '../spec/types.ts';
import { intField, invalid, mtuField, wantedMac } from './common/conf.ts';
import { ipamConfig } from './common/ipam.ts';
import { readIpMasq } from './common/masquerade.ts';

const MAX_VLAN = 4094;

interface VlanRange {
  readonly id: number;
  readonly last: number;
}

/** Configuration of the bridge plugin, as the reference documents it. */
export interface BridgeConf {
  readonly bridge: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly ipMasq: boolean;
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** 0: none. */
  readonly vlan: number;
  readonly vlanTrunk: readonly VlanRange[];
  readonly preserveDefaultVlan: boolean;
  readonly macspoofchk: boolean;
  readonly enabledad: boolean;
  readonly disableContainerInterface: boolean;
  readonly portIsolation: boolean;
  readonly mac: string | undefined;
}

export function readBridgeConf(request: PluginRequest): BridgeConf {
  const { config } = request;
  const flag = (name: string): boolean => booleanField(config, name) === true;
  const conf: BridgeConf = {
    bridge: stringField(config, 'bridge') || 'cni0',
    isDefaultGateway: flag('isDefaultGateway'),
    isGateway: flag('isGateway') || flag('isDefaultGateway'),
    forceAddress: flag('forceAddress'),
    ipMasq: readIpMasq(config),
    mtu: mtuField(config),
    hairpinMode: flag('hairpinMode'),
    promiscMode: flag('promiscMode'),
    vlan: intField(config, 'vlan', { min: 0, max: MAX_VLAN }) ?? 0,
    vlanTrunk: readTrunk(request),
    preserveDefaultVlan: booleanField(config, 'preserveDefaultVlan') ?? true,
    macspoofchk: flag('macspoofchk'),
    enabledad: flag('enabledad'),
    disableContainerInterface: flag('disableContainerInterface'),
    portIsolation: flag('portIsolation'),
    mac: wantedMac(request),
  };
  if (conf.hairpinMode && conf.promiscMode) {
    throw invalid('cannot set hairpin mode and promiscuous mode at the same time.');
  }
  if (conf.disableContainerInterface && ipamConfig(request) !== undefined) {
    throw invalid('cannot use IPAM when DisableContainerInterface flag is set');
  }
  return conf;
}

function readTrunk(request: PluginRequest): VlanRange[] {
  const limits = { min: 0, max: MAX_VLAN };
  return (objectsField(request.config, 'vlanTrunk') ?? []).flatMap(({ value, path }): VlanRange[] => {
    const min = intField(value, 'minID', limits, `${path}.minID`);
    const max = intField(value, 'maxID', limits, `${path}.maxID`);
    const id = intField(value, 'id', limits, `${path}.id`);
    if ((min === undefined) !== (max === undefined)) throw invalid(`${path}: minID and maxID go together`);
    if (min !== undefined && max !== undefined && min > max)
      throw invalid(`${path}: minID ${min} is above maxID ${max}`);
    const out: VlanRange[] = [];
    if (min !== undefined && max !== undefined) out.push({ id: min, last: max });
    if (id !== undefined) out.push({ id, last: id });
    if (out.length === 0) throw invalid(`${path}: neither id nor minID and maxID`);
    return out;
  });
}
