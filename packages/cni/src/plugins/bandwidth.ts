import { createHash } from 'node:crypto';
import { type Link, type Qdisc, type Rtnl, Tc, ticksOfBytes } from '@weft/kernel';
import { formatPrefix, parsePrefix, type Prefix } from '@weft/net';
import { field, isObject, type JsonObject, numberField, stringsField } from '../spec/json.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { invalid, requirePrev, runtimeConfig } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { inSandbox } from './common/sandbox.ts';
import type { MakePlugin } from './registry.ts';
import { CLASS, HTB_LIMIT, shape, type Rate, type Shaping } from './shaping.ts';

/** IFNAMSIZ less its terminator; names are those of the reference, so that it and we can take down each other's. */
const IFB_NAME_LENGTH = 15;
/** Text on our ifb devices that says whose they are. */
const IFB_ALIAS = 'weft-bandwidth ';

interface Wanted {
  /** Towards the pod. */
  readonly ingress: Rate | undefined;
  /** From the pod. */
  readonly egress: Rate | undefined;
  readonly subnets: Pick<Shaping, 'only' | 'except'>;
}

function readRate(object: JsonObject, name: 'ingress' | 'egress', path: string): Rate | undefined {
  const [bits, burst] = [`${name}Rate`, `${name}Burst`].map((key) => {
    const value = numberField(object, key, `${path}${key}`) ?? 0;
    if (value < 0) throw invalid(`${path}${key}: ${value} is negative`);
    return value;
  }) as [number, number];
  if (bits === 0 && burst === 0) return undefined;
  if (burst === 0) throw invalid(`${path}${name}Rate: if rate is set, burst must also be set`);
  if (bits === 0) throw invalid(`${path}${name}Burst: if burst is set, rate must also be set`);
  if (burst / 8 >= 0xffffffff) throw invalid(`${path}${name}Burst: burst cannot be more than 4GB`);
  if (bits < 8) throw invalid(`${path}${name}Rate: ${bits} bits a second are less than a byte`);
  return { bytesPerSecond: Math.floor(bits / 8), burst: Math.max(Math.floor(burst / 8), 1) };
}

function readSubnets(object: JsonObject, name: string): readonly Prefix[] {
  return (stringsField(object, name) ?? []).map((text, i) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw invalid(`${name}[${i}]: not a subnet: ${JSON.stringify(text)}`);
    return prefix;
  });
}

/** The configuration's own limits, and when it has none, those of capability `bandwidth`. */
function read(request: PluginRequest): Wanted {
  const { config } = request;
  const keys = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst', 'shapedSubnets', 'unshapedSubnets'];
  const asked = runtimeConfig(config, 'bandwidth');
  const own = keys.some((key) => field(config, key) !== undefined);
  const [source, path] = !own && isObject(asked) ? [asked, 'runtimeConfig.bandwidth.'] : [config, ''];
  const only = readSubnets(source, 'shapedSubnets');
  const except = readSubnets(source, 'unshapedSubnets');
  if (only.length > 0 && except.length > 0) {
    throw invalid('shapedSubnets and unshapedSubnets exclude each other: give one of them');
  }
  return {
    ingress: readRate(source, 'ingress', path),
    egress: readRate(source, 'egress', path),
    subnets: { only, except },
  };
}

function ifbName(network: string, containerId: string): string {
  const digest = createHash('sha512')
    .update(network + containerId)
    .digest('hex');
  return `bwp${digest}`.slice(0, IFB_NAME_LENGTH);
}

/** Limits what a pod receives and sends, by token buckets on the node's end of its pair. */
class BandwidthPlugin implements Plugin {
  readonly name = 'bandwidth';
  readonly #node: NodeNetwork;

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { ingress, egress, subnets } = read(request);
    const prev = requirePrev(request);
    if (ingress === undefined && egress === undefined) return prev;
    const host = await this.#hostEnd(request, prev);
    const tc = Tc.open(this.#node.ns);
    try {
      if (ingress !== undefined) await shape(tc, host.index, { ...subnets, rate: ingress, peer: 'source' });
      if (egress === undefined) return prev;
      const ifb = await this.#addIfb(request, host);
      try {
        await tc.qdiscs.del({ index: host.index, parent: 'ingress' }, { missingOk: true });
        await tc.qdiscs.add({ index: host.index, kind: 'ingress' });
        await tc.filters.add({ index: host.index, parent: 'ffff:', kind: 'u32', classId: '1:1', redirect: ifb.index });
        await shape(tc, ifb.index, { ...subnets, rate: egress, peer: 'destination' });
      } catch (error) {
        await this.#node.rtnl.links.del(ifb.index, { missingOk: true });
        throw error;
      }
      return { ...prev, interfaces: [...(prev.interfaces ?? []), { name: ifb.name, mac: ifb.mac ?? '' }] };
    } finally {
      tc.close();
    }
  }

