import { isKernelError, type NetNs, type Route, Rtnl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniResult, CniRoute } from '../spec/types.ts';
import type { PlannedNetwork } from './plan.ts';

const ANYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

/** Who is to have the pod's default route, by family; families that nobody asks for are left as they are. */
function routeOwners(
  planned: readonly PlannedNetwork[],
): ReadonlyMap<4 | 6, { readonly index: number; readonly gateway: string }> {
  const owners = new Map<4 | 6, { index: number; gateway: string }>();
  planned.forEach((network, index) => {
    for (const gateway of network.defaultRoutes) owners.set(familyOf(gateway), { index, gateway });
  });
  return owners;
}

/** Results as they are once the default routes have been moved (pure). */
export function withDefaultRoutes(
  planned: readonly PlannedNetwork[],
  results: readonly CniResult[],
): readonly CniResult[] {
  const owners = routeOwners(planned);
  if (owners.size === 0) return results;
  return results.map((result, i) => {
    const kept = (result.routes ?? []).filter(
      (r) => r.dst !== ANYWHERE[familyOf(r.dst)] || !owners.has(familyOf(r.dst)),
    );
    const own = [...owners].flatMap(([family, owner]): CniRoute[] =>
      owner.index === i ? [{ dst: ANYWHERE[family], gw: owner.gateway }] : [],
    );
    return { ...result, routes: [...kept, ...own] };
  });
}

/** Moves the default routes of a pod to the networks that ask for them. */
export async function moveDefaultRoutes(planned: readonly PlannedNetwork[], sandbox: NetNs): Promise<void> {
  const owners = routeOwners(planned);
  if (owners.size === 0) return;
  const rtnl = Rtnl.open(sandbox);
  try {
    for (const [family, { index, gateway }] of owners) {
      const network = planned[index] as PlannedNetwork;
      const link = await rtnl.links.get(network.ifname);
      if (link === undefined) {
        throw new CniError(
          CniCode.invalidConfig,
          `${network.cause}: network ${network.name} has made no interface ${network.ifname}`,
        );
      }
      const isDefault = (route: Route): boolean => route.dst === 'default' || route.dst === ANYWHERE[family];
      const before = (await rtnl.routes.list({ family })).filter((r) => isDefault(r) && (r.table ?? 254) === 254);
      for (const route of before) await rtnl.routes.del({ ...route, family });
      try {
        await rtnl.routes.add({ dst: 'default', family, via: gateway, oif: link.index });
      } catch (error) {
        if (!isKernelError(error)) throw error;
        throw new CniError(
          CniCode.invalidConfig,
          `${network.cause}.default-route: ${gateway} cannot be reached by ${network.ifname}: ${error.message}`,
          undefined,
          error,
        );
      }
    }
  } finally {
    rtnl.close();
  }
}
