import { parseIp } from '@weft/net';
import type { NodeLocalOptions } from './options.ts';

/** What a Corefile is written from, besides its template. */
export interface CorefileInputs {
  readonly options: Pick<NodeLocalOptions, 'localIps' | 'upstreamService' | 'port'>;
  /** Variables of the process: Kubernetes puts addresses of Services there. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `stubDomains` of the ConfigMap kube-dns: a JSON object of domain → addresses. */
  readonly stubDomains?: string | undefined;
  /** `upstreamNameservers` of the ConfigMap kube-dns: a JSON list of addresses. */
  readonly upstreamNameservers?: string | undefined;
}

/** A Corefile, and what of the inputs was left out because it is wrong. */
export interface RenderedCorefile {
  readonly text: string;
  readonly problems: readonly string[];
}

/** `kube-dns` → `KUBE_DNS_SERVICE_HOST`. */
function serviceVariable(service: string): string {
  return `${service.toUpperCase().replaceAll('-', '_')}_SERVICE_HOST`;
}

function json(what: string, text: string | undefined, problems: string[]): unknown {
  if (text === undefined || text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    problems.push(`ConfigMap kube-dns, ${what}: ${(error as Error).message}`);
    return undefined;
  }
}

/** Host of `1.2.3.4`, `1.2.3.4:53` or `[::1]:53`, or a name. Anything with blanks or braces would end up as Corefile. */
const isServer = (value: unknown): value is string => typeof value === 'string' && /^[\w.:[\]%-]+$/.test(value);

/**
 * Fills in node-cache's template (kubernetes/dns): `__PILLAR__LOCAL__DNS__` is the first local address,
 * `__PILLAR__DNS__SERVER__` the others (cluster DNS, as pods know it), `__PILLAR__CLUSTER__DNS__` the address of the upstream Service, `__PILLAR__UPSTREAM__SERVERS__` the servers
 * for all other names; a block for every stub domain follows. Variables that cannot be known stay as they are.
 */
export function renderCorefile(template: string, inputs: CorefileInputs): RenderedCorefile {
  const problems: string[] = [];
  const { options, env } = inputs;
  const servers = json('upstreamNameservers', inputs.upstreamNameservers, problems);
  const upstreams = Array.isArray(servers) ? servers.filter(isServer) : [];
  if (servers !== undefined && (!Array.isArray(servers) || upstreams.length !== servers.length))
    problems.push('ConfigMap kube-dns, upstreamNameservers: not a list of addresses');
  const variable = serviceVariable(options.upstreamService);
  const cluster = env[variable];
  const values: Record<string, string> = {
    __PILLAR__LOCAL__DNS__: options.localIps[0] ?? '',
    __PILLAR__DNS__SERVER__: options.localIps.slice(1).join(' '),
    __PILLAR__UPSTREAM__SERVERS__: upstreams.length > 0 ? upstreams.join(' ') : '/etc/resolv.conf',
  };
  if (cluster !== undefined && parseIp(cluster) !== undefined) values['__PILLAR__CLUSTER__DNS__'] = cluster;
  else if (template.includes('__PILLAR__CLUSTER__DNS__'))
    problems.push(`-upstreamsvc ${options.upstreamService}: the environment has no ${variable}`);
  let text = template;
  for (const [name, value] of Object.entries(values)) text = text.replaceAll(name, value);
  const domains = json('stubDomains', inputs.stubDomains, problems);
  if (domains !== undefined && (typeof domains !== 'object' || domains === null || Array.isArray(domains))) {
    problems.push('ConfigMap kube-dns, stubDomains: not an object of lists');
  } else {
    for (const [domain, list] of Object.entries(domains ?? {})) {
      const hosts: unknown[] = Array.isArray(list) ? list : [];
      if (!/^[\w.-]+$/.test(domain) || hosts.length === 0 || !hosts.every(isServer)) {
        problems.push(`ConfigMap kube-dns, stubDomains: ${domain} has no list of addresses`);
        continue;
      }
      text += stubBlock(domain, hosts, options);
    }
  }
  return { text, problems };
}

function stubBlock(domain: string, servers: readonly string[], options: CorefileInputs['options']): string {
  return `${domain}:${options.port} {
    errors
    cache 30
    bind ${options.localIps.join(' ')}
    forward . ${servers.join(' ')}
}
`;
}
