import { parseIp } from '@weft/net';
import type { IntOrString, Service, ServicePort } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { duplicate, forbidden, invalid, notSupported, required } from '../validate/errors.ts';
import { checkLabels } from '../validate/meta.ts';
import { dnsLabel, dnsSubdomain, portName, qualifiedName } from '../validate/names.ts';
import { checkCidr, checkEnum, checkIp, checkPort, checkRule, inRange, PROTOCOLS, same } from '../validate/values.ts';
import { isExternallyReachable, isHeadless, needsHealthCheckPort } from './shape.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const KUBELET_PORT = 10250;
const MAX_AFFINITY_SECONDS = 86_400;

/** A port number, or the name of a container port. */
export function checkPortOrName(field: string, port: IntOrString | undefined = 0): FieldError[] {
  return typeof port === 'number' ? checkPort(field, port) : checkRule(field, port, portName);
}

function checkServicePort(field: string, port: ServicePort, needsName: boolean, names: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  if (port.name) {
    errors.push(...checkRule(`${field}.name`, port.name, dnsLabel));
    if (names.has(port.name)) errors.push(duplicate(`${field}.name`, port.name));
    names.add(port.name);
  } else if (needsName) errors.push(required(`${field}.name`));
  errors.push(...checkPort(`${field}.port`, port.port ?? 0));
  errors.push(...checkEnum(`${field}.protocol`, port.protocol, PROTOCOLS));
  errors.push(...checkPortOrName(`${field}.targetPort`, port.targetPort ?? 0));
  if (port.appProtocol) errors.push(...checkRule(`${field}.appProtocol`, port.appProtocol, qualifiedName));
  return errors;
}

function checkPorts(service: Service): FieldError[] {
  const { spec } = service;
  const ports = spec.ports ?? [];
  const errors: FieldError[] = [];
  if (ports.length === 0 && !isHeadless(service) && spec.type !== 'ExternalName') errors.push(required('spec.ports'));
  const names = new Set<string>();
  ports.forEach((port, i) => {
    errors.push(...checkServicePort(`spec.ports[${i}]`, port, ports.length > 1, names));
    if (spec.type === 'LoadBalancer' && port.port === KUBELET_PORT) {
      const text = `may not expose port ${KUBELET_PORT} externally since it is used by kubelet`;
      errors.push(invalid(`spec.ports[${i}]`, port.port, text));
    }
    if (spec.type === 'ClusterIP' && port.nodePort) {
      errors.push(forbidden(`spec.ports[${i}].nodePort`, "may not be used when `type` is 'ClusterIP'"));
    }
  });
  const nodePorts = new Set<string>();
  const pairs = new Set<string>();
  ports.forEach((port, i) => {
    const node = `${port.protocol}/${port.nodePort}`;
    if (port.nodePort) {
      if (nodePorts.has(node)) errors.push(duplicate(`spec.ports[${i}].nodePort`, port.nodePort));
      nodePorts.add(node);
    }
    const pair = `${port.protocol}/${port.port}`;
    if (pairs.has(pair)) {
      errors.push(duplicate(`spec.ports[${i}]`, { port: port.port, protocol: port.protocol }));
    }
    pairs.add(pair);
  });
  return errors;
}

