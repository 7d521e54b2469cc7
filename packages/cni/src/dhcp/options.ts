import { objectsField, type JsonObject, booleanField, field, stringField } from '../spec/json.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { OPTION } from './packet.ts';

/** Option names of dhcp-options(5) that the reference plugin knows; others go by number. */
const NAMES: Readonly<Record<string, number>> = {
  'dhcp-client-identifier': OPTION.CLIENT_ID,
  'subnet-mask': OPTION.SUBNET_MASK,
  routers: OPTION.ROUTER,
  'host-name': OPTION.HOST_NAME,
  'user-class': OPTION.USER_CLASS,
  'vendor-class-identifier': OPTION.VENDOR_CLASS,
};
const REQUESTED = [OPTION.ROUTER, OPTION.SUBNET_MASK] as const;

function optionCode(value: unknown, path: string): number {
  const text = typeof value === 'number' ? String(value) : value;
  const known = typeof text === 'string' && Object.hasOwn(NAMES, text) ? NAMES[text] : undefined;
  if (known !== undefined) return known;
  const code = typeof text === 'string' && /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (code <= 255) return code;
  throw new CniError(CniCode.invalidConfig, `${path}: not a DHCP option: ${JSON.stringify(value)}`);
}

/** The options that a client of this configuration sends with every message. Pure. */
export function clientOptions(ipam: JsonObject, args: ReadonlyMap<string, string>): ReadonlyMap<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (const { value, path } of objectsField(ipam, 'provide', 'ipam.provide') ?? []) {
    const code = optionCode(field(value, 'option'), `${path}.option`);
    const fromArg = stringField(value, 'fromArg', `${path}.fromArg`);
    const literal = stringField(value, 'value', `${path}.value`);
    const text = (fromArg === undefined ? undefined : args.get(fromArg)) ?? (literal || undefined);
    if (text === undefined) continue;
    const bytes = Buffer.from(text);
    if (bytes.length > 255) throw new CniError(CniCode.invalidConfig, `${path}: longer than 255 bytes`);
    options.set(code, Uint8Array.from(bytes));
  }
  const asked = new Set<number>();
  let defaults = true;
  for (const { value, path } of objectsField(ipam, 'request', 'ipam.request') ?? []) {
    if (booleanField(value, 'skipDefault', `${path}.skipDefault`) === true) defaults = false;
    const option = field(value, 'option');
    if (option !== undefined && option !== '') asked.add(optionCode(option, `${path}.option`));
  }
  if (defaults) for (const code of REQUESTED) asked.add(code);
  if (asked.size > 0) options.set(OPTION.PARAMETER_LIST, Uint8Array.from(asked));
  return options;
}

/** The client identifier of an attachment: type 0, and the reference plugin's text (RFC 2132 §9.14). */
export function clientId(containerId: string, network: string, ifname: string): Uint8Array {
  return Uint8Array.of(0, ...Buffer.from(`${containerId}/${network}/${ifname}`).subarray(0, 254));
}
