import { ipBytes, parseIp } from '@weft/net';
import { concat, type NameKey, nameFromText, type Rr, rdata, record, TYPE } from '../../wire/index.ts';
import type { NameAnswers } from './compile.ts';

const NS = nameFromText('ns.dns.').subarray(0, -1);
const HOSTMASTER = nameFromText('hostmaster.').subarray(0, -1);

/** The SOA record of a zone in wire form, with the times CoreDNS gives. `ttl` in seconds. */
export function soaRecord(zone: Uint8Array, ttl: number, serial: number): Rr {
  const data = rdata.soa({
    mname: concat([NS, zone]),
    rname: concat([HOSTMASTER, zone]),
    serial,
    refresh: 7200,
    retry: 1800,
    expire: 86400,
    minimum: ttl,
  });
  return record(zone, TYPE.SOA, Math.min(ttl, 300), data);
}

/** Bytes of an address from the API. Throws RangeError when it is none. */
export function addressOf(text: string): Uint8Array {
  return ipBytes(text);
}

/** Something to compare addresses by. */
export function addressKey(bytes: Uint8Array): string {
  return bytes.join('.');
}

/** Adds to a set; true when it was not in it. */
export function once(seen: Set<string>, key: string): boolean {
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** Does a wire name end in exactly these bytes, letter case included? */
export function endsWith(name: Uint8Array, tail: Uint8Array): boolean {
  const offset = name.length - tail.length;
  for (let i = 0; i < tail.length; i++) if (name[offset + i] !== tail[i]) return false;
  return offset >= 0;
}

/** Every address behind a name with the label it is reached as. */
export function targetsOf(answers: NameAnswers): { label: NameKey | undefined; address: Uint8Array }[] {
  const seen = new Set<string>();
  const out: { label: NameKey | undefined; address: Uint8Array }[] = [];
  answers.each((host, _port, label) => {
    const ip = parseIp(host);
    if (ip !== undefined && once(seen, `${label} ${host}`)) out.push({ label, address: ip.bytes });
  });
  return out;
}
