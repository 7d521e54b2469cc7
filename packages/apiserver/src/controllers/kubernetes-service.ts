import { addressAt, formatIp, parseIp, parsePrefix } from '@weft/net';
import { WeftError } from '@weft/plan';
import type { Env } from '../registry/context.ts';
import { builtin, ensure, ensureFields } from './objects.ts';

const NAME = 'kubernetes';
/** Key of the Service, its Endpoints and its EndpointSlice. */
export const KUBERNETES_KEY = `default/${NAME}`;

/** The first address of a Service CIDR, which the Service `kubernetes` gets. */
export function serviceAddress(cidr: string): string {
  const prefix = parsePrefix(cidr);
  if (prefix === undefined) {
    throw new WeftError({ code: 'SERVICE_CIDR_INVALID', message: `the Service CIDR "${cidr}" is not a CIDR` });
  }
  return formatIp(addressAt(prefix, 1));
}

/** Keeps the Service `kubernetes` and its one endpoint, where pods find the API server. */
export function ensureKubernetesService(
  env: Env,
  where: { serviceCidrs: readonly string[]; address: string | undefined; port: number },
): void {
  const primary = where.serviceCidrs[0];
  if (primary === undefined) return;
  const labels = { component: 'apiserver', provider: NAME };
  const metadata = { name: NAME, namespace: 'default', labels };
  ensure(env, builtin(env, '', 'v1', 'services'), {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      type: 'ClusterIP',
      clusterIP: serviceAddress(primary),
      clusterIPs: [serviceAddress(primary)],
      ipFamilyPolicy: 'SingleStack',
      sessionAffinity: 'None',
      ports: [{ name: 'https', protocol: 'TCP', port: 443, targetPort: where.port }],
    },
  });
  if (where.address === undefined) return;
  const ports = [{ name: 'https', port: where.port, protocol: 'TCP' }];
  // The mirroring controller leaves Endpoints with this label alone.
  const own = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
  ensureFields(env, builtin(env, '', 'v1', 'endpoints'), {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: NAME, namespace: 'default', labels: own },
    subsets: [{ addresses: [{ ip: where.address }], ports }],
  });
  ensureFields(env, builtin(env, 'discovery.k8s.io', 'v1', 'endpointslices'), {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: NAME, namespace: 'default', labels: { 'kubernetes.io/service-name': NAME } },
    addressType: parseIp(where.address)?.family === 6 ? 'IPv6' : 'IPv4',
    endpoints: [{ addresses: [where.address], conditions: { ready: true } }],
    ports,
  });
}
