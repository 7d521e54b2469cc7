import { endpointWidth, formatAddress, formatEndpoint, portOf, unpackList } from '../model/packed.ts';
import { frontendAddress, type ServicePort, servicePortName } from '../model/types.ts';
import type { FamilyConfig } from '../config.ts';
import { answersLocalhost, ifLocal, markOutside } from './base.ts';
import {
  endpointChain,
  EXTERNAL_SERVICES,
  LOCALHOST_ACCEPTED,
  MARK_MASQ,
  NODEPORTS,
  PROXY_FIREWALL,
  serviceChain,
  SERVICES,
} from './names.ts';

/**
 * What one service port puts into the tables: rules in the shared chains, which every restore writes again because it
 * flushes them, and chains of its own, which are written when the port has changed.
 */
export interface ServiceRules {
  /** Rules of shared chains of table `filter`, in order. */
  readonly filter: readonly string[];
  /** Rules of shared chains of table `nat`, in order. */
  readonly nat: readonly string[];
  /** Chains of its own in table `nat`. */
  readonly chains: readonly string[];
  /** Rules of these. */
  readonly rules: readonly string[];
}

/** Names of all that a service port owns, and how its rules begin. */
interface Names {
  /** `ns/name:port`. */
  readonly port: string;
  /** `tcp`, `udp` or `sctp`. */
  readonly protocol: string;
  readonly cluster: string;
  readonly local: string;
  readonly external: string;
  readonly firewall: string;
}

function namesOf(port: ServicePort): Names {
  const name = servicePortName(port);
  const of = (kind: Parameters<typeof serviceChain>[0]): string => serviceChain(kind, name, port.protocol);
  return {
    port: name,
    protocol: port.protocol.toLowerCase(),
    cluster: of('KUBE-SVC-'),
    local: of('KUBE-SVL-'),
    external: of('KUBE-EXT-'),
    firewall: of('KUBE-FW-'),
  };
}

/** `comments`: whether rules between a Service and its endpoints say whose they are; see `LARGE_CLUSTER`. */
export function compileService(port: ServicePort, config: FamilyConfig, comments: boolean): ServiceRules {
  return new Compiler(port, config, comments).compile();
}

class Compiler {
  readonly #port: ServicePort;
  readonly #config: FamilyConfig;
  readonly #comments: boolean;
  readonly #names: Names;
  readonly #cluster: readonly string[];
  readonly #local: readonly string[];
  readonly #filter: string[] = [];
  readonly #nat: string[] = [];
  readonly #chains: string[] = [];
  readonly #rules: string[] = [];

  constructor(port: ServicePort, config: FamilyConfig, comments: boolean) {
    this.#port = port;
    this.#config = config;
    this.#comments = comments;
    this.#names = namesOf(port);
    const width = endpointWidth(port.family);
    this.#cluster = unpackList(port.cluster, width);
    this.#local = unpackList(port.local, width);
  }