  async del(request: PluginRequest): Promise<void> {
    await this.#node.rtnl.links.del(ifbName(request.network, request.containerId), { missingOk: true });
  }

  async check(request: PluginRequest): Promise<void> {
    const { ingress, egress, subnets } = read(request);
    if (ingress === undefined && egress === undefined) return;
    const host = await this.#hostEnd(request, request.prevResult ?? {});
    const tc = Tc.open(this.#node.ns);
    try {
      if (ingress !== undefined) await checkShape(tc, host, { ...subnets, rate: ingress, peer: 'source' });
      if (egress === undefined) return;
      const name = ifbName(request.network, request.containerId);
      const ifb = await this.#node.rtnl.links.get(name);
      if (ifb === undefined) throw differs(`the interface ${name} is missing on the node`);
      const filters = await tc.filters.list(host.index, 'ffff:');
      if (!filters.some((f) => f.redirect === ifb.index)) throw differs(`${host.name} does not lead to ${name}`);
      await checkShape(tc, ifb, { ...subnets, rate: egress, peer: 'destination' });
    } finally {
      tc.close();
    }
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments, network } = request;
    if (validAttachments === undefined) return;
    const keep = new Set(validAttachments.map((a) => ifbName(network, a.containerId)));
    const ours = (await this.#node.rtnl.links.list({ kind: 'ifb' })).filter(
      (link) => link.alias?.startsWith(`${IFB_ALIAS}${network}/`) === true && !keep.has(link.name),
    );
    await this.#node.rtnl.links.delMany(ours.map((link) => link.index));
  }

  /** The node's end of the pair that leads to the container's interface; it must be in the result so far. */
  async #hostEnd(request: PluginRequest, prev: CniResult): Promise<Link> {
    const peer = await inSandbox(this.#node, request.netns, async ({ rtnl }) => {
      const inside = await rtnl.links.get(request.ifname);
      return inside?.kind === 'veth' ? inside.linkIndex : undefined;
    });
    if (peer === undefined) throw invalid(`bandwidth: ${request.ifname} is no end of a veth pair`);
    const host = await this.#node.rtnl.links.get(peer);
    if (host === undefined) throw invalid(`bandwidth: the other end of ${request.ifname} is not on the node`);
    if (prev.interfaces?.some((i) => i.sandbox === undefined && i.name === host.name) === true) return host;
    throw invalid(`bandwidth: prevResult does not have ${host.name}, the other end of ${request.ifname}`);
  }

  async #addIfb(request: PluginRequest, host: Link): Promise<Link> {
    const { network, containerId } = request;
    const name = ifbName(network, containerId);
    const alias = `${IFB_ALIAS}${network}/${containerId}`.slice(0, 255);
    const { rtnl } = this.#node;
    await rtnl.links.add({ name, kind: 'ifb', mtu: host.mtu, up: true, alias }, { replace: true });
    return found(rtnl, name);
  }
}

async function found(rtnl: Rtnl, name: string): Promise<Link> {
  const link = await rtnl.links.get(name);
  if (link === undefined) throw differs(`the interface ${name} was deleted at once`);
  return link;
}

async function checkShape(tc: Tc, link: Link, { rate, only, except }: Shaping): Promise<void> {
  const root = (await tc.qdiscs.list(link.index)).find((qdisc) => qdisc.parent === 'root');
  const fail = (what: string): never => {
    throw differs(`the limit of ${link.name}: ${what}`);
  };
  if (only.length + except.length === 0) {
    checkTbf(root, rate, fail);
    return;
  }
  if (root?.kind !== 'htb') fail(`its qdisc is ${root?.kind ?? 'none'}, not htb`);
  const limited = (await tc.classes.list(link.index)).find((c) => c.handle === CLASS.limited);
  if (limited?.htb?.rate !== rate.bytesPerSecond) {
    fail(`the rate is ${limited?.htb?.rate ?? 0}, not ${rate.bytesPerSecond} bytes a second`);
  }
  const filters = (await tc.filters.list(link.index, HTB_LIMIT)).length;
  const wanted = only.length + except.length;
  if (filters < wanted) fail(`${wanted - filters} of ${[...only, ...except].map(formatPrefix).join(', ')} are missing`);
}

function checkTbf(root: Qdisc | undefined, rate: Rate, fail: (what: string) => never): void {
  if (root?.tbf === undefined) return fail(`its qdisc is ${root?.kind ?? 'none'}, not tbf`);
  if (root.tbf.rate !== rate.bytesPerSecond) {
    fail(`the rate is ${root.tbf.rate}, not ${rate.bytesPerSecond} bytes a second`);
  }
  const ticks = ticksOfBytes(rate.burst, rate.bytesPerSecond);
  if (root.tbf.buffer !== ticks) fail(`the burst is ${root.tbf.burst}, not ${rate.burst} bytes`);
}

export const bandwidth: MakePlugin = ({ node }) => new BandwidthPlugin(node);
