/** Objects of the API, as short as tests need them. */
interface Meta {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

export function namespace(name: string): Meta {
  return { metadata: { name } };
}

export interface ServiceSpec {
  readonly clusterIPs?: readonly string[];
  readonly ports?: readonly { name?: string; port: number; protocol?: string }[];
  readonly externalName?: string;
}

/** A Service; without `clusterIPs` it is headless, with `externalName` it is an alias. */
export function service(key: string, spec: ServiceSpec = {}): Meta & { spec: unknown } {
  const [ns, name] = key.split('/') as [string, string];
  const clusterIPs = spec.clusterIPs ?? ['None'];
  return {
    metadata: { namespace: ns, name },
    spec:
      spec.externalName === undefined
        ? { type: 'ClusterIP', clusterIP: clusterIPs[0], clusterIPs, ports: spec.ports ?? [] }
        : { type: 'ExternalName', externalName: spec.externalName, ports: spec.ports ?? [] },
  };
}

export interface EndpointSpec {
  readonly ip: string;
  readonly hostname?: string;
  readonly ready?: boolean | null;
  readonly pod?: string;
}

/** A slice `KEY-SUFFIX` of the Service `key`. */
export function slice(
  key: string,
  endpoints: readonly EndpointSpec[],
  ports: readonly { name?: string; port: number; protocol?: string }[] = [],
  options: { suffix?: string; addressType?: string } = {},
): Meta & Record<string, unknown> {
  const [ns, name] = key.split('/') as [string, string];
  return {
    metadata: {
      namespace: ns,
      name: `${name}-${options.suffix ?? 'a'}`,
      labels: { 'kubernetes.io/service-name': name },
    } as Meta['metadata'],
    addressType: options.addressType ?? 'IPv4',
    ports,
    endpoints: endpoints.map(({ ip, hostname, ready, pod }) => ({
      addresses: [ip],
      conditions: ready === null ? {} : { ready: ready ?? true },
      ...(hostname === undefined ? {} : { hostname }),
      ...(pod === undefined ? {} : { targetRef: { kind: 'Pod', name: pod, namespace: ns } }),
    })),
  };
}

export function pod(key: string, ip: string): Meta & { status: unknown } {
  const [ns, name] = key.split('/') as [string, string];
  return { metadata: { namespace: ns, name }, status: { podIP: ip } };
}
