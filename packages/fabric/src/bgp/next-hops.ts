import { parseIp, type Prefix, prefixContains } from '@weft/net';
import { isKernelError, type Rtnl } from '@weft/kernel';

/**
 * Gateways of next hops. Most are neighbours; one that is not is looked up in the kernel's own table, and routes by it
 * lead to the router that leads to it (RFC 4271 §5.1.3: recursive resolution).
 */
export class NextHops {
  readonly #rtnl: Rtnl;
  readonly #changed: () => void;
  readonly #gateways = new Map<string, string | undefined>();
  readonly #asked = new Set<string>();

  constructor(rtnl: Rtnl, changed: () => void) {
    this.#rtnl = rtnl;
    this.#changed = changed;
  }

  /** The address on this link to send to; undefined when there is none, or not yet. */
  gateway(hop: string, subnets: readonly Prefix[]): string | undefined {
    const ip = parseIp(hop);
    if (ip === undefined) return undefined;
    if (subnets.some((subnet) => prefixContains(subnet, ip))) return hop;
    if (!this.#asked.has(hop)) {
      this.#asked.add(hop);
      void this.#ask(hop);
    }
    return this.#gateways.get(hop);
  }

  /** Addresses or routes have changed: everything is looked up again. */
  forget(): void {
    this.#asked.clear();
    this.#gateways.clear();
  }

  async #ask(hop: string): Promise<void> {
    try {
      const route = await this.#rtnl.routes.lookup({ to: hop });
      this.#gateways.set(hop, route.via ?? (route.oif === undefined ? undefined : hop));
    } catch (error) {
      // Unreachable, or the socket is closed: there is no gateway either way.
      if (!isKernelError(error)) return;
      this.#gateways.set(hop, undefined);
    }
    this.#changed();
  }
}
