import { addressResources, isStatus, type KubeClient, type KubeObject, resources, type ResourceType } from '@weft/kube';
import { parseIp } from '@weft/net';
import { WeftError } from '@weft/plan';
import { AddressModel } from '../ip/model.ts';
import { createOutput, table } from '../output.ts';
import { clientOf, type Where } from './proxy.ts';

export interface IpOptions extends Where {
  readonly output?: string;
}

async function all<T extends KubeObject>(client: KubeClient, type: ResourceType<T>): Promise<readonly T[]> {
  try {
    return (await client.list(type, undefined)).items;
  } catch (error) {
    // A cluster without pools does not have their kinds.
    if (isStatus(error, 'NotFound')) return [];
    throw error;
  }
}

async function modelOf(options: IpOptions): Promise<AddressModel> {
  const client = await clientOf(options);
  try {
    const r = addressResources;
    const [nodes, pods, services, pools, pools3, reservations, reservations3, blocks, loans, sticky] =
      await Promise.all([
        all(client, resources.nodes),
        all(client, resources.pods),
        all(client, resources.services),
        all(client, r.ippools),
        all(client, r.ippoolsV3),
        all(client, r.ipreservations),
        all(client, r.ipreservationsV3),
        all(client, r.ipamblocks),
        all(client, r.addressloans),
        all(client, r.stickyaddresses),
      ]);
    return new AddressModel({
      nodes,
      pods,
      services,
      pools: [...pools, ...pools3],
      reservations: [...reservations, ...reservations3],
      blocks,
      loans,
      sticky,
    });
  } finally {
    client.close();
  }
}

/** Shows where addresses come from and how full that is. */
export async function ipPools(options: IpOptions): Promise<void> {
  const out = createOutput(options.output);
  const rows = (await modelOf(options)).pools();
  out.result(rows);
  const cells = rows.map((r) => [
    r.name,
    r.cidr,
    r.blocks ?? '-',
    `${r.used}/${r.total}`,
    `${r.percent}%`,
    r.natOutgoing === undefined ? '-' : String(r.natOutgoing),
    r.use,
  ]);
  for (const line of table(['POOL', 'CIDR', 'BLOCKS', 'USED', '%', 'NAT', 'USE'], cells)) out.line(line);
}

/** Shows which node has which block. */
export async function ipBlocks(options: IpOptions): Promise<void> {
  const out = createOutput(options.output);
  const rows = (await modelOf(options)).blocks();
  out.result(rows);
  if (rows.length === 0) out.line('No blocks: no node has taken any from a pool.');
  else {
    const cells = rows.map((r) => [r.block, r.pool, r.node, `${r.used}/${r.total}`, String(r.free)]);
    for (const line of table(['BLOCK', 'POOL', 'NODE', 'USED', 'FREE'], cells)) out.line(line);
  }
}

/** Shows who has which address. */
export async function ipList(options: IpOptions): Promise<void> {
  const out = createOutput(options.output);
  const rows = (await modelOf(options)).addresses();
  out.result(rows);
  const cells = rows.map((r) => [r.address, r.pod ?? '<none>', r.node ?? '<none>', r.source, r.note]);
  for (const line of table(['ADDRESS', 'POD', 'NODE', 'SOURCE', 'NOTE'], cells)) out.line(line);
}

/** Tells what one address is. */
export async function ipWho(address: string, options: IpOptions): Promise<void> {
  const out = createOutput(options.output);
  const ip = parseIp(address);
  if (ip === undefined) {
    throw new WeftError({
      code: 'NOT_AN_ADDRESS',
      message: `"${address}" is not an IP address`,
      hint: 'weft ip who 10.244.1.5; weft ip list shows all that are in use',
    });
  }
  const { row, facts } = (await modelOf(options)).who(ip);
  out.result({ address, ...row, facts });
  if (facts.length === 0) out.line(`${address}: nobody's; in no pool, pod CIDR or block`);
  for (const fact of facts) out.line(`${address}: ${fact}`);
  if (row === undefined && facts.length > 0 && facts.every((f) => f.startsWith('in '))) out.line(`${address}: free`);
}
