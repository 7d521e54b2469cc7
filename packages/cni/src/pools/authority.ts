import type { Ip } from '@weft/net';
import type { AddressRequest, Ipam, PodReference } from '../ipam/ipam.ts';
import type { RangeSet } from '../ipam/range.ts';
import type { Attachment } from '../spec/types.ts';

/** What a network of IPAM type `weft` asks for an attachment. */
export interface AddressQuestion extends Attachment {
  readonly network: string;
  readonly pod: PodReference | undefined;
  /** The pod's annotations as the runtime told them; undefined: it told none. */
  readonly annotations: Readonly<Record<string, string>> | undefined;
  /** The network's own ranges. */
  readonly ranges: readonly RangeSet[];
  /** `ipam.ipv4_pools` and `ipam.ipv6_pools` of the network. */
  readonly configured: { readonly 4?: readonly string[]; readonly 6?: readonly string[] };
  /** Addresses that the runtime asks for by name. */
  readonly exact: readonly Ip[];
}

export interface AddressAnswer {
  readonly requests: readonly AddressRequest[];
  /** MAC address that the pod asks for. */
  readonly mac: string | undefined;
  /** The pod is to keep its addresses when it is made anew. */
  readonly sticky: boolean;
}

/**
 * Decides where the addresses of pods come from. It answers from memory: no call to the API server happens in an ADD,
 * which at most waits for something that is on its way already.
 */
export interface AddressAuthority {
  /** Called once, before the first question. */
  begin(ipam: Ipam): void;
  /** Throws CniError when what is asked for cannot be had. */
  choose(question: AddressQuestion): Promise<AddressAnswer>;
  /** Waits for more addresses after those of the answer had run out. Undefined: ask again; else why there are none. */
  grow(question: AddressQuestion): Promise<string | undefined>;
  /** Why the next pod without wishes would get no address, or undefined. `ranges`: the network's own. */
  problem(ranges: readonly RangeSet[]): string | undefined;
}
