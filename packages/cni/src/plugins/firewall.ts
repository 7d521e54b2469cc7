import { formatIp, parseInterfaceAddress } from '@weft/net';
import { CniCode, CniError } from '../spec/errors.ts';
import { stringField } from '../spec/json.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { familyOf, invalid, requirePrev } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { attachmentComment, staleComment } from './common/comment.ts';
import { commentOf, Xtables } from './common/xtables.ts';
import { Firewalld } from './firewalld.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

const FORWARD = 'CNI-FORWARD';
const ADMIN = 'CNI-ADMIN';
/** Zone of firewalld that lets everything through. */
const ZONE = 'trusted';
const STAGE_1 = 'CNI-ISOLATION-STAGE-1';
const STAGE_2 = 'CNI-ISOLATION-STAGE-2';

/** `same-bridge`: only packets of the own bridge come in; `isolated`: not even those. */
type IngressPolicy = 'open' | 'same-bridge' | 'isolated';

const POLICIES: readonly string[] = ['open', 'same-bridge', 'isolated'];

interface FirewallConf {
  readonly admin: string;
  readonly policy: IngressPolicy;
  /** '': firewalld where it runs, else iptables. */
  readonly backend: '' | 'iptables' | 'firewalld';
  readonly zone: string;
}

function read(request: PluginRequest): FirewallConf {
  const { config } = request;
  const backend = stringField(config, 'backend') ?? '';
  if (backend !== '' && backend !== 'iptables' && backend !== 'firewalld') {
    throw invalid(`backend: "${backend}" is unknown; use "iptables" or "firewalld"`);
  }
  const policy = stringField(config, 'ingressPolicy') || 'open';
  if (!POLICIES.includes(policy)) throw invalid(`ingressPolicy: "${policy}" is none of ${POLICIES.join(', ')}`);
  const admin = stringField(config, 'iptablesAdminChainName') || ADMIN;
  if (!/^[A-Za-z0-9_-]{1,28}$/.test(admin)) throw invalid(`iptablesAdminChainName: "${admin}" is no name of a chain`);
  const zone = stringField(config, 'firewalldZone') || ZONE;
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(zone)) throw invalid(`firewalldZone: "${zone}" is no name of a zone`);
  return { admin, policy: policy as IngressPolicy, backend, zone };
}

/** Addresses of the result by family, without lengths. */
function hostsOf(result: CniResult): Map<4 | 6, string[]> {
  const out = new Map<4 | 6, string[]>();
  for (const { address } of result.ips ?? []) {
    const parsed = parseInterfaceAddress(address);
    if (parsed === undefined) continue;
    const family = familyOf(address);
    out.set(family, [...(out.get(family) ?? []), formatIp(parsed.ip)]);
  }
  return out;
}

/** The same as firewalld takes them. */
function sourcesOf(result: CniResult): string[] {
  return [...hostsOf(result)].flatMap(([family, hosts]) => hosts.map((host) => `${host}/${family === 4 ? 32 : 128}`));
}

/** Rules of one address. They say whose they are, so that GC and a DEL that knows nothing find them. */
function rulesOf(host: string, comment: string): string[] {
  const length = host.includes(':') ? 128 : 32;
  const says = `-m comment --comment "${comment}"`;
  return [
    `-A ${FORWARD} -d ${host}/${length} -m conntrack --ctstate RELATED,ESTABLISHED ${says} -j ACCEPT`,
    `-A ${FORWARD} -s ${host}/${length} ${says} -j ACCEPT`,
  ];
}

/** Lets forwarded packets of pods through where the node's own firewall would stop them. A chained plugin. */
class FirewallPlugin implements Plugin {
  readonly name = 'firewall';
  readonly #node: NodeNetwork;

  constructor(context: PluginContext) {
    this.#node = context.node;
  }

