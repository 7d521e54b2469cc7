import { type NetNs, Rtnl } from '@weft/kernel';
import { type Family, parseIp } from '@weft/net';

/** Addresses nobody has (RFC 5737, RFC 3849): a route to them is the way to the world. */
const SOMEWHERE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
const IFA_F_DEPRECATED = 0x20;

/** A family's addresses of this node. */
export interface HostAddresses {
  /** The one to listen on; undefined: the node has none of this family. */
  readonly main: string | undefined;
  readonly all: readonly string[];
}

/** Looks the addresses of the node up. The main one is that by which it speaks to the world. */
export async function hostAddresses(family: Family, ns?: NetNs): Promise<HostAddresses> {
  const rt = Rtnl.open(ns);
  try {
    const found = (await rt.addresses.list()).filter((a) => a.family === family);
    const plain = (text: string): string => text.split('/')[0] ?? '';
    const all = found.map((a) => plain(a.address));
    const usable = found
      .filter((a) => !a.tentative && (a.flags & IFA_F_DEPRECATED) === 0)
      .map((a) => plain(a.address))
      .filter((a) => !isLoopbackOrLink(a));
    const source = await rt.routes.lookup({ to: SOMEWHERE[family] }).then(
      (route) => route.src,
      () => undefined,
    );
    return { main: usable.find((a) => a === source) ?? usable[0], all };
  } finally {
    rt.close();
  }
}

function isLoopbackOrLink(text: string): boolean {
  const bytes = parseIp(text)?.bytes;
  if (bytes === undefined) return true;
  if (bytes.length === 4) return bytes[0] === 127 || (bytes[0] === 169 && bytes[1] === 254);
  return text === '::1' || (bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80);
}
