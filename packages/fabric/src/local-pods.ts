import { parsePrefix } from '@weft/net';
import { isKernelError, type Route, type RtEvent, type Rtnl } from '@weft/kernel';
import { BGP_PROTOCOL, ROUTE_PROTOCOL } from './kernel/read.ts';

/** The address of a route to a single host on a link, as pods that are wired point to point have; else undefined. */
function hostOf(route: Route): string | undefined {
  const { protocol, type, via, nexthops, oif, table } = route;
  if (protocol === ROUTE_PROTOCOL || protocol === BGP_PROTOCOL) return undefined;
  if (type !== 'unicast' || via !== undefined || nexthops !== undefined || oif === undefined) return undefined;
  if (table !== undefined && table !== MAIN) return undefined;
  const prefix = parsePrefix(route.dst);
  return prefix?.length === (prefix?.ip.family === 4 ? 32 : 128) ? route.dst.replace(/\/.*$/, '') : undefined;
}

const MAIN = 254;

/** Addresses of the pods of this node, known by the routes that lead to them. */
export class LocalPods {
  readonly #rtnl: Rtnl;
  readonly #changed: () => void;
  #addresses = new Set<string>();

  constructor(rtnl: Rtnl, changed: () => void) {
    this.#rtnl = rtnl;
    this.#changed = changed;
  }

  get addresses(): readonly string[] {
    return [...this.#addresses].sort();
  }

  /** Looks at all there are: at start, and after announcements were lost. */
  async list(): Promise<void> {
    try {
      const routes = await this.#rtnl.routes.list({ table: MAIN });
      this.#addresses = new Set(routes.flatMap((route) => hostOf(route) ?? []));
      this.#changed();
    } catch (error) {
      // The namespace is being closed.
      if (!isKernelError(error, 'EBADF')) throw error;
    }
  }

  noticed({ action, route }: Extract<RtEvent, { readonly type: 'route' }>): void {
    const address = hostOf(route);
    if (address === undefined || this.#addresses.has(address) === (action === 'set')) return;
    if (action === 'set') this.#addresses.add(address);
    else this.#addresses.delete(address);
    this.#changed();
  }
}