  /** firewalld, when the configuration leaves pods to it. */
  async #firewalld({ backend, zone }: FirewallConf): Promise<Firewalld | undefined> {
    const firewalld = new Firewalld(this.#node, zone);
    if (backend === 'firewalld' || (backend === '' && (await firewalld.running()))) return firewalld;
    return undefined;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const conf = read(request);
    const prev = requirePrev(request);
    const firewalld = await this.#firewalld(conf);
    for (const [family, hosts] of hostsOf(prev)) {
      // Isolation is by iptables whatever the backend, as in the reference.
      if (firewalld !== undefined && conf.policy === 'open') continue;
      const xtables = new Xtables(this.#node, family);
      const present = await xtables.rules();
      const apart = conf.policy === 'open' ? [] : isolation(present, bridgeOf(prev, conf.policy), conf.policy);
      await xtables.change(
        firewalld === undefined ? [...frame(present, conf), ...apart, ...this.#rules(request, present, hosts)] : apart,
      );
    }
    await firewalld?.add(sourcesOf(prev));
    return prev;
  }

  #rules(request: PluginRequest, present: readonly string[], hosts: readonly string[]): string[] {
    const comment = attachmentComment(request.network, request);
    // What a call that was cut short has left comes first.
    const old = present.filter((rule) => rule.startsWith(`-A ${FORWARD} `) && commentOf(rule) === comment);
    return [...old.map((rule) => rule.replace(/^-A /, '-D ')), ...hosts.flatMap((host) => rulesOf(host, comment))];
  }

  async del(request: PluginRequest): Promise<void> {
    const comment = attachmentComment(request.network, request);
    const backend = stringField(request.config, 'backend') ?? '';
    const zone = stringField(request.config, 'firewalldZone') || ZONE;
    const firewalld = new Firewalld(this.#node, zone);
    if (backend === 'firewalld' || (backend === '' && (await firewalld.running()))) {
      await firewalld.remove(sourcesOf(request.prevResult ?? {}));
    }
    // firewalld may have come after ADD.
    if (backend !== 'firewalld') await this.#remove((other) => other === comment);
  }

  async check(request: PluginRequest): Promise<void> {
    const conf = read(request);
    const result = request.prevResult ?? {};
    const firewalld = await this.#firewalld(conf);
    await firewalld?.check(sourcesOf(result));
    for (const [family, hosts] of hostsOf(result)) {
      if (firewalld !== undefined && conf.policy === 'open') continue;
      const present = await new Xtables(this.#node, family).rules();
      if (firewalld === undefined && frame(present, conf).length > 0)
        throw differs(`chain ${FORWARD} or ${conf.admin} of IPv${family} is missing`);
      if (conf.policy !== 'open') {
        const [lacks] = isolation(present, bridgeOf(result, conf.policy), conf.policy);
        if (lacks !== undefined) throw differs(`ingressPolicy ${conf.policy}: iptables of IPv${family} lacks ${lacks}`);
      }
      if (firewalld !== undefined) continue;
      const comment = attachmentComment(request.network, request);
      for (const host of hosts) {
        const mine = present.filter((rule) => rule.includes(` ${host}/`) && commentOf(rule) === comment);
        if (mine.length < 2) throw differs(`${host} is not let through by ${FORWARD}`);
      }
    }
  }

  async status(request: PluginRequest): Promise<void> {
    const conf = read(request);
    const firewalld = new Firewalld(this.#node, conf.zone);
    if (conf.backend !== 'firewalld') await new Xtables(this.#node, 4).rules();
    else if (!(await firewalld.running()))
      throw new CniError(CniCode.unavailable, 'firewalld does not run on this node');
  }

  async gc(request: PluginRequest): Promise<void> {
    const stale = staleComment(request);
    // Sources of firewalld do not say whose they are: they go by DEL alone.
    const own = stringField(request.config, 'backend') !== 'firewalld';
    if (stale !== undefined && own) await this.#remove(stale);
  }

  async #remove(which: (comment: string) => boolean): Promise<void> {
    for (const family of [4, 6] as const) {
      const xtables = new Xtables(this.#node, family);
      const gone = (await xtables.rules()).filter((rule) => {
        const comment = rule.startsWith(`-A ${FORWARD} `) ? commentOf(rule) : undefined;
        return comment !== undefined && which(comment);
      });
      await xtables.change(gone.map((rule) => rule.replace(/^-A /, '-D ')));
    }
  }
}

/** What is missing of the chains that all networks share, in the reference plugin's form. */
function frame(present: readonly string[], { admin }: FirewallConf): string[] {
  const lines: string[] = [];
  for (const chain of [FORWARD, admin]) if (!present.includes(`-N ${chain}`)) lines.push(`:${chain} - [0:0]`);
  if (!present.some((rule) => rule.startsWith('-A FORWARD ') && rule.endsWith(` -j ${FORWARD}`))) {
    lines.push(`-I FORWARD -m comment --comment "CNI firewall plugin rules" -j ${FORWARD}`);
  }
  if (!present.some((rule) => rule.startsWith(`-A ${FORWARD} `) && rule.endsWith(` -j ${admin}`))) {
    lines.push(`-I ${FORWARD} -m comment --comment "CNI firewall plugin admin overrides" -j ${admin}`);
  }
  return lines;
}

/** What is missing of the rules that keep packets of one bridge from another. They stay: they are about bridges. */
function isolation(present: readonly string[], bridge: string, policy: IngressPolicy): string[] {
  const lines: string[] = [];
  for (const chain of [STAGE_1, STAGE_2]) if (!present.includes(`-N ${chain}`)) lines.push(`:${chain} - [0:0]`);
  const has = (rule: string): boolean => present.includes(rule);
  if (!present.some((rule) => rule.startsWith('-A FORWARD ') && rule.endsWith(` -j ${STAGE_1}`))) {
    lines.push(
      `-I FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j ${STAGE_1}`,
    );
  }
  const says = `-m comment --comment "CNI firewall plugin rules (ingressPolicy: ${policy})"`;
  if (!present.some((rule) => rule.startsWith(`-A ${STAGE_1} -i ${bridge} ! -o `))) {
    lines.push(`-I ${STAGE_1} -i ${bridge} ! -o ${bridge} ${says} -j ${STAGE_2}`);
  }
  if (policy === 'isolated' && !present.some((rule) => rule.startsWith(`-A ${STAGE_1} -i ${bridge} -o ${bridge} `))) {
    lines.push(`-I ${STAGE_1} -i ${bridge} -o ${bridge} ${says} -j DROP`);
  }
  if (!present.some((rule) => rule.startsWith(`-A ${STAGE_2} -o ${bridge} `))) {
    lines.push(`-I ${STAGE_2} -o ${bridge} ${says} -j DROP`);
  }
  for (const chain of [STAGE_1, STAGE_2]) if (!has(`-A ${chain} -j RETURN`)) lines.push(`-A ${chain} -j RETURN`);
  return lines;
}

function bridgeOf(result: CniResult, policy: IngressPolicy): string {
  const first = result.interfaces?.[0];
  if (first !== undefined && first.sandbox === undefined) return first.name;
  throw invalid(`ingressPolicy: "${policy}" needs a bridge: prevResult names none`);
}

export const firewall: MakePlugin = (context) => new FirewallPlugin(context);