function checkForType(service: Service): FieldError[] {
  const { spec } = service;
  switch (spec.type) {
    case 'LoadBalancer':
    case 'NodePort':
      return isHeadless(service)
        ? [invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`)]
        : [];
    case 'ExternalName': {
      const unset = 'may not be set for ExternalName services';
      const cname = (spec.externalName ?? '').replace(/\.$/, '');
      return [
        ...(spec.clusterIPs?.length ? [forbidden('spec.clusterIPs', unset)] : []),
        ...(spec.ipFamilies?.length ? [forbidden('spec.ipFamilies', unset)] : []),
        ...(spec.ipFamilyPolicy ? [forbidden('spec.ipFamilyPolicy', unset)] : []),
        ...(cname === '' ? [required('spec.externalName')] : checkRule('spec.externalName', cname, dnsSubdomain)),
      ];
    }
    default:
      return [];
  }
}

function checkAffinity(service: Service): FieldError[] {
  const { sessionAffinity, sessionAffinityConfig: config } = service.spec;
  const errors = checkEnum('spec.sessionAffinity', sessionAffinity, ['ClientIP', 'None']);
  if (sessionAffinity === 'ClientIP') {
    const at = 'spec.sessionAffinityConfig';
    const seconds = config?.clientIP?.timeoutSeconds;
    if (seconds === undefined) errors.push(required(`${at}.clientIP.timeoutSeconds`));
    else if (!inRange(seconds, 1, MAX_AFFINITY_SECONDS)) {
      const text = `must be greater than 0 and less than ${MAX_AFFINITY_SECONDS}`;
      errors.push(invalid(`${at}.clientIP.timeoutSeconds`, seconds, text));
    }
  } else if (sessionAffinity === 'None' && config) {
    errors.push(forbidden('spec.sessionAffinityConfig', 'must not be set when session affinity is None'));
  }
  return errors;
}

function checkClusterIps(service: Service): FieldError[] {
  const { spec } = service;
  if (spec.type === 'ExternalName') return [];
  const errors: FieldError[] = [];
  const ips = spec.clusterIPs ?? [];
  const families = spec.ipFamilies ?? [];
  if (!spec.clusterIP && ips.length > 0) {
    errors.push(invalid('spec.clusterIPs', ips, 'must be empty when `clusterIP` is not specified'));
  } else if (spec.clusterIP && ips[0] !== spec.clusterIP) {
    errors.push(invalid('spec.clusterIPs', ips, 'first value must match `clusterIP`'));
  }
  families.forEach((family, i) => {
    errors.push(...checkEnum(`spec.ipFamilies[${i}]`, family, ['IPv4', 'IPv6']));
    if (families.indexOf(family) !== i) errors.push(duplicate(`spec.ipFamilies[${i}]`, family));
  });
  if (spec.ipFamilyPolicy !== undefined) {
    const policies = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];
    errors.push(...checkEnum('spec.ipFamilyPolicy', spec.ipFamilyPolicy, policies));
  }
  if (ips[0] === 'None') {
    if (ips.length > 1) errors.push(invalid('spec.clusterIPs', ips, "'None' must be the first and only value"));
    return errors;
  }
  const bad = ips.flatMap((ip, i) => checkIp(`spec.clusterIPs[${i}]`, ip));
  if (ips.length > 2) bad.push(invalid('spec.clusterIPs', ips, 'may only hold up to 2 values'));
  if (bad.length > 0) return [...errors, ...bad];
  const parsed = ips.map((ip) => parseIp(ip)?.family);
  if (parsed.length === 2 && parsed[0] === parsed[1]) {
    errors.push(invalid('spec.clusterIPs', ips, 'may specify no more than one IP for each IP family'));
  }
  ips.forEach((ip, i) => {
    const expected = families[i];
    if (expected !== undefined && expected !== `IPv${parsed[i]}`) {
      const text = `expected an ${expected} value as indicated by \`ipFamilies[${i}]\``;
      errors.push(invalid(`spec.clusterIPs[${i}]`, ip, text));
    }
  });
  return errors;
}

/** Addresses that must not be a Service's outside address. */
export function checkNonSpecialIp(field: string, text: string): FieldError[] {
  const ip = parseIp(text);
  if (ip === undefined) return [];
  const { bytes, family } = ip;
  const all = (from: number, value: number): boolean => bytes.slice(from).every((b) => b === value);
  const [a, b] = bytes;
  const errors: FieldError[] = [];
  const bad = (detail: string): void => {
    errors.push(invalid(field, text, detail));
  };
  if (all(0, 0)) bad('may not be unspecified (0.0.0.0 or ::)');
  if (family === 4 ? a === 127 : bytes.slice(0, 15).every((x) => x === 0) && bytes[15] === 1) {
    bad('may not be in the loopback range (127.0.0.0/8, ::1/128)');
  }
  if (family === 4 ? a === 169 && b === 254 : a === 0xfe && ((b ?? 0) & 0xc0) === 0x80) {
    bad('may not be in the link-local range (169.254.0.0/16, fe80::/10)');
  }
  if (family === 4 ? a === 224 && b === 0 && bytes[2] === 0 : a === 0xff && ((b ?? 0) & 0x0f) === 2) {
    bad('may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)');
  }
  return errors;
}