  compile(): ServiceRules {
    const port = this.#port;
    const externals = port.frontends.filter((f) => f.kind !== 'ClusterIP');
    const clusterIP = port.frontends.find((f) => f.kind === 'ClusterIP');
    const internal = this.#chainOf(port.internal);
    const external = this.#chainOf(port.external);
    const reachable = port.hasEndpoints && externals.length > 0;
    const guarded = reachable && port.sourceRanges.length > 0 && externals.some((f) => f.kind === 'LoadBalancerIP');
    if (clusterIP !== undefined) this.#clusterIP(clusterIP.key, internal);
    this.#externals(external !== undefined, guarded);
    if (port.healthCheckNodePort > 0) {
      this.#filter.push(
        `-A ${NODEPORTS} -m comment --comment "${this.#names.port} health check node port" -m tcp -p tcp --dport ${port.healthCheckNodePort} -j ACCEPT`,
      );
    }
    if (clusterIP !== undefined && internal !== undefined) this.#masqueradeInternal(clusterIP.key, internal);
    if (reachable) this.#externalChain(external);
    if (guarded) this.#firewallChain();
    if (this.#cluster.length > 0) this.#spread(this.#names.cluster, this.#cluster);
    if (this.#local.length > 0) this.#spread(this.#names.local, this.#local);
    for (const endpoint of new Set([...this.#cluster, ...this.#local].sort())) this.#endpoint(endpoint);
    return { filter: this.#filter, nat: this.#nat, chains: this.#chains, rules: this.#rules };
  }

  /** Where traffic of a policy goes; undefined when nobody is there to take it. */
  #chainOf(policy: 'Cluster' | 'Local'): string | undefined {
    if (policy === 'Local') return this.#local.length > 0 ? this.#names.local : undefined;
    return this.#cluster.length > 0 ? this.#names.cluster : undefined;
  }

  /** How a frontend's packets are told, in kube-proxy's order of words. */
  #match(key: string): string {
    const protocol = `-m ${this.#names.protocol} -p ${this.#names.protocol}`;
    const address = frontendAddress(key);
    return address === ''
      ? `${protocol} --dport ${portOf(key)}`
      : `${protocol} -d ${formatAddress(address)} --dport ${portOf(key)}`;
  }

  /** What becomes of traffic that nobody takes: everybody is refused, or only those who come to this node are dropped. */
  #refusal(): { comment: string; target: string } {
    return this.#port.hasEndpoints
      ? { comment: `${this.#names.port} has no local endpoints`, target: 'DROP' }
      : { comment: `${this.#names.port} has no endpoints`, target: 'REJECT' };
  }

  #clusterIP(key: string, chain: string | undefined): void {
    if (chain !== undefined) {
      this.#nat.push(
        `-A ${SERVICES} -m comment --comment "${this.#names.port} cluster IP" ${this.#match(key)} -j ${chain}`,
      );
      return;
    }
    const { comment, target } = this.#refusal();
    this.#filter.push(`-A ${SERVICES} -m comment --comment "${comment}" ${this.#match(key)} -j ${target}`);
  }

