import type { Pod, PodDNSConfig } from '@weft/kube';
import { namespaceOf } from './pod.ts';

/** The lines of a resolv.conf that matter. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** Reads resolv.conf(5): of several search lines the last holds. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let searches: string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && rest[0] !== undefined) nameservers.push(rest[0]);
    else if (word === 'search' || word === 'domain') searches = rest.map((name) => name.replace(/(?<=.)\.$/, ''));
    else if (word === 'options') options.push(...rest);
  }
  return { nameservers, searches, options };
}

export function formatResolvConf(conf: ResolvConf): string {
  const lines = [];
  if (conf.searches.length > 0) lines.push(`search ${conf.searches.join(' ')}`);
  for (const server of conf.nameservers) lines.push(`nameserver ${server}`);
  if (conf.options.length > 0) lines.push(`options ${conf.options.join(' ')}`);
  return lines.map((line) => `${line}\n`).join('');
}

/** Kubernetes' limits: what goes beyond is left out. */
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARS = 2048;

const unique = (list: readonly string[]): string[] => [...new Set(list)];

function merge(base: ResolvConf, more: PodDNSConfig | undefined): ResolvConf {
  if (more === undefined) return base;
  const options = new Map<string, string>();
  const name = (option: string): string => option.split(':')[0] as string;
  for (const option of base.options) options.set(name(option), option);
  for (const option of more.options ?? []) {
    if (option.name === undefined) continue;
    options.set(option.name, option.value ? `${option.name}:${option.value}` : option.name);
  }
  return {
    nameservers: unique([...base.nameservers, ...(more.nameservers ?? [])]),
    searches: unique([...base.searches, ...(more.searches ?? [])]),
    options: [...options.values()],
  };
}

/** Keeps to the limits; `omitted` is told of what was left out in the words of the kubelet. */
function limit(conf: ResolvConf, omitted: (message: string) => void): ResolvConf {
  const searches: string[] = [];
  let chars = 0;
  for (const search of conf.searches.slice(0, MAX_SEARCHES)) {
    chars += search.length + 1;
    if (chars - 1 > MAX_SEARCH_CHARS) break;
    searches.push(search);
  }
  const nameservers = conf.nameservers.slice(0, MAX_NAMESERVERS);
  if (searches.length < conf.searches.length)
    omitted(
      `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(' ')}`,
    );
  if (nameservers.length < conf.nameservers.length)
    omitted(
      `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${nameservers.join(' ')}`,
    );
  return { ...conf, nameservers, searches };
}

export interface ClusterDns {
  readonly servers: readonly string[];
  readonly domain: string;
}

/**
 * The resolv.conf of a pod by its dnsPolicy and dnsConfig. `node` is the node's own. `omitted` is told when limits made
 * something be left out.
 */
export function podResolvConf(
  pod: Pod,
  cluster: ClusterDns,
  node: ResolvConf,
  omitted: (message: string) => void = () => {},
): ResolvConf {
  let policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'ClusterFirst' && pod.spec.hostNetwork === true) policy = 'Default';
  if (policy === 'ClusterFirst' && cluster.servers.length === 0) policy = 'Default';
  let base: ResolvConf = { nameservers: [], searches: [], options: [] };
  if (policy === 'Default') base = node;
  else if (policy !== 'None') {
    const { domain } = cluster;
    const own = domain === '' ? [] : [`${namespaceOf(pod)}.svc.${domain}`, `svc.${domain}`, domain];
    base = { nameservers: cluster.servers, searches: unique([...own, ...node.searches]), options: ['ndots:5'] };
  }
  return limit(merge(base, pod.spec.dnsConfig), omitted);
}

/** The host name of a pod, and its fully qualified name when it has a subdomain. At most 63 characters. */
export function podHostname(pod: Pod, domain: string): { readonly host: string; readonly fqdn?: string } {
  const host = (pod.spec.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
  if (!pod.spec.subdomain) return { host };
  const fqdn = `${host}.${pod.spec.subdomain}.${namespaceOf(pod)}.svc.${domain}`;
  return { host: pod.spec.setHostnameAsFQDN === true ? fqdn : host, fqdn };
}

/** /etc/hosts of a pod: the usual names, its own, and its aliases. */
export function podHosts(pod: Pod, ips: readonly string[], domain: string, nodeHosts: string): string {
  const lines: string[] = [];
  if (pod.spec.hostNetwork === true) {
    lines.push('# Kubernetes-managed hosts file (host network).', nodeHosts.replace(/\n$/, ''));
  } else {
    lines.push(
      '# Kubernetes-managed hosts file.',
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'fe00::0\tip6-localnet',
      'fe00::0\tip6-mcastprefix',
      'fe00::1\tip6-allnodes',
      'fe00::2\tip6-allrouters',
    );
    const { host, fqdn } = podHostname(pod, domain);
    for (const ip of ips) {
      const short = fqdn === undefined ? host : (fqdn.split('.')[0] as string);
      lines.push(fqdn === undefined ? `${ip}\t${host}` : `${ip}\t${fqdn}\t${short}`);
    }
  }
  const aliases = pod.spec.hostAliases ?? [];
  if (aliases.length > 0) {
    lines.push('', '# Entries added by HostAliases.');
    for (const alias of aliases) lines.push([alias.ip, ...(alias.hostnames ?? [])].join('\t'));
  }
  return `${lines.join('\n')}\n`;
}
