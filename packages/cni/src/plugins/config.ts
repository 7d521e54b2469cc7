import { createHash } from 'node:crypto';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, numberField, objectField, stringField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { Attachment, CniDns, PluginRequest } from '../spec/types.ts';
import { wantedIps, wantedMac } from './common/conf.ts';

/** How pods reach their node. */
export type WiringMode = 'ptp' | 'bridge';

/** Configuration of the `weft` plugin. */
export interface WeftConfig {
  readonly mode: WiringMode;
  /** Bytes; both ends of the veth pair. */
  readonly mtu: number;
  /** Name of the bridge in mode `bridge`. */
  readonly bridge: string;
  readonly ipam: JsonObject;
  readonly dns: CniDns | undefined;
  /** MAC address asked for the pod's interface. */
  readonly mac: string | undefined;
  /** Addresses asked for. */
  readonly ips: readonly string[];
}

export function readWeftConfig(request: PluginRequest): WeftConfig {
  const { config } = request;
  const mode = stringField(config, 'mode') ?? 'ptp';
  if (mode !== 'ptp' && mode !== 'bridge') {
    throw new CniError(CniCode.invalidConfig, `mode: "${mode}" is unknown; use "ptp" or "bridge"`);
  }
  const mtu = numberField(config, 'mtu') || 1500;
  if (!Number.isInteger(mtu) || mtu < 576 || mtu > 65535) {
    throw new CniError(CniCode.invalidConfig, `mtu: ${mtu} is not between 576 and 65535`);
  }
  return {
    mode,
    mtu,
    bridge: stringField(config, 'bridge') || 'cni0',
    ipam: readIpam(config),
    dns: readDns(objectField(config, 'dns'), 'dns'),
    mac: wantedMac(request),
    ips: wantedIps(request),
  };
}

function readIpam(config: JsonObject): JsonObject {
  const ipam = field(config, 'ipam');
  if (isObject(ipam) && stringField(ipam, 'type', 'ipam.type')) return ipam;
  throw new CniError(
    CniCode.invalidConfig,
    'ipam.type is missing: where do pod addresses come from?',
    '"host-local" gives them from `ranges`',
  );
}

function digest(attachment: Attachment, salt: string): Buffer {
  return createHash('sha256').update(`${attachment.containerId}/${attachment.ifname}${salt}`).digest();
}

/** Name of the node's end of an attachment's veth pair: the same at every call, and short enough for the kernel. */
export function hostLinkName(attachment: Attachment): string {
  return `veth${digest(attachment, '').toString('hex', 0, 4)}`;
}

/** Locally administered MAC address of the pod's end, the same at every call. */
export function podMac(attachment: Attachment): string {
  const bytes = digest(attachment, '#mac').subarray(0, 6);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02;
  return bytes.toString('hex').replace(/(..)(?=.)/g, '$1:');
}
