import { type Lease, readLease } from './lease.ts';
import { addressOption, type DhcpMessage, messageType, OPTION, TYPE, u32 } from './packet.ts';
import { ipBytes } from '@weft/net';

const NOWHERE = '0.0.0.0';
const FAST_RETRIES = 4;
const FAST_DELAY_MS = 2000;
const FIRST_DELAY_MS = 4000;
const JITTER_MS = 1000;
/** Shortest pause between two attempts to renew (RFC 2131 §4.4.5). */
const RENEW_PAUSE_MS = 60_000;
const MAX_MESSAGE = 1500;

/** What stays the same for one client. Times in milliseconds. */
export interface ClientConfig {
  readonly chaddr: Uint8Array;
  readonly clientId: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
  /** How long a server that made an offer is asked before others are. */
  readonly timeoutMs: number;
  /** Longest pause between two attempts. */
  readonly resendMaxMs: number;
  /** When acquiring is given up. */
  readonly resendTimeoutMs: number;
  /** Servers are to answer by broadcast. */
  readonly broadcast: boolean;
}

/** States of RFC 2131 figure 5; `ended` is final. */
type Phase = 'init' | 'selecting' | 'requesting' | 'bound' | 'renewing' | 'rebinding' | 'ended';

export interface ClientState {
  readonly phase: Phase;
  readonly xid: number;
  /** When this exchange began, ms. */
  readonly since: number;
  /** When something is to be done next, ms; undefined: nothing without an event. */
  readonly wakeAt: number | undefined;
  readonly attempt: number;
  readonly offer: { readonly address: string; readonly server: string; readonly until: number } | undefined;
  readonly lease: Lease | undefined;
  /** When the request was sent that the lease is the answer to, ms: its times count from there. */
  readonly leasedAt: number;
}

export type ClientEvent =
  | { readonly type: 'start' }
  | { readonly type: 'timer' }
  | { readonly type: 'message'; readonly message: DhcpMessage }
  /** Ask for the lease to be renewed now. */
  | { readonly type: 'check' }
  | { readonly type: 'stop' };

/** A message to send; `to` is the server to send it to, undefined for everybody. */
export interface Outgoing {
  readonly message: DhcpMessage;
  readonly to: string | undefined;
}

type Outcome =
  | { readonly type: 'leased'; readonly lease: Lease }
  /** No server answered in time. */
  | { readonly type: 'failed'; readonly why: string }
  /** The address must not be used any more. */
  | { readonly type: 'lost'; readonly why: string };

export interface Step {
  readonly state: ClientState;
  readonly send: readonly Outgoing[];
  readonly outcome?: Outcome;
}

/** Now in milliseconds, and randomness as a number in [0, 1). */
export interface Surroundings {
  readonly now: number;
  random(): number;
}

export const INITIAL: ClientState = {
  phase: 'init',
  xid: 0,
  since: 0,
  wakeAt: undefined,
  attempt: 0,
  offer: undefined,
  lease: undefined,
  leasedAt: 0,
};

function build(
  config: ClientConfig,
  state: ClientState,
  now: number,
  type: number,
  extra: Partial<DhcpMessage> = {},
): DhcpMessage {
  const options = new Map<number, Uint8Array>([[OPTION.MESSAGE_TYPE, Uint8Array.of(type)]]);
  options.set(OPTION.CLIENT_ID, config.clientId);
  if (type !== TYPE.RELEASE) {
    options.set(OPTION.MAX_SIZE, u32(MAX_MESSAGE).subarray(2));
    for (const [code, value] of config.options) options.set(code, value);
  }
  for (const [code, value] of extra.options ?? []) options.set(code, value);
  return {
    op: 1,
    xid: state.xid,
    secs: Math.max(Math.floor((now - state.since) / 1000), 0),
    broadcast: config.broadcast && type !== TYPE.RELEASE,
    ciaddr: NOWHERE,
    yiaddr: NOWHERE,
    siaddr: NOWHERE,
    giaddr: NOWHERE,
    chaddr: config.chaddr,
    ...extra,
    options,
  };
}

