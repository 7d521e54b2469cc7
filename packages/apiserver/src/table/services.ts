import type { Endpoints, EndpointSlice, Service } from '@weft/kube';
import { age, labelsText, name, orNone, part, printer, shortList, wide } from './printer.ts';

function externalIp(service: Service): string {
  const { type, externalIPs = [], externalName = '' } = service.spec;
  switch (type) {
    case 'ExternalName':
      return externalName;
    case 'LoadBalancer': {
      const given = (service.status?.loadBalancer?.ingress ?? []).map((i) => i.ip || i.hostname || '').filter(Boolean);
      return [...new Set(given), ...externalIPs].join(',') || '<pending>';
    }
    case 'ClusterIP':
    case 'NodePort':
      return orNone(externalIPs.join(','));
    default:
      return '<unknown>';
  }
}

const portsText = (service: Service): string =>
  (service.spec.ports ?? [])
    .map((p) => `${p.port}${p.nodePort ? `:${p.nodePort}` : ''}/${p.protocol ?? 'TCP'}`)
    .join(',');

export const services = printer<Service>(
  name,
  part('Type', (s) => s.spec.type ?? '', {}, 'How the Service is exposed'),
  part('Cluster-IP', (s) => orNone(s.spec.clusterIPs?.[0] ?? s.spec.clusterIP), {}, 'Virtual address in the cluster'),
  part('External-IP', externalIp, {}, 'Addresses outside the cluster'),
  part('Port(s)', (s) => orNone(portsText(s)), {}, 'Service port, node port and protocol'),
  age,
  part('Selector', (s) => labelsText(s.spec.selector), wide, 'Labels of the pods behind the Service'),
);

const hostPort = (ip: string, port: number): string => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);

function endpointsText(endpoints: Endpoints): string {
  const subsets = endpoints.subsets ?? [];
  if (subsets.length === 0) return '<none>';
  const all = subsets.flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map((a) => a.ip)
      : ports.flatMap((port) => addresses.map((a) => hostPort(a.ip, port.port))),
  );
  return shortList(all);
}

export const endpoints = printer<Endpoints>(
  name,
  part('Endpoints', endpointsText, {}, 'Addresses and ports that are ready'),
  age,
);

const slicePorts = (slice: EndpointSlice): string =>
  shortList((slice.ports ?? []).map((p) => String(p.port ?? p.name ?? '*'))) || '<unset>';

export const endpointSlices = printer<EndpointSlice>(
  name,
  part('AddressType', (s) => s.addressType, {}, 'Family of all addresses of the slice'),
  part('Ports', slicePorts, {}, 'Ports that every endpoint of the slice offers'),
  part(
    'Endpoints',
    (s) => shortList((s.endpoints ?? []).flatMap((e) => e.addresses ?? [])) || '<unset>',
    {},
    'Addresses of the endpoints',
  ),
  age,
);
