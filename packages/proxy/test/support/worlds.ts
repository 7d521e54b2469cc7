import type { EndpointSlice, Service } from '@weft/kube';
import fc from 'fast-check';

export const NODE = 'n1';

export interface EndpointInit {
  readonly address: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly nodeName?: string;
  readonly zones?: string[];
  readonly nodes?: string[];
}

/** A Service with sensible defaults; `spec` overrides. */
export function service(name: string, spec: Partial<Service['spec']>, status?: Service['status']): Service {
  return {
    metadata: { name, namespace: 'default' },
    spec: { type: 'ClusterIP', ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

export function slice(
  name: string,
  serviceName: string,
  endpoints: readonly EndpointInit[],
  ports: EndpointSlice['ports'] = [{ name: 'http', port: 8080, protocol: 'TCP' }],
): EndpointSlice {
  return {
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: endpoints[0]?.address.includes(':') === true ? 'IPv6' : 'IPv4',
    ports,
    endpoints: endpoints.map((e) => ({
      addresses: [e.address],
      conditions: {
        ready: e.ready ?? true,
        ...(e.serving === undefined ? {} : { serving: e.serving }),
        ...(e.terminating === undefined ? {} : { terminating: e.terminating }),
      },
      ...(e.nodeName === undefined ? {} : { nodeName: e.nodeName }),
      ...(e.zones === undefined && e.nodes === undefined
        ? {}
        : {
            hints: {
              ...(e.zones === undefined ? {} : { forZones: e.zones.map((zone) => ({ name: zone })) }),
              ...(e.nodes === undefined ? {} : { forNodes: e.nodes.map((node) => ({ name: node })) }),
            },
          }),
    })),
  };
}

/** One event of a watch: an object of that name is now so, or gone. */
export type Event =
  | { readonly kind: 'service'; readonly name: string; readonly object: Service | undefined }
  | { readonly kind: 'slice'; readonly name: string; readonly object: EndpointSlice | undefined };

const NAMES = ['a', 'b', 'c', 'd'] as const;

function address(i: number): string {
  return `10.244.${i % 2}.${10 + i}`;
}

const endpoint: fc.Arbitrary<EndpointInit> = fc.record({
  address: fc.integer({ min: 0, max: 11 }).map(address),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  nodeName: fc.constantFrom(NODE, 'n2', 'n3'),
});

function serviceArbitrary(name: string): fc.Arbitrary<Service> {
  const index = NAMES.indexOf(name as (typeof NAMES)[number]);
  return fc
    .record({
      two: fc.boolean(),
      type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer' as const),
      etp: fc.constantFrom('Cluster', 'Local' as const),
      itp: fc.constantFrom('Cluster', 'Cluster', 'Local' as const),
      affinity: fc.constantFrom(0, 0, 10, 600),
      // Two Services may want the same external address.
      externalIP: fc.option(fc.constantFrom('192.0.2.1', '192.0.2.2'), { nil: undefined }),
      balancer: fc.option(fc.constantFrom('198.51.100.1', '198.51.100.2'), { nil: undefined }),
      ranges: fc.constantFrom<string[]>([], ['203.0.113.0/24'], ['203.0.113.0/24', '10.0.0.0/8']),
    })
    .map((x) => ({
      metadata: { name, namespace: 'default' },
      spec: {
        type: x.type as 'ClusterIP',
        clusterIP: `10.96.0.${index + 1}`,
        clusterIPs: [`10.96.0.${index + 1}`],
        ports: [
          {
            name: 'http',
            port: 80,
            protocol: 'TCP' as const,
            ...(x.type === 'ClusterIP' ? {} : { nodePort: 30080 + index }),
          },
          ...(x.two ? [{ name: 'dns', port: 53, protocol: 'UDP' as const }] : []),
        ],
        externalTrafficPolicy: x.etp as 'Cluster',
        internalTrafficPolicy: x.itp as 'Cluster',
        ...(x.affinity > 0
          ? {
              sessionAffinity: 'ClientIP' as const,
              sessionAffinityConfig: { clientIP: { timeoutSeconds: x.affinity } },
            }
          : {}),
        ...(x.externalIP === undefined ? {} : { externalIPs: [x.externalIP] }),
        loadBalancerSourceRanges: x.ranges,
      },
      status: {
        loadBalancer: x.type === 'LoadBalancer' && x.balancer !== undefined ? { ingress: [{ ip: x.balancer }] } : {},
      },
    }));
}

const sliceArbitrary = (name: string, of: string): fc.Arbitrary<EndpointSlice> =>
  fc.array(endpoint, { maxLength: 6 }).map((list) =>
    slice(name, of, list, [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'dns', port: 5353, protocol: 'UDP' },
    ]),
  );

/** Histories of a small cluster in which everything that can change changes. */
export const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    fc.constantFrom(...NAMES).chain((name) =>
      fc.option(serviceArbitrary(name), { nil: undefined, freq: 4 }).map((object) => ({
        kind: 'service' as const,
        name,
        object,
      })),
    ),
    fc.constantFrom(...NAMES).chain((of) =>
      fc.constantFrom('1', '2').chain((n) =>
        fc.option(sliceArbitrary(`${of}-${n}`, of), { nil: undefined, freq: 5 }).map((object) => ({
          kind: 'slice' as const,
          name: `${of}-${n}`,
          object,
        })),
      ),
    ),
  ),
  { maxLength: 30 },
);
