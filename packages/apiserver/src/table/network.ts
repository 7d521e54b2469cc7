import type { Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR } from '@weft/kube';
import { age, name, orNone, part, printer, selectorText, shortList } from './printer.ts';

export const ingresses = printer<Ingress>(
  name,
  part('Class', (i) => orNone(i.spec.ingressClassName), {}, 'IngressClass that serves it'),
  part(
    'Hosts',
    (i) => shortList((i.spec.rules ?? []).map((r) => r.host ?? '').filter(Boolean)) || '*',
    {},
    'Hosts the rules name; * for any',
  ),
  part(
    'Address',
    (i) => (i.status?.loadBalancer?.ingress ?? []).map((a) => a.ip || a.hostname || '').join(','),
    {},
    'Addresses it is reached at',
  ),
  part('Ports', (i) => ((i.spec.tls ?? []).length > 0 ? '80, 443' : '80'), {}, 'Ports it listens on'),
  age,
);

function parametersText(c: IngressClass): string {
  const p = c.spec?.parameters;
  if (!p) return '<none>';
  return `${p.kind}${p.apiGroup === undefined ? '' : `.${p.apiGroup}`}/${p.name}`;
}

export const ingressClasses = printer<IngressClass>(
  name,
  part('Controller', (c) => c.spec?.controller ?? '', {}, 'Controller that serves the class'),
  part('Parameters', parametersText, {}, 'Object with more settings'),
  age,
);

export const networkPolicies = printer<NetworkPolicy>(
  name,
  part('Pod-Selector', (p) => selectorText(p.spec?.podSelector), {}, 'Pods the policy applies to'),
  age,
);

export const serviceCidrs = printer<ServiceCIDR>(
  name,
  part('CIDRs', (c) => (c.spec?.cidrs ?? []).join(','), {}, 'Ranges cluster IPs are taken from'),
  age,
);

function parentText(address: IPAddress): string {
  const ref = address.spec?.parentRef;
  if (!ref) return '<none>';
  const resource = (ref.group ? `${ref.resource}.${ref.group}` : ref.resource).toLowerCase();
  return [resource, ...(ref.namespace ? [ref.namespace] : []), ref.name].join('/');
}

export const ipAddresses = printer<IPAddress>(name, part('ParentRef', parentText, {}, 'Object that holds it'), age);
