import { formatIp, parseInterfaceAddress, parseIp } from '@weft/net';
import { CniCode, CniError } from '../../spec/errors.ts';
import { field, type JsonObject, numberField, objectField, stringsField } from '../../spec/json.ts';
import type { CniResult, PluginRequest } from '../../spec/types.ts';

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

export function invalid(message: string, details?: string): CniError {
  return new CniError(CniCode.invalidConfig, message, details);
}

/** A capability argument (`runtimeConfig.NAME`). */
export function runtimeConfig(config: JsonObject, name: string): unknown {
  const all = objectField(config, 'runtimeConfig');
  return all === undefined ? undefined : field(all, name);
}

/** `args.cni.NAME` of the configuration, as the conventions place it. */
export function cniArg(config: JsonObject, name: string): unknown {
  const args = objectField(config, 'args');
  const cni = args === undefined ? undefined : objectField(args, 'cni', 'args.cni');
  return cni === undefined ? undefined : field(cni, name);
}

/** Addresses asked for: capability `ips`, then `args.cni.ips`, then `IP` of CNI_ARGS (CNI conventions). */
export function wantedIps(request: PluginRequest): readonly string[] {
  for (const holder of [{ ips: runtimeConfig(request.config, 'ips') }, { ips: cniArg(request.config, 'ips') }]) {
    const ips = stringsField(holder, 'ips');
    if (ips !== undefined && ips.length > 0) return ips;
  }
  const text = request.args.get('IP');
  return text === undefined || text === '' ? [] : text.split(',');
}

/** A MAC address in the kernel's form. `path` names the field in errors. */
export function parseMac(value: unknown, path = 'mac'): string {
  if (typeof value === 'string' && MAC.test(value.toLowerCase())) return value.toLowerCase();
  throw invalid(`${path}: not a MAC address: ${JSON.stringify(value)}`);
}

/**
 * The MAC address asked for: capability `mac`, then `args.cni.mac`, then `MAC` of CNI_ARGS, then the configuration's
 * own `mac`.
 */
export function wantedMac(request: PluginRequest): string | undefined {
  const { config } = request;
  const candidates = [
    runtimeConfig(config, 'mac'),
    cniArg(config, 'mac'),
    request.args.get('MAC'),
    field(config, 'mac'),
  ];
  const mac = candidates.find((value) => value !== undefined && value !== '');
  return mac === undefined ? undefined : parseMac(mac);
}

/** A whole number within limits; absent stays undefined. */
export function intField(
  object: JsonObject,
  name: string,
  limits: { readonly min: number; readonly max: number },
  path: string = name,
): number | undefined {
  const value = numberField(object, name, path);
  if (value === undefined || (Number.isInteger(value) && value >= limits.min && value <= limits.max)) return value;
  throw invalid(`${path}: ${value} is not a whole number between ${limits.min} and ${limits.max}`);
}

/** `mtu` of a configuration; undefined when it is absent or 0, which means the kernel's choice. */
export function mtuField(config: JsonObject): number | undefined {
  return intField(config, 'mtu', { min: 0, max: 65_535 }) || undefined;
}

/** The result so far of a plugin that only works in a chain, on ADD. */
export function requirePrev(request: PluginRequest): CniResult {
  if (request.prevResult !== undefined) return request.prevResult;
  throw invalid(`${request.plugin} must be called as a chained plugin: prevResult is missing`);
}

/** An IP address in its usual form. */
export function parseAddress(text: string, path: string): string {
  const ip = parseIp(text);
  if (ip === undefined) throw invalid(`${path}: not an IP address: ${JSON.stringify(text)}`);
  return formatIp(ip);
}

/** An address with its prefix length, in its usual form. */
export function parseAddressWithLength(text: string, path: string): string {
  const parsed = parseInterfaceAddress(text);
  if (parsed === undefined) throw invalid(`${path}: not an address with a prefix length: ${JSON.stringify(text)}`);
  return `${formatIp(parsed.ip)}/${parsed.length}`;
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}
