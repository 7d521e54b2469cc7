import { WeftError } from '@weft/plan';

/** Error codes of NOTIFICATION messages (RFC 4271 §4.5, RFC 7313, RFC 9687). */
export const NOTIFY = {
  header: 1,
  open: 2,
  update: 3,
  holdTimer: 4,
  fsm: 5,
  cease: 6,
  routeRefresh: 7,
  sendHoldTimer: 8,
} as const;

/** Subcodes of Cease (RFC 4486, RFC 9384). */
export const CEASE = {
  maxPrefixes: 1,
  shutdown: 2,
  deconfigured: 3,
  reset: 4,
  rejected: 5,
  configChange: 6,
  collision: 7,
  outOfResources: 8,
  hardReset: 9,
  bfdDown: 10,
} as const;

const CODES: readonly string[] = [
  'Reserved',
  'Message Header Error',
  'OPEN Message Error',
  'UPDATE Message Error',
  'Hold Timer Expired',
  'Finite State Machine Error',
  'Cease',
  'ROUTE-REFRESH Message Error',
  'Send Hold Timer Expired',
];

const SUBCODES: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  1: { 1: 'Connection Not Synchronized', 2: 'Bad Message Length', 3: 'Bad Message Type' },
  2: {
    1: 'Unsupported Version Number',
    2: 'Bad Peer AS',
    3: 'Bad BGP Identifier',
    4: 'Unsupported Optional Parameter',
    6: 'Unacceptable Hold Time',
    7: 'Unsupported Capability',
  },
  3: {
    1: 'Malformed Attribute List',
    2: 'Unrecognized Well-known Attribute',
    3: 'Missing Well-known Attribute',
    4: 'Attribute Flags Error',
    5: 'Attribute Length Error',
    6: 'Invalid ORIGIN Attribute',
    8: 'Invalid NEXT_HOP Attribute',
    9: 'Optional Attribute Error',
    10: 'Invalid Network Field',
    11: 'Malformed AS_PATH',
  },
  5: { 1: 'in OpenSent', 2: 'in OpenConfirm', 3: 'in Established' },
  6: {
    1: 'Maximum Number of Prefixes Reached',
    2: 'Administrative Shutdown',
    3: 'Peer De-configured',
    4: 'Administrative Reset',
    5: 'Connection Rejected',
    6: 'Other Configuration Change',
    7: 'Connection Collision Resolution',
    8: 'Out of Resources',
    9: 'Hard Reset',
    10: 'BFD Down',
  },
};

/** `Cease: Administrative Shutdown`, for logs and status. */
export function describeNotification(code: number, subcode: number): string {
  const name = CODES[code] ?? `error ${code}`;
  if (subcode === 0) return name;
  return `${name}: ${SUBCODES[code]?.[subcode] ?? `subcode ${subcode}`}`;
}

/** A fault that ends a session; the other side is told `notify` in a NOTIFICATION. */
export class BgpError extends WeftError {
  override readonly name = 'BgpError';
  readonly notify: { readonly code: number; readonly subcode: number; readonly data: Uint8Array };

  constructor(code: number, subcode: number, message: string, data: Uint8Array = new Uint8Array()) {
    super({ code: 'BGP_PROTOCOL_ERROR', message: `${describeNotification(code, subcode)}: ${message}` });
    this.notify = { code, subcode, data };
  }
}
