import { CorefileError, type Position } from '../corefile/error.ts';
import { type Address, formatAddress } from '../corefile/zones.ts';

/**
 * Zones by the address they are served at. A zone may be served once at an address, and not both at all addresses and at
 * one of them; blocks with a view share theirs with others.
 */
export class Places {
  /** Hosts by zone and port. */
  readonly #taken = new Map<string, string[]>();

  /** @throws CorefileError when another block has the place. */
  take(address: Address, host: string, view: boolean, position: Position): void {
    const place = formatAddress(address);
    const hosts = this.#taken.get(place) ?? [];
    const on = (at: string): string => (at === '' ? place : `${place} on ${at}`);
    if (hosts.includes(host)) {
      if (view) return;
      throw new CorefileError(position, `cannot serve ${on(host)} - it is already defined`, 'name the zone once');
    }
    const other = hosts.find((taken) => taken === '' || host === '');
    if (other !== undefined) {
      throw new CorefileError(
        position,
        `cannot serve ${on(host)} - zone overlap listener capacity with ${on(other)}`,
        'give each of the blocks addresses of its own with bind',
      );
    }
    if (!view) this.#taken.set(place, [...hosts, host]);
  }
}
