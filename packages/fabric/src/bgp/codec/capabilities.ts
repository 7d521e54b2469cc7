import type { Family } from '@weft/net';
import { Reader, ShortRead, type Writer } from './bytes.ts';
import { BgpError, NOTIFY } from './errors.ts';
import { AFI, familyOfAfi, SAFI_UNICAST } from './prefixes.ts';
import type { Capabilities, GracefulRestart } from './types.ts';

const PARAMETER_CAPABILITIES = 2;
const PARAMETER_EXTENDED = 255;
const CAPABILITY = { multiprotocol: 1, routeRefresh: 2, gracefulRestart: 64, as4: 65 } as const;
const FORWARDING = 0x80;
const RESTARTING = 0x8000;

function capability(w: Writer, code: number, body: () => void): void {
  w.u8(code);
  const at = w.at;
  w.u8(0);
  body();
  w.fill(at, 1);
}

/** Writes the optional parameters of an OPEN, their length first. */
export function writeCapabilities(w: Writer, capabilities: Capabilities): void {
  const all = w.at;
  w.u8(0);
  w.u8(PARAMETER_CAPABILITIES);
  const at = w.at;
  w.u8(0);
  for (const family of capabilities.families) {
    capability(w, CAPABILITY.multiprotocol, () => {
      w.u16(AFI[family]);
      w.u8(0);
      w.u8(SAFI_UNICAST);
    });
  }
  if (capabilities.routeRefresh) capability(w, CAPABILITY.routeRefresh, () => {});
  const { as4, gracefulRestart: restart } = capabilities;
  if (restart !== undefined) {
    capability(w, CAPABILITY.gracefulRestart, () => {
      w.u16((restart.restarting ? RESTARTING : 0) | (restart.time & 0xfff));
      for (const { family, forwarding } of restart.families) {
        w.u16(AFI[family]);
        w.u8(SAFI_UNICAST);
        w.u8(forwarding ? FORWARDING : 0);
      }
    });
  }
  if (as4 !== undefined) capability(w, CAPABILITY.as4, () => w.u32(as4));
  w.fill(at, 1);
  w.fill(all, 1);
}

function readRestart(r: Reader): GracefulRestart {
  const flags = r.u16();
  const families: { family: Family; forwarding: boolean }[] = [];
  while (r.left >= 4) {
    const family = familyOfAfi(r.u16(), r.u8());
    const forwarding = (r.u8() & FORWARDING) !== 0;
    if (family !== undefined && !families.some((f) => f.family === family)) families.push({ family, forwarding });
  }
  return { restarting: (flags & RESTARTING) !== 0, time: flags & 0xfff, families };
}

/** What was read so far. */
interface Found {
  readonly families: Family[];
  readonly unknown: number[];
  routeRefresh: boolean;
  multiprotocol: boolean;
  as4?: number;
  gracefulRestart?: GracefulRestart;
}

function readOne(code: number, r: Reader, found: Found): void {
  switch (code) {
    case CAPABILITY.multiprotocol: {
      found.multiprotocol = true;
      const afi = r.u16();
      r.u8();
      const family = familyOfAfi(afi, r.u8());
      if (family !== undefined && !found.families.includes(family)) found.families.push(family);
      break;
    }
    case CAPABILITY.routeRefresh:
      found.routeRefresh = true;
      break;
    case CAPABILITY.gracefulRestart:
      found.gracefulRestart = readRestart(r);
      break;
    case CAPABILITY.as4:
      found.as4 = r.u32();
      break;
    default:
      if (!found.unknown.includes(code)) found.unknown.push(code);
  }
}

/** Reads the optional parameters of an OPEN (RFC 5492, RFC 9072), which start at their length. Throws BgpError. */
export function readCapabilities(r: Reader): Capabilities {
  const found: Found = { families: [], unknown: [], routeRefresh: false, multiprotocol: false };
  try {
    let length = r.u8();
    let wide = false;
    if (length === 255 && r.left > 0 && r.bytes[r.at] === PARAMETER_EXTENDED) {
      r.u8();
      length = r.u16();
      wide = true;
    }
    const parameters = r.part(length);
    while (parameters.left > 0) {
      const type = parameters.u8();
      const body = parameters.part(wide ? parameters.u16() : parameters.u8());
      if (type !== PARAMETER_CAPABILITIES) throw new BgpError(NOTIFY.open, 4, `parameter ${type}`);
      while (body.left > 0) {
        const code = body.u8();
        readOne(code, body.part(body.u8()), found);
      }
    }
  } catch (error) {
    if (error instanceof ShortRead) throw new BgpError(NOTIFY.open, 0, 'optional parameters are cut off');
    throw error;
  }
  const { as4, gracefulRestart, unknown } = found;
  return {
    // A speaker that says nothing of families has IPv4 (RFC 4760 §8).
    families: found.multiprotocol ? found.families : [4],
    routeRefresh: found.routeRefresh,
    ...(as4 === undefined ? {} : { as4 }),
    ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    ...(unknown.length === 0 ? {} : { unknown }),
  };
}
