import { formatIp } from '@weft/net';
import { get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { addressOf, af, afOf, familyOf, ipBytesOf } from './bytes.ts';
import type { Address, AddressSpec, Scope } from './types.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, FLAGS: 8 } as const;
const IFA_F_NODAD = 0x02;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_NOPREFIXROUTE = 0x200;

export const SCOPES: Record<Scope, number> = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 };

export function scopeName(value: number): Scope {
  return (Object.keys(SCOPES) as Scope[]).find((name) => SCOPES[name] === value) ?? 'global';
}

/** Body of RTM_NEWADDR / RTM_DELADDR. */
export function encodeAddress(w: NlWriter, a: AddressSpec): void {
  const { ip, length } = addressOf(a.address, 'interface address');
  const family = afOf(ip.bytes);
  const loopback = ip.family === 4 && ip.bytes[0] === 127;
  w.put8(family, length, 0, SCOPES[a.scope ?? (loopback ? 'host' : 'global')]);
  w.put32(a.index);
  w.data(IFA.LOCAL, ip.bytes);
  w.data(IFA.ADDRESS, a.peer === undefined ? ip.bytes : ipBytesOf(a.peer, 'peer address'));
  if (a.broadcast !== undefined) w.data(IFA.BROADCAST, ipBytesOf(a.broadcast, 'broadcast address'));
  if (a.label !== undefined) w.str(IFA.LABEL, a.label);
  const flags = (a.noDad === true ? IFA_F_NODAD : 0) | (a.noPrefixRoute === true ? IFA_F_NOPREFIXROUTE : 0);
  if (flags !== 0) w.u32(IFA.FLAGS, flags);
}

/** Body of RTM_GETADDR that lists addresses. */
export function encodeAddressDump(w: NlWriter, filter: { readonly index?: number; readonly family?: 4 | 6 }): void {
  w.put8(af(filter.family));
  w.put32(filter.index ?? 0);
}

export function decodeAddress(m: NlMessage): Address {
  const b = m.bytes;
  const family = familyOf(b[m.start] as number);
  const length = b[m.start + 1] as number;
  let flags = b[m.start + 2] as number;
  let local: Uint8Array | undefined;
  let address: Uint8Array | undefined;
  let broadcast: string | undefined;
  let label: string | undefined;
  const a = new NlReader(b, m.start + 8, m.end);
  while (a.next()) {
    switch (a.type) {
      case IFA.LOCAL:
        local = a.data();
        break;
      case IFA.ADDRESS:
        address = a.data();
        break;
      case IFA.BROADCAST:
        broadcast = formatIp(a.data());
        break;
      case IFA.LABEL:
        label = a.str();
        break;
      case IFA.FLAGS:
        flags = a.u32();
        break;
      default:
    }
  }
  const own = local ?? address ?? new Uint8Array(family === 4 ? 4 : 16);
  const text = formatIp(own);
  const peer = local !== undefined && address !== undefined ? formatIp(address) : text;
  return {
    index: get32(b, m.start + 4),
    address: `${text}/${length}`,
    family,
    scope: scopeName(b[m.start + 3] as number),
    flags,
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
    ...(peer === text ? {} : { peer }),
    ...(broadcast === undefined ? {} : { broadcast }),
    ...(label === undefined ? {} : { label }),
    ...((flags & IFA_F_NODAD) === 0 ? {} : { noDad: true }),
    ...((flags & IFA_F_NOPREFIXROUTE) === 0 ? {} : { noPrefixRoute: true }),
  };
}
