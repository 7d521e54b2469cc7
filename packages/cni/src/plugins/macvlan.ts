import type { MacvlanMode } from '@weft/kernel';
import { checkKnownArgs } from '../spec/environment.ts';
import { stringField } from '../spec/json.ts';
import type { PluginRequest } from '../spec/types.ts';
import { intField, invalid, mtuField, wantedMac } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { findMaster, masterStatus } from './common/master.ts';
import { addRenamed, singleInterface } from './common/single.ts';

const MODES: readonly string[] = ['bridge', 'private', 'vepa', 'passthru'];

function readMode(request: PluginRequest): MacvlanMode {
  const mode = stringField(request.config, 'mode') || 'bridge';
  if (!MODES.includes(mode)) throw invalid(`mode: "${mode}" is none of ${MODES.join(', ')}`);
  return mode as MacvlanMode;
}

/** An interface with a MAC address of its own on an interface of the node. */
export const macvlan = singleInterface({
  name: 'macvlan',
  kind: 'macvlan',
  ipam: 'optional',
  notify: ['arp', 'ndisc'],
  async create(node, sandbox, request) {
    checkKnownArgs(request.args, ['MAC', 'IP', 'GATEWAY']);
    const mode = readMode(request);
    const bcQueueLen = intField(request.config, 'bcqueuelen', { min: 0, max: 0xffffffff }) || undefined;
    const [mtu, mac] = [mtuField(request.config), wantedMac(request)];
    const { link, rtnl } = await findMaster(node, sandbox, request);
    await addRenamed(rtnl, sandbox, request, {
      kind: 'macvlan',
      ...(mtu === undefined ? {} : { mtu }),
      ...(mac === undefined ? {} : { mac }),
      macvlan: { parent: link.index, mode, ...(bcQueueLen === undefined ? {} : { bcQueueLen }) },
    });
  },
  async check(node, sandbox, request, link) {
    await findMaster(node, sandbox, request);
    const mode = readMode(request);
    if (link.macvlan?.mode !== mode)
      throw differs(`macvlan mode of ${link.name} is ${link.macvlan?.mode}, not ${mode}`);
  },
  status: masterStatus,
});
