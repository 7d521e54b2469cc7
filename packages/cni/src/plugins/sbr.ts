import {
  formatIp,
  formatPrefix,
  parseInterfaceAddress,
  prefixContains,
  prefixOf,
  parseIp,
  type Prefix,
} from '@weft/net';
import { isKernelError, type Route, type Rtnl, type Rule } from '@weft/kernel';
import { booleanField, stringsField } from '../spec/json.ts';
import type { CniIp, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { familyOf, intField, invalid, parseAddress, requirePrev } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { inSandbox, inSandboxIfThere } from './common/sandbox.ts';
import type { MakePlugin } from './registry.ts';

const FIRST_TABLE = 100;
const MAIN = 254;

interface SbrConf {
  /** A table that somebody else fills: only rules are made. */
  readonly table: number | undefined;
  readonly gateways: { readonly 4?: string; readonly 6?: string };
  readonly addSourceHints: boolean;
}

function read(request: PluginRequest): SbrConf {
  const { config } = request;
  const list = (stringsField(config, 'gateways') ?? []).map((text, i) => parseAddress(text, `gateways[${i}]`));
  const gateways: { 4?: string; 6?: string } = {};
  for (const gateway of list) {
    const family = familyOf(gateway);
    if (gateways[family] !== undefined) throw invalid(`gateways: more than one of IPv${family}`);
    gateways[family] = gateway;
  }
  return {
    table: intField(config, 'table', { min: 0, max: 0xffffffff }),
    gateways,
    addSourceHints: booleanField(config, 'addSourceHints') ?? false,
  };
}

interface Source {
  readonly family: 4 | 6;
  /** `10.0.0.5/32`. */
  readonly host: string;
  readonly address: string;
  readonly subnet: Prefix;
  readonly gateway: string | undefined;
}

/** Addresses of one interface; those that name no interface count. */
function sourcesOf(result: CniResult, ifname: string): readonly Source[] {
  const ips = (result.ips ?? []).filter((ip) => {
    const name = ip.interface === undefined ? undefined : result.interfaces?.[ip.interface]?.name;
    return name === undefined || name === ifname;
  });
  return ips.map(sourceOf);
}

function sourceOf({ address, gateway }: CniIp): Source {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined) throw invalid(`prevResult: not an address: ${address}`);
  const { ip, length } = parsed;
  const text = formatIp(ip);
  const bits = ip.family === 4 ? 32 : 128;
  return { family: ip.family, host: `${text}/${bits}`, address: text, subnet: prefixOf(ip, length), gateway };
}

