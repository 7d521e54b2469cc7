import type { IpvlanMode } from '@weft/kernel';
import { stringField } from '../spec/json.ts';
import type { CniResult, PluginRequest } from '../spec/types.ts';
import { invalid, mtuField } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { findMaster, masterStatus } from './common/master.ts';
import { addRenamed, singleInterface } from './common/single.ts';

const MODES: readonly string[] = ['l2', 'l3', 'l3s'];

function readMode(request: PluginRequest): IpvlanMode {
  const mode = stringField(request.config, 'mode') || 'l2';
  if (!MODES.includes(mode)) throw invalid(`mode: "${mode}" is none of ${MODES.join(', ')}`);
  return mode as IpvlanMode;
}

/** In a chain, the one interface of the result so far is the master. */
function chainedMaster(request: PluginRequest): string | undefined {
  const { prevResult } = request;
  if (prevResult === undefined || request.command !== 'ADD' || stringField(request.config, 'master')) return undefined;
  const [only, ...more] = prevResult.interfaces ?? [];
  if (only !== undefined && only.name !== '' && more.length === 0) return only.name;
  throw invalid('master is missing, and prevResult does not have exactly one named interface');
}

function chained(request: PluginRequest): CniResult | undefined {
  return (request.prevResult?.ips ?? []).length === 0 ? undefined : request.prevResult;
}

/** An interface that shares the MAC address of an interface of the node. */
export const ipvlan = singleInterface({
  name: 'ipvlan',
  kind: 'ipvlan',
  ipam: 'required',
  chained,
  notify: ['arp', 'ndisc'],
  async create(node, sandbox, request) {
    const [mode, mtu] = [readMode(request), mtuField(request.config)];
    const { link, rtnl } = await findMaster(node, sandbox, request, chainedMaster(request));
    await addRenamed(rtnl, sandbox, request, {
      kind: 'ipvlan',
      ...(mtu === undefined ? {} : { mtu }),
      ipvlan: { parent: link.index, mode },
    });
  },
  async check(node, sandbox, request, link) {
    if (stringField(request.config, 'master')) await findMaster(node, sandbox, request);
    const mode = readMode(request);
    if (link.ipvlan?.mode !== mode) throw differs(`ipvlan mode of ${link.name} is ${link.ipvlan?.mode}, not ${mode}`);
  },
  status: masterStatus,
});
