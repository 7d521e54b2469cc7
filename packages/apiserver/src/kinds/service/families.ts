import type { Service } from '@weft/kube';
import type { FamilyName } from '../../alloc/cluster-ips.ts';
import type { FieldError } from '../../contract.ts';
import { invalid } from '../validate/errors.ts';
import { isHeadless } from './shape.ts';

const other = (family: FamilyName): FamilyName => (family === 'IPv4' ? 'IPv6' : 'IPv4');
const familyOf = (ip: string): FamilyName => (ip.includes(':') ? 'IPv6' : 'IPv4');

/**
 * Fills ipFamilies and ipFamilyPolicy by the cluster's families, the first of which is the default
 * (https://kubernetes.io/docs/concepts/services-networking/dual-stack/).
 */
export function fillFamilies(service: Service, cluster: readonly FamilyName[]): FieldError[] {
  const { spec } = service;
  if (spec.type === 'ExternalName') return [];
  const first = cluster[0] ?? 'IPv4';

  if (isHeadless(service) && Object.keys(spec.selector ?? {}).length === 0) {
    // Endpoints of a Service without selector are made by hand: of any family, whatever the cluster has.
    spec.ipFamilyPolicy ??= 'RequireDualStack';
    const given = spec.ipFamilies?.[0] ?? first;
    if ((spec.ipFamilies?.length ?? 0) < 2) {
      spec.ipFamilies = spec.ipFamilyPolicy === 'SingleStack' ? [given] : [given, other(given)];
    }
    return [];
  }

  const errors: FieldError[] = [];
  const policy = spec.ipFamilyPolicy;
  if (policy === 'RequireDualStack' && cluster.length < 2) {
    errors.push(invalid('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services'));
  }
  for (const [i, family] of (spec.ipFamilies ?? []).entries()) {
    if (!cluster.includes(family)) {
      errors.push(invalid(`spec.ipFamilies[${i}]`, family, 'not configured on this cluster'));
    }
  }
  if (policy === undefined || policy === 'SingleStack') {
    const many = 'must be RequireDualStack or PreferDualStack when multiple';
    for (const [list, name] of [
      [spec.clusterIPs, 'clusterIPs'],
      [spec.ipFamilies, 'ipFamilies'],
    ] as const) {
      if ((list?.length ?? 0) > 1) {
        errors.push(invalid('spec.ipFamilyPolicy', policy, `${many} \`${name}\` are specified`));
      }
    }
  }
  if (errors.length > 0) return errors;

  const families: FamilyName[] = [...(spec.ipFamilies ?? [])];
  if (!isHeadless(service)) {
    for (const [i, ip] of (spec.clusterIPs ?? []).entries()) {
      if (i < families.length) continue;
      const family = familyOf(ip);
      if (!cluster.includes(family)) {
        const text = `may not use ${family} on a cluster which is not configured for it`;
        return [invalid(`spec.clusterIPs[${i}]`, ip, text)];
      }
      families.push(family);
    }
  }
  if (families.length === 0) families.push(first);
  spec.ipFamilyPolicy ??= 'SingleStack';
  const last = families[0] ?? first;
  if (spec.ipFamilyPolicy !== 'SingleStack' && families.length === 1 && cluster.includes(other(last))) {
    families.push(other(last));
  }
  spec.ipFamilies = families;
  return [];
}
