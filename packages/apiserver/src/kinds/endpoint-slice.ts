import { parseIp } from '@weft/net';
import type { Endpoint, EndpointSlice } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { checkNonSpecialIp } from './service/validate.ts';
import { type KindRules, rules } from './strategy.ts';
import { duplicate, invalid, notSupported, required, tooMany } from './validate/errors.ts';
import { dnsLabel, dnsSubdomain, labelValue, qualifiedName } from './validate/names.ts';
import { checkEnum, checkImmutable, checkPort, checkRule, PROTOCOLS } from './validate/values.ts';

const TYPES = ['FQDN', 'IPv4', 'IPv6'];
const MAX_ENDPOINTS = 1000;
const MAX_ADDRESSES = 100;
const MAX_PORTS = 20_000;
const MAX_ZONE_HINTS = 8;

function checkAddress(field: string, address: string, type: string): FieldError[] {
  if (type === 'FQDN') {
    const name = address.replace(/\.$/, '');
    const errors = checkRule(field, name, dnsSubdomain);
    return name.includes('.') || errors.length > 0
      ? errors
      : [invalid(field, address, 'should be a domain with at least two segments separated by dots')];
  }
  const family = type === 'IPv4' ? 4 : 6;
  if (parseIp(address)?.family !== family) return [invalid(field, address, `must be an ${type} address`)];
  return checkNonSpecialIp(field, address);
}

function checkEndpoint(field: string, endpoint: Endpoint, type: string): FieldError[] {
  const { hints } = endpoint;
  const addresses = (endpoint.addresses as string[] | undefined) ?? [];
  const errors: FieldError[] = [];
  if (addresses.length === 0) errors.push(required(`${field}.addresses`, 'must contain at least 1 address'));
  else if (addresses.length > MAX_ADDRESSES) {
    errors.push(tooMany(`${field}.addresses`, addresses.length, MAX_ADDRESSES));
  }
  addresses.forEach((address, i) => {
    errors.push(...checkAddress(`${field}.addresses[${i}]`, address, type));
  });
  if (endpoint.nodeName) errors.push(...checkRule(`${field}.nodeName`, endpoint.nodeName, dnsSubdomain));
  if (endpoint.hostname) errors.push(...checkRule(`${field}.hostname`, endpoint.hostname, dnsLabel));
  if (endpoint.zone) errors.push(...checkRule(`${field}.zone`, endpoint.zone, labelValue));
  for (const [key, names] of [
    ['forZones', hints?.forZones],
    ['forNodes', hints?.forNodes],
  ] as const) {
    const at = `${field}.hints.${key}`;
    if ((names?.length ?? 0) > MAX_ZONE_HINTS) errors.push(tooMany(at, names?.length ?? 0, MAX_ZONE_HINTS));
    const seen = new Set<string>();
    names?.forEach(({ name }, i) => {
      if (seen.has(name)) errors.push(duplicate(`${at}[${i}].name`, name));
      seen.add(name);
      errors.push(...checkRule(`${at}[${i}].name`, name, key === 'forZones' ? labelValue : dnsSubdomain));
    });
  }
  return errors;
}

function checkPorts(slice: EndpointSlice): FieldError[] {
  const ports = slice.ports ?? [];
  if (ports.length > MAX_PORTS) return [tooMany('ports', ports.length, MAX_PORTS)];
  const names = new Set<string>();
  return ports.flatMap((port, i) => {
    const at = `ports[${i}]`;
    const errors: FieldError[] = [];
    const name = port.name ?? '';
    if (name !== '') errors.push(...checkRule(`${at}.name`, name, dnsLabel));
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (port.port !== undefined && port.port !== null) errors.push(...checkPort(`${at}.port`, port.port));
    errors.push(...checkEnum(`${at}.protocol`, port.protocol, PROTOCOLS));
    if (port.appProtocol) errors.push(...checkRule(`${at}.appProtocol`, port.appProtocol, qualifiedName));
    return errors;
  });
}

function validate(slice: EndpointSlice): FieldError[] {
  const type = slice.addressType;
  if (!type) return [required('addressType')];
  const endpoints = slice.endpoints ?? [];
  return [
    ...(TYPES.includes(type) ? [] : [notSupported('addressType', type, TYPES)]),
    ...(endpoints.length > MAX_ENDPOINTS
      ? [tooMany('endpoints', endpoints.length, MAX_ENDPOINTS)]
      : endpoints.flatMap((endpoint, i) => checkEndpoint(`endpoints[${i}]`, endpoint, type))),
    ...checkPorts(slice),
  ];
}

/** discovery.k8s.io/v1 EndpointSlice. */
export const endpointSliceRules: KindRules = rules<EndpointSlice>({
  hasGeneration: true,
  defaults: (slice) => {
    for (const port of slice.ports ?? []) {
      port.name ??= '';
      port.protocol ||= 'TCP';
    }
  },
  validate,
  validateUpdate: (next, old) => checkImmutable('addressType', next.addressType, old.addressType),
});