/** The pause after an attempt: four short ones, then doubling up to the longest. */
function pause(config: ClientConfig, attempt: number, random: number): number {
  const jitter = (random * 2 - 1) * JITTER_MS;
  if (attempt < FAST_RETRIES) return FAST_DELAY_MS + jitter;
  return Math.min(FIRST_DELAY_MS * 2 ** (attempt - FAST_RETRIES), config.resendMaxMs) + jitter;
}

function end(state: ClientState, outcome?: Outcome, send: readonly Outgoing[] = []): Step {
  const ended: ClientState = { ...state, phase: 'ended', wakeAt: undefined, offer: undefined };
  return { state: ended, send, ...(outcome === undefined ? {} : { outcome }) };
}

function discover(config: ClientConfig, state: ClientState, env: Surroundings): Step {
  const wakeAt = env.now + pause(config, state.attempt, env.random());
  const next: ClientState = { ...state, phase: 'selecting', offer: undefined, attempt: state.attempt + 1, wakeAt };
  return { state: next, send: [{ message: build(config, next, env.now, TYPE.DISCOVER), to: undefined }] };
}

function begin(config: ClientConfig, env: Surroundings, leasedAt: number): Step {
  const xid = Math.floor(env.random() * 0x1_0000_0000) >>> 0;
  return discover(config, { ...INITIAL, xid, since: env.now, leasedAt }, env);
}

function request(config: ClientConfig, state: ClientState, env: Surroundings): Step {
  const { offer } = state;
  if (offer === undefined) return discover(config, state, env);
  const options = new Map([
    [OPTION.REQUESTED_IP, ipBytes(offer.address)],
    [OPTION.SERVER_ID, ipBytes(offer.server)],
  ] as const);
  const wakeAt = Math.min(env.now + pause(config, state.attempt, env.random()), offer.until);
  const next: ClientState = { ...state, phase: 'requesting', attempt: state.attempt + 1, wakeAt, leasedAt: env.now };
  return { state: next, send: [{ message: build(config, next, env.now, TYPE.REQUEST, { options }), to: undefined }] };
}

/** When the phase that follows begins, ms. */
function limitOf(state: ClientState, lease: Lease): number {
  return state.leasedAt + (state.phase === 'renewing' ? lease.rebindAfter : lease.duration) * 1000;
}

function extend(
  config: ClientConfig,
  state: ClientState,
  lease: Lease,
  phase: 'renewing' | 'rebinding',
  env: Surroundings,
): Step {
  const fresh = state.phase !== phase && state.phase !== 'renewing';
  const xid = fresh ? Math.floor(env.random() * 0x1_0000_0000) >>> 0 : state.xid;
  const asked: ClientState = { ...state, phase, xid, since: fresh ? env.now : state.since };
  const limit = limitOf(asked, lease);
  // Half of what is left, and at least a minute, but what matters is that the next phase begins in time.
  const wait = Math.max((limit - env.now) / 2, Math.min(RENEW_PAUSE_MS, (lease.duration * 1000) / 8));
  const next: ClientState = { ...asked, wakeAt: Math.min(env.now + wait, limit), attempt: state.attempt + 1 };
  const message = build(config, next, env.now, TYPE.REQUEST, { ciaddr: lease.address });
  return {
    state: { ...next, offer: undefined },
    send: [{ message, to: phase === 'renewing' ? lease.server : undefined }],
  };
}

function onTimer(config: ClientConfig, state: ClientState, env: Surroundings): Step {
  if (state.wakeAt === undefined || env.now < state.wakeAt) return { state, send: [] };
  const { lease } = state;
  switch (state.phase) {
    case 'selecting':
    case 'requesting': {
      if (env.now >= state.since + config.resendTimeoutMs) {
        const said = state.phase === 'selecting' ? 'no DHCP server made an offer' : 'the DHCP server did not answer';
        return end(state, { type: 'failed', why: `${said} within ${config.resendTimeoutMs / 1000} s` });
      }
      const patient = state.phase === 'requesting' && state.offer !== undefined && env.now < state.offer.until;
      return patient ? request(config, state, env) : discover(config, state, env);
    }
    case 'bound':
      return lease === undefined
        ? { state, send: [] }
        : extend(config, { ...state, attempt: 0 }, lease, 'renewing', env);
    case 'renewing':
    case 'rebinding': {
      if (lease === undefined) return { state, send: [] };
      const over = (seconds: number): boolean => env.now >= state.leasedAt + seconds * 1000;
      if (over(lease.duration)) return end(state, { type: 'lost', why: 'the lease has expired' });
      return extend(config, state, lease, over(lease.rebindAfter) ? 'rebinding' : 'renewing', env);
    }
    default:
      return { state, send: [] };
  }
}

