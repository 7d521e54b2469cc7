import type { Address, Link, Route, Rtnl } from '@weft/kernel';
import { setTimeout as sleep } from 'node:timers/promises';
import { CniCode, CniError } from '../spec/errors.ts';
import { stringField } from '../spec/json.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { intField, invalid, requirePrev } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { inSandbox, inSandboxIfThere } from './common/sandbox.ts';
import type { MakePlugin } from './registry.ts';

const MAIN = 254;
/** Tables with a meaning of their own: default, main and local. */
const RESERVED: ReadonlySet<number> = new Set([253, MAIN, 255]);
/** Steps of waiting for the kernel to bring an address back, milliseconds. */
const PATIENCE_MS = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

interface VrfConf {
  readonly name: string;
  /** 0: the first that is free. */
  readonly table: number;
}

function read(request: PluginRequest): VrfConf {
  const name = stringField(request.config, 'vrfname');
  if (!name) throw invalid('vrfname is missing');
  return { name, table: intField(request.config, 'table', { min: 0, max: 0xffffffff }) ?? 0 };
}

/** Puts the interface of the chain so far into a VRF (a routing table of its own) of the sandbox. */
class VrfPlugin implements Plugin {
  readonly name = 'vrf';
  readonly #node: NodeNetwork;

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const prev = requirePrev(request);
    const conf = read(request);
    await inSandbox(this.#node, request.netns, async ({ rtnl }) => {
      const link = await rtnl.links.get(request.ifname);
      if (link === undefined) throw invalid(`vrf: there is no interface ${request.ifname} in the sandbox`);
      if (link.master) {
        const master = await rtnl.links.get(link.master);
        throw invalid(`vrf: interface ${request.ifname} belongs to ${master?.name ?? link.master} already`);
      }
      const { vrf, made } = await ensureVrf(rtnl, conf);
      try {
        await enslave(rtnl, link, vrf);
      } catch (error) {
        if (made) await rtnl.links.del(vrf.index, { missingOk: true });
        throw error;
      }
    });
    return prev;
  }

  async del(request: PluginRequest): Promise<void> {
    const { name } = read(request);
    await inSandboxIfThere(this.#node, request.netns, async ({ rtnl }) => {
      const vrf = await rtnl.links.get(name);
      if (vrf?.kind !== 'vrf') return;
      const ports = await rtnl.links.list({ master: vrf.index });
      const own = ports.find((port) => port.name === request.ifname);
      if (own !== undefined) await rtnl.links.set(own.index, { master: 0 });
      if (ports.every((port) => port === own)) await rtnl.links.del(vrf.index, { missingOk: true });
    });
  }

  async check(request: PluginRequest): Promise<void> {
    const { name, table } = read(request);
    await inSandbox(this.#node, request.netns, async ({ rtnl }) => {
      const vrf = await rtnl.links.get(name);
      if (vrf?.kind !== 'vrf') throw differs(`there is no VRF ${name} in the sandbox`);
      if (table !== 0 && vrf.vrf?.table !== table) {
        throw differs(`the VRF ${name} has table ${vrf.vrf?.table}, not ${table}`);
      }
      if ((await rtnl.links.get(request.ifname))?.master !== vrf.index) {
        throw differs(`interface ${request.ifname} does not belong to the VRF ${name}`);
      }
    });
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
  }

  async gc(): Promise<void> {
    // VRFs go with their sandboxes.
  }
}

async function ensureVrf(rtnl: Rtnl, conf: VrfConf): Promise<{ readonly vrf: Link; readonly made: boolean }> {
  const found = await rtnl.links.get(conf.name);
  if (found !== undefined) {
    if (found.kind !== 'vrf') throw invalid(`vrfname: ${conf.name} is an interface of kind ${found.kind ?? 'none'}`);
    if (conf.table !== 0 && found.vrf?.table !== conf.table) {
      throw invalid(`table: the VRF ${conf.name} exists with table ${found.vrf?.table}, not ${conf.table}`);
    }
    return { vrf: found, made: false };
  }
  const table = conf.table === 0 ? await freeTable(rtnl) : conf.table;
  await rtnl.links.add({ name: conf.name, kind: 'vrf', vrf: { table }, up: true });
  const vrf = await rtnl.links.get(conf.name);
  if (vrf === undefined) throw new CniError(CniCode.tryAgainLater, `the VRF ${conf.name} was deleted at once`);
  return { vrf, made: true };
}

async function freeTable(rtnl: Rtnl): Promise<number> {
  const taken = new Set((await rtnl.links.list({ kind: 'vrf' })).map((link) => link.vrf?.table));
  let table = 1;
  while (taken.has(table) || RESERVED.has(table)) table += 1;
  return table;
}

/**
 * Puts the link into the VRF. The kernel takes it down and up for that, so what goes with it, global IPv6 addresses and
 * routes, is put back, the routes in the VRF's table.
 */
async function enslave(rtnl: Rtnl, link: Link, vrf: Link): Promise<void> {
  const { index } = link;
  const table = vrf.vrf?.table ?? MAIN;
  const before = await globalAddresses(rtnl, index);
  const routes = (await rtnl.routes.list({ oif: index, table: MAIN })).filter((r) => r.protocol !== 2);
  await rtnl.links.set(index, { master: vrf.index });
  const after = new Set((await globalAddresses(rtnl, index)).map((a) => a.address));
  for (const { address } of before) {
    if (!after.has(address)) await rtnl.addresses.replace({ index, address, noDad: true });
    await localRoute(rtnl, index, table, address);
  }
  // Those with a gateway need the others to be reached by.
  const ordered = [...routes].sort((a, b) => Number(a.via !== undefined) - Number(b.via !== undefined));
  for (const route of ordered) await rtnl.routes.replace({ ...withoutDefaults(route), table });
}

async function globalAddresses(rtnl: Rtnl, index: number): Promise<readonly Address[]> {
  return (await rtnl.addresses.list({ index, family: 6 })).filter((a) => a.scope === 'global');
}

/** The kernel adds the local route of an IPv6 address by and by, and without it no route can have it as source. */
async function localRoute(rtnl: Rtnl, oif: number, table: number, address: string): Promise<void> {
  const dst = `${address.split('/')[0]}/128`;
  for (const pause of PATIENCE_MS) {
    const routes = await rtnl.routes.list({ oif, table, family: 6 });
    if (routes.some((r) => r.dst === dst)) return;
    await sleep(pause);
  }
  throw new CniError(CniCode.io, `vrf: the address ${address} did not come back in table ${table}`);
}

/** A listed route as it can be written again. */
function withoutDefaults(route: Route): Route {
  const { scope, ...rest } = route;
  return route.family === 6 || scope === undefined ? rest : route;
}

export const vrf: MakePlugin = ({ node }) => new VrfPlugin(node);
