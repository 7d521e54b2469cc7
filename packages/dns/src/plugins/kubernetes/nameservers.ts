import { concat, nameFromText } from '../../wire/index.ts';
import { type ServiceAnswers, srvData } from './compile.ts';
import { addressKey, addressOf, targetsOf } from './records.ts';

const DEFAULT_NS = nameFromText('ns.dns.').subarray(0, -1);

/** A name server of the zone and one of its addresses. */
export interface NameServer {
  readonly name: Uint8Array;
  readonly address: Uint8Array;
}

/**
 * The name servers of a zone: the Services of which one of our own addresses is an endpoint, or `ns.dns` of the zone
 * with our addresses when there is none.
 */
export function nameServers(
  services: Iterable<ServiceAnswers>,
  local: readonly Uint8Array[],
  zone: Uint8Array,
): NameServer[] {
  const own = new Set(local.map((bytes) => addressKey(bytes)));
  const out: NameServer[] = [];
  let serving = false;
  for (const answers of services) {
    const endpoints = answers.slices.flatMap((slice) => slice.endpoints);
    if (!endpoints.some(({ address }) => own.has(addressKey(addressOf(address))))) continue;
    serving = true;
    for (const { label, address } of targetsOf(answers.own)) {
      out.push({ name: srvData(answers.service, { label, port: 0 }, 0, zone).name, address });
    }
  }
  if (serving) return out;
  const name = concat([DEFAULT_NS, zone]);
  return local.map((address) => ({ name, address }));
}
