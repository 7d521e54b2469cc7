import {
  addressAt,
  formatIp,
  formatPrefix,
  indexIn,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixSize,
} from '@weft/net';
import { WeftError } from '@weft/plan';
import { BandedRange } from './range.ts';

export type FamilyName = 'IPv4' | 'IPv6';

/** More addresses than this are never needed, and offsets stay exact numbers. */
const MAX_SIZE = 1n << 31n;

/** Size of the static band: min(max(16, size / 16), 256), none in ranges of 16 addresses or less (KEP-3070). */
function staticBand(size: number): number {
  return size <= 16 ? 0 : Math.min(Math.max(16, Math.floor(size / 16)), 256);
}

/** Why an address was not given; `message` is Kubernetes' wording. */
export type IpRefusal = { readonly message: string };

/** The cluster IPs of one family: every address of the Service CIDR but the first and, in IPv4, the last. */
export class ClusterIpRange {
  readonly family: FamilyName;
  readonly #prefix: Prefix;
  readonly #range: BandedRange;
  readonly #usable: number;

  /** Throws WeftError `SERVICE_CIDR_INVALID`. */
  constructor(cidr: string) {
    const prefix = parsePrefix(cidr);
    if (prefix === undefined || prefixSize(prefix) < 4n) {
      throw new WeftError({
        code: 'SERVICE_CIDR_INVALID',
        message: `the Service CIDR ${cidr} is not an address range with room for cluster IPs`,
        hint: 'give one CIDR per family, such as 10.96.0.0/12',
      });
    }
    this.#prefix = prefix;
    this.family = prefix.ip.family === 4 ? 'IPv4' : 'IPv6';
    const total = prefixSize(prefix) > MAX_SIZE ? MAX_SIZE : prefixSize(prefix);
    this.#usable = Number(total) - (this.family === 'IPv4' ? 2 : 1);
    this.#range = new BandedRange(this.#usable, staticBand(Number(total)));
  }

  get free(): number {
    return this.#range.free;
  }

  /** Takes the address for `owner`, or says why not. Taking one's own again is fine. */
  take(ip: string, owner: string): IpRefusal | undefined {
    const refusal = this.#check(ip, owner);
    if (refusal === undefined) this.#range.take(this.#offset(ip) as number, owner);
    return refusal;
  }

  #check(ip: string, owner: string): IpRefusal | undefined {
    const offset = this.#offset(ip);
    if (offset === undefined) {
      const range = formatPrefix(this.#prefix);
      return { message: `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${range}` };
    }
    const holder = this.#range.ownerOf(offset);
    return holder === undefined || holder === owner ? undefined : { message: 'provided IP is already allocated' };
  }

  /** Takes any free address; undefined when there is none. */
  next(owner: string): string | undefined {
    const offset = this.#range.next(owner);
    return offset === undefined ? undefined : this.#address(offset);
  }

  release(ip: string, owner: string): void {
    const offset = this.#offset(ip);
    if (offset !== undefined) this.#range.release(offset, owner);
  }

  clear(): void {
    this.#range.clear();
  }

  #address(offset: number): string {
    return formatIp(addressAt(this.#prefix, offset + 1));
  }

  #offset(text: string): number | undefined {
    const ip: Ip | undefined = parseIp(text);
    if (ip === undefined || !prefixContains(this.#prefix, ip)) return undefined;
    const offset = indexIn(this.#prefix, ip) - 1n;
    return offset >= 0n && offset < BigInt(this.#usable) ? Number(offset) : undefined;
  }
}