/** Source-based routing: what leaves from an address of the interface goes by its own table. */
class SbrPlugin implements Plugin {
  readonly name = 'sbr';
  readonly #node: NodeNetwork;
  /** Tables are chosen by looking which are free, so calls for one sandbox must not overlap. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const prev = requirePrev(request);
    const conf = read(request);
    const sources = sourcesOf(prev, request.ifname);
    if ((prev.ips ?? []).length === 0) throw invalid(`sbr: prevResult has no address of ${request.ifname}`);
    await this.#inTurn(() =>
      inSandbox(this.#node, request.netns, async ({ rtnl }) => {
        if (conf.table === undefined) await addTables(rtnl, request.ifname, sources, conf);
        else for (const { host, family } of sources) await addRule(rtnl, { family, from: host, table: conf.table });
      }),
    );
    return prev;
  }

  async del(request: PluginRequest): Promise<void> {
    const { table } = read(request);
    await this.#inTurn(() =>
      inSandboxIfThere(this.#node, request.netns, async ({ rtnl }) => {
        const link = await rtnl.links.get(request.ifname);
        if (link === undefined) return;
        const held = (await rtnl.addresses.list({ index: link.index })).map((a) => sourceHost(a.address));
        for (const rule of await rtnl.rules.list()) {
          const ours =
            rule.from !== undefined && held.includes(rule.from) && (table === undefined || rule.table === table);
          if (ours) await rtnl.rules.del(rule, { missingOk: true });
        }
      }),
    );
  }

  async check(request: PluginRequest): Promise<void> {
    const { table, gateways } = read(request);
    await inSandbox(this.#node, request.netns, async ({ rtnl }) => {
      const rules = await rtnl.rules.list();
      for (const { host, family, gateway } of sourcesOf(request.prevResult ?? {}, request.ifname)) {
        const rule = rules.find((r) => r.from === host && (table === undefined || r.table === table));
        if (rule === undefined) throw differs(`there is no routing rule for source ${host} in the sandbox`);
        const via = gateways[family] ?? gateway;
        if (table !== undefined || via === undefined) continue;
        const routes = await rtnl.routes.list({ table: rule.table ?? MAIN, family });
        if (!routes.some((r) => r.dst === 'default' && r.via === via)) {
          throw differs(`table ${rule.table} of source ${host} has no default route by ${via}`);
        }
      }
    });
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
  }

  async gc(): Promise<void> {
    // Rules and tables go with their sandboxes.
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work, work);
    this.#turn = run.catch(() => {});
    return run;
  }
}

function sourceHost(address: string): string {
  return `${address.split('/')[0]}/${address.includes(':') ? 128 : 32}`;
}

async function addRule(rtnl: Rtnl, rule: Rule): Promise<void> {
  try {
    await rtnl.rules.add(rule);
  } catch (error) {
    if (!isKernelError(error, 'EEXIST')) throw error;
  }
}

/** The first table from `from` on that no rule and no route uses. */
function freeTable(used: ReadonlySet<number>, from: number): number {
  let table = from;
  while (used.has(table)) table += 1;
  return table;
}

function isLinkLocal(route: Route): boolean {
  return route.dst.startsWith('fe80:') || route.dst.startsWith('ff00:');
}

/** What belongs into the table of one source: routes by its subnet's gateways, from its subnet, or by nobody. */
function isOf({ family, subnet }: Source, route: Route): boolean {
  if (route.family !== family) return false;
  const inside = (text: string | undefined): boolean => {
    const ip = text === undefined ? undefined : parseIp(text);
    return ip !== undefined && prefixContains(subnet, ip);
  };
  return inside(route.src) || inside(route.via) || (route.src === undefined && route.via === undefined);
}

async function addTables(rtnl: Rtnl, ifname: string, sources: readonly Source[], conf: SbrConf): Promise<void> {
  const link = await rtnl.links.get(ifname);
  if (link === undefined) throw invalid(`sbr: there is no interface ${ifname} in the sandbox`);
  const oif = link.index;
  const [rules, routes] = [await rtnl.rules.list(), await rtnl.routes.list()];
  const used = new Set([...rules, ...routes].map((entry) => entry.table ?? MAIN));
  const own = routes.filter((r) => r.oif === oif && (r.table ?? MAIN) === MAIN && r.type === 'unicast');
  for (const source of sources) {
    const table = freeTable(used, FIRST_TABLE);
    used.add(table);
    const { family, host } = source;
    await addRule(rtnl, { family, from: host, table });
    const via = conf.gateways[family] ?? source.gateway;
    // The address's own gateway comes before that of the main table, which may be another's.
    const copies = own.filter((route) => isOf(source, route) && !(via !== undefined && route.dst === 'default'));
    // Gateways are reached by routes without one, so those go first.
    const ordered = copies.sort((a, b) => Number(a.via !== undefined) - Number(b.via !== undefined));
    for (const route of ordered.filter((r) => r.via === undefined)) await rtnl.routes.replace(copyOf(route, table));
    if (via !== undefined) await rtnl.routes.replace({ dst: 'default', family, via, oif, table });
    for (const route of ordered.filter((r) => r.via !== undefined)) await rtnl.routes.replace(copyOf(route, table));
  }
  await clearMain(rtnl, own, oif, sources, conf.addSourceHints);
}

/** A listed route as it can be written to another table. */
function copyOf(route: Route, table: number): Route {
  const { onlink: _, scope, ...rest } = route;
  return { ...rest, table, ...(route.family === 6 || scope === undefined ? {} : { scope }) };
}

/** Takes the interface's routes out of the main table; with hints, those to its subnets stay, with their source. */
async function clearMain(
  rtnl: Rtnl,
  own: readonly Route[],
  oif: number,
  sources: readonly Source[],
  hints: boolean,
): Promise<void> {
  const subnets = new Set(sources.map((source) => formatPrefix(source.subnet)));
  for (const route of own) {
    // Neighbours are found by link-local addresses, which have no source of their own to route by.
    if (isLinkLocal(route) || (hints && subnets.has(route.dst) && route.via === undefined)) continue;
    await rtnl.routes.del(copyOf(route, MAIN), { missingOk: true });
  }
  if (!hints) return;
  for (const { subnet, address, family } of sources) {
    const dst = formatPrefix(subnet);
    await rtnl.routes.replace({ dst, oif, src: address, family, ...(family === 4 ? { scope: 'link' } : {}) });
  }
}

export const sbr: MakePlugin = ({ node }) => new SbrPlugin(node);