  #externals(served: boolean, guarded: boolean): void {
    const { port, external, firewall } = this.#names;
    const refusal = this.#refusal();
    for (const { kind, key } of this.#port.frontends) {
      if (kind === 'ClusterIP') continue;
      const match = this.#match(key);
      if (this.#port.hasEndpoints) {
        switch (kind) {
          case 'ExternalIP':
            this.#nat.push(`-A ${SERVICES} -m comment --comment "${port} external IP" ${match} -j ${external}`);
            break;
          case 'LoadBalancerIP':
            this.#nat.push(
              `-A ${SERVICES} -m comment --comment "${port} loadbalancer IP" ${match} -j ${guarded ? firewall : external}`,
            );
            if (guarded) {
              this.#filter.push(
                `-A ${PROXY_FIREWALL} -m comment --comment "${port} traffic not accepted by ${firewall}" ${match} -j DROP`,
              );
            }
            break;
          case 'NodePort':
            if (this.#config.counters === true && answersLocalhost(this.#config)) {
              this.#nat.push(
                `-A ${NODEPORTS} -m comment --comment ${port} -d 127.0.0.0/8 ${match} -m nfacct --nfacct-name ${LOCALHOST_ACCEPTED} -j ${external}`,
              );
            }
            this.#nat.push(`-A ${NODEPORTS} -m comment --comment ${port} ${match} -j ${external}`);
            break;
        }
      }
      if (served) continue;
      const toNode = kind === 'NodePort' ? '-m addrtype --dst-type LOCAL ' : '';
      this.#filter.push(
        `-A ${EXTERNAL_SERVICES} -m comment --comment "${refusal.comment}" ${toNode}${match} -j ${refusal.target}`,
      );
    }
  }

  #masqueradeInternal(key: string, chain: string): void {
    const head = `-A ${chain} -m comment --comment "${this.#names.port} cluster IP" ${this.#match(key)}`;
    const outside = markOutside(this.#config.detector);
    if (this.#config.masqueradeAll) this.#rules.push(`${head} -j ${MARK_MASQ}`);
    else if (outside !== undefined) this.#rules.push(`${head} ${outside}`);
  }

  #externalChain(policy: string | undefined): void {
    const { port, external, cluster } = this.#names;
    this.#chains.push(external);
    const rule = (comment: string, rest: string): void => {
      this.#rules.push(`-A ${external} -m comment --comment "${comment} ${port} external destinations" ${rest}`);
    };
    if (this.#port.external === 'Cluster') {
      rule('masquerade traffic for', `-j ${MARK_MASQ}`);
    } else if (this.#cluster.length > 0) {
      // Who is inside the cluster loses nothing by going on to other nodes.
      for (const local of ifLocal(this.#config.detector)) rule('pod traffic for', `${local} -j ${cluster}`);
      rule('masquerade LOCAL traffic for', `-m addrtype --src-type LOCAL -j ${MARK_MASQ}`);
      rule('route LOCAL traffic for', `-m addrtype --src-type LOCAL -j ${cluster}`);
    }
    if (policy !== undefined) this.#rules.push(`-A ${external} -j ${policy}`);
  }

  #firewallChain(): void {
    const { port, external, firewall } = this.#names;
    this.#chains.push(firewall);
    const own = new Set(
      this.#port.frontends.filter((f) => f.kind === 'LoadBalancerIP').map((f) => formatAddress(frontendAddress(f.key))),
    );
    const host = this.#config.family === 4 ? '/32' : '/128';
    const single = (range: string): string => (range.endsWith(host) ? range.slice(0, -host.length) : range);
    const ranges = this.#port.sourceRanges;
    // The model adds the balancer's address where a range holds the node: it comes last, as a plain address.
    const listed = ranges.filter((range) => !own.has(single(range)));
    const back = ranges.filter((range) => own.has(single(range))).map(single);
    for (const source of [...listed, ...back]) {
      this.#rules.push(`-A ${firewall} -m comment --comment "${port} loadbalancer IP" -s ${source} -j ${external}`);
    }
    this.#rules.push(
      `-A ${firewall} -m comment --comment "other traffic to ${port} will be dropped by ${PROXY_FIREWALL}"`,
    );
  }

  #sep(endpoint: string): { chain: string; text: string } {
    const text = formatEndpoint(endpoint);
    return { chain: endpointChain(this.#names.port, this.#port.protocol, text), text };
  }

  /** A Service's chain: clients it knows go where they went, others by equal chance. */
  #spread(chain: string, endpoints: readonly string[]): void {
    const { port } = this.#names;
    this.#chains.push(chain);
    const seps = endpoints.map((endpoint) => this.#sep(endpoint));
    const comment = (text: string): string => (this.#comments ? ` -m comment --comment "${port} -> ${text}"` : '');
    if (this.#port.affinitySeconds > 0) {
      for (const sep of seps) {
        this.#rules.push(
          `-A ${chain}${comment(sep.text)} -m recent --name ${sep.chain} --rcheck --seconds ${this.#port.affinitySeconds} --reap -j ${sep.chain}`,
        );
      }
    }
    seps.forEach((sep, i) => {
      const left = seps.length - i;
      const chance = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
      this.#rules.push(`-A ${chain}${comment(sep.text)}${chance} -j ${sep.chain}`);
    });
  }

  #endpoint(endpoint: string): void {
    const { port, protocol } = this.#names;
    const { chain, text } = this.#sep(endpoint);
    this.#chains.push(chain);
    const comment = this.#comments ? ` -m comment --comment ${port}` : '';
    this.#rules.push(`-A ${chain}${comment} -s ${formatAddress(endpoint.slice(0, -2))} -j ${MARK_MASQ}`);
    const remember = this.#port.affinitySeconds > 0 ? ` -m recent --name ${chain} --set` : '';
    this.#rules.push(`-A ${chain}${comment}${remember} -m ${protocol} -p ${protocol} -j DNAT --to-destination ${text}`);
  }
}
