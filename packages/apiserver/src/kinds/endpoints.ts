import type { EndpointAddress, Endpoints, EndpointsPort } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { checkNonSpecialIp } from './service/validate.ts';
import { type KindRules, rules } from './strategy.ts';
import { required } from './validate/errors.ts';
import { dnsLabel, qualifiedName } from './validate/names.ts';
import { checkEnum, checkIp, checkPort, checkRule, PROTOCOLS } from './validate/values.ts';

function checkAddress(field: string, address: EndpointAddress): FieldError[] {
  const bad = checkIp(`${field}.ip`, address.ip ?? '');
  return [
    ...(bad.length > 0 ? bad : checkNonSpecialIp(`${field}.ip`, address.ip)),
    ...(address.hostname ? checkRule(`${field}.hostname`, address.hostname, dnsLabel) : []),
  ];
}

function checkEndpointsPort(field: string, port: EndpointsPort, needsName: boolean): FieldError[] {
  return [
    ...(port.name ? checkRule(`${field}.name`, port.name, dnsLabel) : needsName ? [required(`${field}.name`)] : []),
    ...checkPort(`${field}.port`, port.port ?? 0),
    ...checkEnum(`${field}.protocol`, port.protocol, PROTOCOLS),
    ...(port.appProtocol ? checkRule(`${field}.appProtocol`, port.appProtocol, qualifiedName) : []),
  ];
}

function validate(endpoints: Endpoints): FieldError[] {
  return (endpoints.subsets ?? []).flatMap((subset, i) => {
    const at = `subsets[${i}]`;
    const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
    return [
      ...(addresses.length + notReadyAddresses.length === 0
        ? [required(at, 'must specify `addresses` or `notReadyAddresses`')]
        : []),
      ...addresses.flatMap((a, j) => checkAddress(`${at}.addresses[${j}]`, a)),
      ...notReadyAddresses.flatMap((a, j) => checkAddress(`${at}.notReadyAddresses[${j}]`, a)),
      ...ports.flatMap((p, j) => checkEndpointsPort(`${at}.ports[${j}]`, p, ports.length > 1)),
    ];
  });
}

/** core/v1 Endpoints. */
export const endpointsRules: KindRules = rules<Endpoints>({
  defaults: (endpoints) => {
    for (const subset of endpoints.subsets ?? []) for (const port of subset.ports ?? []) port.protocol ||= 'TCP';
  },
  validate,
});
