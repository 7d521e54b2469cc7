import type { Family } from '@weft/net';
import { type AttributeContext, ATTRIBUTE, FLAG, readAttributes } from './attributes.ts';
import { Reader, ShortRead, Writer } from './bytes.ts';
import { BgpError, NOTIFY } from './errors.ts';
import { frame } from './frame.ts';
import { AFI, readPrefixes, SAFI_UNICAST, writePrefix } from './prefixes.ts';
import {
  HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  type PathAttributes,
  type Reach,
  type Unreach,
  type UpdateMessage,
} from './types.ts';
import { writeAttribute, writeAttributes } from './write-attributes.ts';

const UPDATE = 2;

function networks(r: Reader, what: string): string[] {
  try {
    return readPrefixes(r, 4);
  } catch (error) {
    if (error instanceof RangeError) throw new BgpError(NOTIFY.update, 10, `${what}: ${error.message}`);
    throw error;
  }
}

/** Attributes that must be there and are not (RFC 4271 §5.1, RFC 7606 §3.d). */
function missing(a: Partial<PathAttributes>, classic: boolean, internal: boolean): string | undefined {
  if (a.origin === undefined) return 'ORIGIN is missing';
  if (a.asPath === undefined) return 'AS_PATH is missing';
  if (classic && a.nextHop === undefined) return 'NEXT_HOP is missing';
  return internal && a.localPref === undefined ? 'LOCAL_PREF is missing' : undefined;
}

/** Reads the body of an UPDATE. Throws BgpError for what ends the session. */
export function decodeUpdate(r: Reader, context: AttributeContext): UpdateMessage {
  let withdrawn: string[];
  let list: Reader;
  try {
    withdrawn = networks(r.part(r.u16()), 'withdrawn routes');
    list = r.part(r.u16());
  } catch (error) {
    if (error instanceof ShortRead) throw new BgpError(NOTIFY.update, 1, 'a length is beyond the message');
    throw error;
  }
  const empty = withdrawn.length === 0 && list.left === 0 && r.left === 0;
  if (empty) return { type: 'update', reach: [], unreach: [], faults: [], endOfRib: 4 };
  const read = readAttributes(list, context);
  const announced = networks(r, 'network layer reachability');
  const { attributes, discarded } = read;
  const unreach: Unreach[] = [];
  if (withdrawn.length > 0) unreach.push({ family: 4, prefixes: withdrawn });
  if (read.unreach !== undefined && read.unreach.prefixes.length > 0) unreach.push(read.unreach);
  const reach: Reach[] = [];
  const faults = [...discarded];
  const anything = announced.length > 0 || read.reach !== undefined;
  const lack = anything ? missing(attributes, announced.length > 0, context.internal) : undefined;
  const withdraw = lack === undefined ? read.withdraw : [...read.withdraw, lack];
  faults.push(...withdraw);
  if (announced.length > 0) reach.push({ family: 4, nextHop: attributes.nextHop ?? '', prefixes: announced });
  if (read.reach !== undefined) reach.push(read.reach);
  if (withdraw.length > 0) {
    for (const { family, prefixes } of reach.splice(0)) unreach.push({ family, prefixes });
  }
  const alone = announced.length === 0 && withdrawn.length === 0 && read.reach === undefined;
  const endOfRib = alone && read.unreach?.prefixes.length === 0 ? read.unreach.family : undefined;
  return {
    type: 'update',
    reach,
    unreach,
    faults,
    ...(reach.length === 0 ? {} : { attributes: attributes as PathAttributes }),
    ...(endOfRib === undefined ? {} : { endOfRib }),
  };
}

/** Bytes of the longest prefix in a message. */
const PREFIX_BYTES = 17;

/** Fills messages with prefixes, as many as fit into each; `open` begins one and returns what ends it in `tail` bytes. */
function pack(prefixes: readonly string[], tail: number, open: (w: Writer) => () => void): Uint8Array[] {
  const messages: Uint8Array[] = [];
  let w = new Writer(MAX_MESSAGE_BYTES);
  let close: (() => void) | undefined;
  const flush = (): void => {
    close?.();
    messages.push(frame(UPDATE, w.done()));
    w = new Writer(MAX_MESSAGE_BYTES);
    close = undefined;
  };
  for (const prefix of prefixes) {
    close ??= open(w);
    writePrefix(w, prefix);
    if (w.at + tail + PREFIX_BYTES + HEADER_BYTES > MAX_MESSAGE_BYTES) flush();
  }
  if (close !== undefined) flush();
  return messages;
}

/**
 * UPDATE messages that announce prefixes of one family with the same attributes. IPv4 goes into the message's own
 * fields, IPv6 into MP_REACH_NLRI. Throws RangeError when the attributes alone fill a message.
 */
export function encodeAnnouncements(
  family: Family,
  nextHop: string,
  attributes: PathAttributes,
  prefixes: readonly string[],
  as4: boolean,
): Uint8Array[] {
  const { nextHop: _, ...rest } = attributes;
  const head = new Writer();
  if (family === 4) writeAttributes(head, { ...rest, nextHop }, as4);
  else writeAttributes(head, rest, as4);
  const bytes = head.done();
  if (bytes.length > MAX_MESSAGE_BYTES - 128) throw new RangeError(`${bytes.length} bytes of attributes`);
  return pack(prefixes, family === 4 ? 0 : bytes.length, (w) => {
    w.u16(0);
    const list = w.at;
    w.u16(0);
    if (family === 4) {
      w.put(bytes);
      w.fill(list, 2);
      return () => {};
    }
    // First of all attributes, so that a receiver finds the prefixes whatever is wrong with others (RFC 7606 §5.1).
    const at = w.at + 2;
    w.u8(FLAG.optional | FLAG.extended);
    w.u8(ATTRIBUTE.mpReach);
    w.u16(0);
    w.u16(AFI[family]);
    w.u8(SAFI_UNICAST);
    w.u8(16);
    w.ip(nextHop);
    w.u8(0);
    return () => {
      w.fill(at, 2);
      w.put(bytes);
      w.fill(list, 2);
    };
  });
}

/** UPDATE messages that withdraw prefixes of one family. */
export function encodeWithdrawals(family: Family, prefixes: readonly string[]): Uint8Array[] {
  return pack(prefixes, 2, (w) => {
    if (family === 4) {
      const at = w.at;
      w.u16(0);
      return () => {
        w.fill(at, 2);
        w.u16(0);
      };
    }
    w.u16(0);
    const list = w.at;
    w.u16(0);
    const at = w.at + 2;
    w.u8(FLAG.optional | FLAG.extended);
    w.u8(ATTRIBUTE.mpUnreach);
    w.u16(0);
    w.u16(AFI[family]);
    w.u8(SAFI_UNICAST);
    return () => {
      w.fill(at, 2);
      w.fill(list, 2);
    };
  });
}

/** Tells that all routes of a family have been sent (RFC 4724 §2). */
export function encodeEndOfRib(family: Family): Uint8Array {
  const w = new Writer(32);
  w.u16(0);
  const at = w.at;
  w.u16(0);
  if (family !== 4) {
    writeAttribute(w, FLAG.optional, ATTRIBUTE.mpUnreach, () => {
      w.u16(AFI[family]);
      w.u8(SAFI_UNICAST);
    });
    w.fill(at, 2);
  }
  return frame(UPDATE, w.done());
}
