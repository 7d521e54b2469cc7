import type { Link, Rtnl } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import { booleanField, stringField } from '../../spec/json.ts';
import type { PluginRequest } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import { invalid, mtuField } from './conf.ts';
import type { Sandbox } from './sandbox.ts';

/** The lower interface of a macvlan, ipvlan or vlan. */
export interface Master {
  readonly link: Link;
  /** Socket of the namespace it is in: the node's, or with `linkInContainer` the sandbox's. */
  readonly rtnl: Rtnl;
}

function linkInContainer(request: PluginRequest): boolean {
  return booleanField(request.config, 'linkInContainer') === true;
}

/** The interface of the default route, IPv4 first; of several, that with the lowest metric. */
async function defaultInterface(rtnl: Rtnl): Promise<Link> {
  for (const family of [4, 6] as const) {
    const routes = (await rtnl.routes.list({ family, table: 254 })).filter(
      (r) => r.dst === 'default' && r.oif !== undefined && r.type === 'unicast',
    );
    const [best] = routes.sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
    const link = best?.oif === undefined ? undefined : await rtnl.links.get(best.oif);
    if (link !== undefined) return link;
  }
  throw invalid('master is missing, and no default route tells which interface it could be');
}

/**
 * The interface that `master` names, by default that of the default route. Refuses an `mtu` above the master's own.
 * `fallback` is a name that comes before the default route.
 */
export async function findMaster(
  node: NodeNetwork,
  sandbox: Sandbox,
  request: PluginRequest,
  fallback?: string,
): Promise<Master> {
  const inside = linkInContainer(request);
  const { rtnl } = inside ? sandbox : node;
  const name = stringField(request.config, 'master') || fallback;
  const link = name === undefined ? await defaultInterface(rtnl) : await rtnl.links.get(name);
  if (link === undefined) {
    throw invalid(`master: there is no interface ${name} ${inside ? 'in the sandbox' : 'on the node'}`);
  }
  const mtu = mtuField(request.config);
  if (mtu !== undefined && mtu > link.mtu) {
    throw invalid(`mtu: ${mtu} is above that of the master ${link.name} (${link.mtu})`);
  }
  return { link, rtnl };
}

/** STATUS: a master on the node that is named must be there. */
export async function masterStatus(node: NodeNetwork, request: PluginRequest): Promise<void> {
  const name = stringField(request.config, 'master');
  if (!name || linkInContainer(request) || (await node.rtnl.links.get(name)) !== undefined) return;
  throw new CniError(CniCode.unavailable, `master: there is no interface ${name} on the node`);
}
