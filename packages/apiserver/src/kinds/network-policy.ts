import { parsePrefix, prefixContains } from '@weft/net';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, rules } from './strategy.ts';
import { forbidden, invalid, notSupported, required } from './validate/errors.ts';
import { checkLabelSelector } from './validate/meta.ts';
import { portName } from './validate/names.ts';
import { checkCidr, checkPort, checkRule, PROTOCOLS } from './validate/values.ts';

function defaults(policy: NetworkPolicy): void {
  const spec = (policy.spec ??= {});
  spec.podSelector ??= {};
  for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
    for (const port of rule.ports ?? []) port.protocol ||= 'TCP';
  }
  // Ingress always counts; egress only when the policy speaks of it.
  if (!spec.policyTypes?.length) spec.policyTypes = spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
}

function checkPolicyPort(field: string, port: NetworkPolicyPort): FieldError[] {
  const errors: FieldError[] = [];
  if (port.protocol && !PROTOCOLS.includes(port.protocol)) {
    errors.push(notSupported(`${field}.protocol`, port.protocol, PROTOCOLS));
  }
  const { port: number, endPort } = port;
  if (typeof number === 'number') {
    errors.push(...checkPort(`${field}.port`, number));
    if (endPort !== undefined) {
      if (endPort < number) {
        errors.push(invalid(`${field}.endPort`, endPort, 'must be greater than or equal to `port`'));
      }
      errors.push(...checkPort(`${field}.endPort`, endPort));
    }
  } else if (typeof number === 'string') {
    if (endPort !== undefined) {
      errors.push(invalid(`${field}.endPort`, endPort, 'may not be specified when `port` is non-numeric'));
    }
    errors.push(...checkRule(`${field}.port`, number, portName));
  } else if (endPort !== undefined) {
    errors.push(invalid(`${field}.endPort`, endPort, 'may not be specified when `port` is not specified'));
  }
  return errors;
}

function checkPeer(field: string, peer: NetworkPolicyPeer): FieldError[] {
  const errors: FieldError[] = [];
  const parts = [peer.podSelector, peer.namespaceSelector, peer.ipBlock].filter((p) => p !== undefined && p !== null);
  errors.push(...checkLabelSelector(`${field}.podSelector`, peer.podSelector));
  errors.push(...checkLabelSelector(`${field}.namespaceSelector`, peer.namespaceSelector));
  if (peer.ipBlock) errors.push(...checkBlock(`${field}.ipBlock`, peer.ipBlock));
  if (parts.length === 0) errors.push(required(field, 'must specify a peer'));
  else if (parts.length > 1 && peer.ipBlock) {
    errors.push(forbidden(field, 'may not specify both ipBlock and another peer'));
  }
  return errors;
}

function checkBlock(field: string, { cidr, except }: NonNullable<NetworkPolicyPeer['ipBlock']>): FieldError[] {
  if (!cidr) return [required(`${field}.cidr`)];
  const errors = checkCidr(`${field}.cidr`, cidr);
  const whole = parsePrefix(cidr);
  if (whole === undefined) return errors;
  except?.forEach((text, i) => {
    const at = `${field}.except[${i}]`;
    const hole = parsePrefix(text);
    if (hole === undefined) errors.push(...checkCidr(at, text));
    else if (!prefixContains(whole, hole.ip) || hole.length <= whole.length) {
      errors.push(invalid(at, text, 'must be a strict subset of `cidr`'));
    }
  });
  return errors;
}

function validate({ spec }: NetworkPolicy): FieldError[] {
  const errors = checkLabelSelector('spec.podSelector', spec.podSelector);
  spec.ingress?.forEach((rule, i) => {
    const at = `spec.ingress[${i}]`;
    rule.ports?.forEach((port, j) => {
      errors.push(...checkPolicyPort(`${at}.ports[${j}]`, port));
    });
    rule.from?.forEach((peer, j) => {
      errors.push(...checkPeer(`${at}.from[${j}]`, peer));
    });
  });
  spec.egress?.forEach((rule, i) => {
    const at = `spec.egress[${i}]`;
    rule.ports?.forEach((port, j) => {
      errors.push(...checkPolicyPort(`${at}.ports[${j}]`, port));
    });
    rule.to?.forEach((peer, j) => {
      errors.push(...checkPeer(`${at}.to[${j}]`, peer));
    });
  });
  const types = spec.policyTypes ?? [];
  if (types.length > 2) {
    return [...errors, invalid('spec.policyTypes', types, 'may not specify more than two policyTypes')];
  }
  types.forEach((type, i) => {
    if (type !== 'Ingress' && type !== 'Egress') {
      errors.push(notSupported(`spec.policyTypes[${i}]`, type, ['Egress', 'Ingress']));
    }
  });
  return errors;
}

/** networking.k8s.io/v1 NetworkPolicy. */
export const networkPolicyRules: KindRules = rules<NetworkPolicy>({ hasGeneration: true, defaults, validate });