function checkPolicies(service: Service): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  const onlyLb = "may only be used when `type` is 'LoadBalancer'";
  const isLb = spec.type === 'LoadBalancer';
  (spec.externalIPs ?? []).forEach((ip, i) => {
    const at = `spec.externalIPs[${i}]`;
    const bad = checkIp(at, ip);
    errors.push(...(bad.length > 0 ? bad : checkNonSpecialIp(at, ip)));
  });
  if (spec.loadBalancerSourceRanges?.length) {
    if (!isLb) errors.push(forbidden('spec.LoadBalancerSourceRanges', onlyLb));
    spec.loadBalancerSourceRanges.forEach((cidr, i) => {
      errors.push(...checkCidr(`spec.loadBalancerSourceRanges[${i}]`, cidr.trim()));
    });
  }
  if (spec.allocateLoadBalancerNodePorts !== undefined && !isLb) {
    errors.push(forbidden('spec.allocateLoadBalancerNodePorts', onlyLb));
  }
  if (spec.loadBalancerClass !== undefined) {
    if (!isLb) errors.push(forbidden('spec.loadBalancerClass', onlyLb));
    else errors.push(...checkRule('spec.loadBalancerClass', spec.loadBalancerClass, qualifiedName));
  }
  const external = spec.externalTrafficPolicy;
  if (isExternallyReachable(service)) {
    errors.push(...checkEnum('spec.externalTrafficPolicy', external, ['Cluster', 'Local']));
  } else if (external) {
    const text = 'may only be set for externally-accessible services';
    errors.push(invalid('spec.externalTrafficPolicy', external, text));
  }
  const health = spec.healthCheckNodePort;
  if (health) {
    if (!needsHealthCheckPort(service)) {
      const text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
      errors.push(invalid('spec.healthCheckNodePort', health, text));
    } else errors.push(...checkPort('spec.healthCheckNodePort', health));
  }
  if (spec.internalTrafficPolicy !== undefined) {
    errors.push(...checkEnum('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']));
  }
  const distribution = spec.trafficDistribution;
  const distributions = ['PreferClose', 'PreferSameNode', 'PreferSameZone'];
  if (distribution !== undefined && !distributions.includes(distribution)) {
    errors.push(notSupported('spec.trafficDistribution', distribution, distributions));
  }
  return errors;
}

export function validateService(service: Service): FieldError[] {
  return [
    ...checkForType(service),
    ...checkPorts(service),
    ...checkLabels('spec.selector', service.spec.selector),
    ...checkAffinity(service),
    ...checkClusterIps(service),
    ...checkEnum('spec.type', service.spec.type, TYPES),
    ...checkPolicies(service),
  ];
}

/** Primary entries never change; the second one may be added, or given up by going to SingleStack. */
function checkListChange(next: Service, old: Service, key: 'clusterIPs' | 'ipFamilies', what: string): FieldError[] {
  const before: readonly string[] = old.spec[key] ?? [];
  const after: readonly string[] = next.spec[key] ?? [];
  const errors: FieldError[] = [];
  if (before.length === 0) return errors;
  const compare = Math.min(before.length, after.length);
  for (let i = 0; i < compare; i++) {
    if (before[i] !== after[i]) errors.push(invalid(`spec.${key}[${i}]`, after[i], 'may not change once set'));
  }
  if (after.length === 0) errors.push(invalid(`spec.${key}[0]`, after, 'primary value can not be unset'));
  else if (before.length > after.length && next.spec.ipFamilyPolicy !== 'SingleStack') {
    const text = `must be set to 'SingleStack' when releasing the secondary ${what}`;
    errors.push(invalid('spec.ipFamilyPolicy', next.spec.ipFamilyPolicy, text));
  }
  return errors;
}

export function validateServiceUpdate(next: Service, old: Service): FieldError[] {
  const errors: FieldError[] = [];
  if (next.spec.type !== 'ExternalName' && old.spec.type !== 'ExternalName') {
    errors.push(...checkListChange(next, old, 'clusterIPs', 'clusterIP'));
    // Headless Services without selector may list families in any order.
    errors.push(...checkListChange(next, old, 'ipFamilies', 'ipFamily'));
  }
  if (next.spec.type === 'LoadBalancer' && old.spec.type === 'LoadBalancer') {
    if (!same(next.spec.loadBalancerClass, old.spec.loadBalancerClass)) {
      const text = 'may not change once set';
      errors.push(invalid('spec.loadBalancerClass', next.spec.loadBalancerClass, text));
    }
    const port = next.spec.healthCheckNodePort;
    if (needsHealthCheckPort(next) && needsHealthCheckPort(old) && port !== old.spec.healthCheckNodePort) {
      errors.push(forbidden('spec.healthCheckNodePort', 'field is immutable'));
    }
  }
  return errors;
}
