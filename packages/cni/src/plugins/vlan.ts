import { stringField } from '../spec/json.ts';
import type { PluginRequest } from '../spec/types.ts';
import { intField, invalid, mtuField } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { findMaster, masterStatus } from './common/master.ts';
import { addRenamed, singleInterface } from './common/single.ts';

function readId(request: PluginRequest): number {
  if (!stringField(request.config, 'master')) {
    throw invalid('master is missing: the interface that the VLAN is on must be named');
  }
  return intField(request.config, 'vlanId', { min: 0, max: 4094 }) ?? 0;
}

/** An 802.1Q VLAN of an interface of the node. */
export const vlan = singleInterface({
  name: 'vlan',
  kind: 'vlan',
  ipam: 'required',
  async create(node, sandbox, request) {
    const [id, mtu] = [readId(request), mtuField(request.config)];
    const { link, rtnl } = await findMaster(node, sandbox, request);
    await addRenamed(rtnl, sandbox, request, {
      kind: 'vlan',
      ...(mtu === undefined ? {} : { mtu }),
      vlan: { parent: link.index, id },
    });
  },
  async check(node, sandbox, request, link) {
    const id = readId(request);
    await findMaster(node, sandbox, request);
    if (link.vlan?.id !== id) throw differs(`VLAN id of ${link.name} is ${link.vlan?.id}, not ${id}`);
  },
  status: masterStatus,
});
