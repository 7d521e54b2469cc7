/** What service links need of a Service. */
export interface LinkedService {
  readonly name: string;
  readonly namespace: string;
  readonly clusterIP: string;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
}

/** Beyond this many bytes service links are left out: the kernel would refuse to start any program. */
const MAX_BYTES = 512 * 1024;

const upper = (name: string): string => name.toUpperCase().replaceAll('-', '_');

/** The variables of one Service, in the forms of Kubernetes and of Docker's container links. */
export function serviceEnv(service: LinkedService): [string, string][] {
  const name = upper(service.name);
  const first = service.ports[0];
  if (first === undefined) return [];
  const out: [string, string][] = [
    [`${name}_SERVICE_HOST`, service.clusterIP],
    [`${name}_SERVICE_PORT`, String(first.port)],
  ];
  for (const port of service.ports) {
    if (port.name) out.push([`${name}_SERVICE_PORT_${upper(port.name)}`, String(port.port)]);
  }
  const host = service.clusterIP.includes(':') ? `[${service.clusterIP}]` : service.clusterIP;
  for (const [i, port] of service.ports.entries()) {
    const protocol = port.protocol ?? 'TCP';
    const url = `${protocol.toLowerCase()}://${host}:${port.port}`;
    if (i === 0) out.push([`${name}_PORT`, url]);
    const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
    out.push(
      [prefix, url],
      [`${prefix}_PROTO`, protocol.toLowerCase()],
      [`${prefix}_PORT`, String(port.port)],
      [`${prefix}_ADDR`, service.clusterIP],
    );
  }
  return out;
}

/** Service links of a pod. Undefined when there are too many of them to start a program with. */
export function serviceLinks(services: Iterable<LinkedService>): Map<string, string> | undefined {
  const out = new Map<string, string>();
  let bytes = 0;
  for (const service of services) {
    for (const [name, value] of serviceEnv(service)) {
      bytes += name.length + value.length + 2;
      if (bytes > MAX_BYTES) return undefined;
      out.set(name, value);
    }
  }
  return out;
}
