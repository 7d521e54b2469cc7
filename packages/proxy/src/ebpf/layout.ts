import type { Family } from '@weft/net';

/**
 * What user space and the programs agree on. All numbers are in the machine's order but for addresses and ports, which are
 * bytes as packets have them.
 */

/** Key of a frontend: address (4 or 16 bytes), port (2), and two zeros. */
export const SERVICE_KEY: Readonly<Record<Family, number>> = { 4: 8, 6: 20 };

/** Value of a frontend: its endpoints are `count` elements of the backends from `first` on. */
export const SERVICE = { first: 0, count: 4, size: 8 } as const;

/** An endpoint: address, port, and one byte that tells whether a client may be the endpoint itself. */
export const BACKEND: Readonly<
  Record<Family, { readonly port: number; readonly hairpin: number; readonly size: number }>
> = {
  4: { port: 4, hairpin: 6, size: 8 },
  6: { port: 16, hairpin: 18, size: 20 },
};

/**
 * Beside a socket: where its program meant to connect, and where it was led. Addresses are of IPv6, those of IPv4 in mapped
 * form (RFC 4291, 2.5.5.2); ports are words of a socket address.
 */
export const ORIGIN = { address: 0, port: 16, backend: 20, backendPort: 36, size: 40 } as const;
