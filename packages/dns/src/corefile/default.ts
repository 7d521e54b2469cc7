export interface DefaultCorefileOptions {
  /** Cluster zone. Default `cluster.local`. */
  readonly zone?: string;
  /** Upstreams: addresses or a file like resolv.conf. Default `/etc/resolv.conf`. */
  readonly upstream?: string | readonly string[];
  /** Seconds. Default 30. */
  readonly ttl?: number;
  /** Port to serve on. Default 53. */
  readonly port?: number;
  /** Addresses to listen on instead of all. */
  readonly bind?: readonly string[];
  /** Address of `/health`, of `/ready` and of `/metrics`; null leaves the plugin out. */
  readonly health?: string | null;
  readonly ready?: string | null;
  readonly metrics?: string | null;
  /** Seconds to keep answering after the order to stop. Default 5. */
  readonly lameduck?: number;
  /** Lines for the `kubernetes` block, for example `endpoint unix:///run/api.sock`. */
  readonly kubernetes?: readonly string[];
  /** Look for loops through upstreams. Default true. */
  readonly loop?: boolean;
}

/** The Corefile that kubeadm writes, with these values filled in. */
export function defaultCorefile(options: DefaultCorefileOptions = {}): string {
  const zone = options.zone ?? 'cluster.local';
  const upstream = [options.upstream ?? '/etc/resolv.conf'].flat().join(' ');
  const lameduck = options.lameduck ?? 5;
  const lines = [
    ...(options.bind === undefined ? [] : [`bind ${options.bind.join(' ')}`]),
    'errors',
    ...(options.health === null
      ? []
      : [
          `health ${options.health ?? ''}`.trimEnd() + (lameduck > 0 ? ` {\n        lameduck ${lameduck}s\n    }` : ''),
        ]),
    ...(options.ready === null ? [] : [`ready ${options.ready ?? ''}`.trimEnd()]),
    `kubernetes ${zone} in-addr.arpa ip6.arpa {`,
    ...(options.kubernetes ?? []).map((line) => `    ${line}`),
    '    pods insecure',
    '    fallthrough in-addr.arpa ip6.arpa',
    `    ttl ${options.ttl ?? 30}`,
    '}',
    ...(options.metrics === null ? [] : [`prometheus ${options.metrics ?? ':9153'}`]),
    `forward . ${upstream} {`,
    '    max_concurrent 1000',
    '}',
    'cache 30 {',
    `    disable success ${zone}`,
    `    disable denial ${zone}`,
    '}',
    ...(options.loop === false ? [] : ['loop']),
    'reload',
    'loadbalance',
  ];
  return `.:${options.port ?? 53} {\n${lines.map((line) => `    ${line}`).join('\n')}\n}\n`;
}

/** What CoreDNS serves without a Corefile. */
export const EMPTY_COREFILE = '.:53 {\n    whoami\n    log\n}\n';