function bind(state: ClientState, lease: Lease, asked: number): Step {
  const wakeAt = asked + lease.renewAfter * 1000;
  const next: ClientState = { ...state, phase: 'bound', lease, leasedAt: asked, wakeAt, offer: undefined, attempt: 0 };
  return { state: next, send: [], outcome: { type: 'leased', lease } };
}

function onMessage(config: ClientConfig, state: ClientState, message: DhcpMessage, env: Surroundings): Step {
  const stay: Step = { state, send: [] };
  const ours =
    message.op === 2 && message.xid === state.xid && config.chaddr.every((byte, i) => message.chaddr[i] === byte);
  if (!ours) return stay;
  const type = messageType(message);
  const server = addressOption(message, OPTION.SERVER_ID);
  if (state.phase === 'selecting') {
    if (type !== TYPE.OFFER || server === undefined || message.yiaddr === NOWHERE) return stay;
    const offer = { address: message.yiaddr, server, until: env.now + config.timeoutMs };
    return request(config, { ...state, offer, attempt: 0 }, env);
  }
  if (state.phase !== 'requesting' && state.phase !== 'renewing' && state.phase !== 'rebinding') return stay;
  // While requesting, only the server that was chosen may answer.
  if (state.phase === 'requesting' && server !== undefined && server !== state.offer?.server) return stay;
  if (type === TYPE.NAK) {
    if (state.phase === 'requesting') return begin(config, env, state.leasedAt);
    return end(state, { type: 'lost', why: 'the DHCP server withdrew the address' });
  }
  if (type !== TYPE.ACK) return stay;
  const lease = readLease(message);
  if (lease === undefined) {
    if (state.phase !== 'requesting') return stay;
    return end(state, { type: 'failed', why: 'DHCP option Subnet Mask not found in DHCPACK' });
  }
  if (state.phase === 'requesting') return bind(state, lease, state.leasedAt);
  if (lease.address !== state.lease?.address) {
    return end(state, { type: 'lost', why: `the DHCP server gave ${lease.address} in the place of the address` });
  }
  // Some servers leave their name out when they renew.
  return bind(state, { ...lease, server: lease.server ?? state.lease.server }, env.now);
}

function release(config: ClientConfig, state: ClientState, env: Surroundings): Step {
  const { lease } = state;
  if (lease?.server === undefined || state.phase === 'ended') return end(state);
  const xid = Math.floor(env.random() * 0x1_0000_0000) >>> 0;
  const options = new Map([[OPTION.SERVER_ID, ipBytes(lease.server)]] as const);
  const message = build(config, { ...state, xid, since: env.now }, env.now, TYPE.RELEASE, {
    ciaddr: lease.address,
    options,
  });
  return end(state, undefined, [{ message, to: lease.server }]);
}

/** The DHCP client (RFC 2131 §4.4): what to send, and what becomes of it. Pure. */
export function step(config: ClientConfig, state: ClientState, event: ClientEvent, env: Surroundings): Step {
  if (state.phase === 'ended') return { state, send: [] };
  switch (event.type) {
    case 'start':
      return state.phase === 'init' ? begin(config, env, 0) : { state, send: [] };
    case 'timer':
      return onTimer(config, state, env);
    case 'message':
      return onMessage(config, state, event.message, env);
    case 'check':
      return state.phase === 'bound' && state.lease !== undefined
        ? extend(config, { ...state, attempt: 0 }, state.lease, 'renewing', env)
        : { state, send: [] };
    case 'stop':
      return release(config, state, env);
  }
}
