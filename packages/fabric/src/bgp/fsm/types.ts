import type { Family } from '@weft/net';
import type { BgpError, BgpMessage, Capabilities, OpenMessage, SimpleMessage, UpdateMessage } from '../codec/index.ts';

/** State of a session as RFC 4271 §8.2.2 names it: that of its most advanced connection. */
export type SessionState = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established';

/** What this speaker wants of a session. */
export interface SessionOptions {
  readonly localAs: number;
  /** The AS that the peer must be in. */
  readonly peerAs: number;
  readonly routerId: string;
  readonly families: readonly Family[];
  /** Seconds; 0 or at least 3. */
  readonly holdTime: number;
  /** Seconds between attempts to connect. */
  readonly connectRetry: number;
  /** Waits for the peer to connect. */
  readonly passive: boolean;
  /** Seconds that the peer keeps our routes while we are away; undefined: it shall not. */
  readonly restartTime?: number;
  /** We have restarted, and forward as before until we know better. */
  readonly restarting: boolean;
  /** What the peer's routes led to before still works: it need not send traffic elsewhere meanwhile. */
  readonly forwarding: boolean;
}

/** What both speakers agreed on. */
export interface Negotiated {
  readonly families: readonly Family[];
  readonly as4: boolean;
  readonly internal: boolean;
  /** Seconds; 0: none. */
  readonly holdTime: number;
  readonly routeRefresh: boolean;
  readonly routerId: string;
  readonly capabilities: Capabilities;
}

/** A TCP connection with the peer; at most one of them becomes the session. */
export interface Connection {
  readonly id: number;
  /** Who opened it: we (`out`) or the peer. */
  readonly direction: 'in' | 'out';
  readonly phase: 'OpenSent' | 'OpenConfirm' | 'Established';
  readonly open?: OpenMessage;
}

/** Everything the machine remembers. */
export interface PeerState {
  readonly started: boolean;
  /** State while there is no connection. */
  readonly rest: 'Idle' | 'Connect' | 'Active';
  readonly connections: readonly Connection[];
  /** Sessions that ended in an error since the last one that came up; delays the next attempt. */
  readonly failures: number;
  /** Attempts to connect that failed since the last connection. */
  readonly attempts: number;
}

export type Timer = 'retry' | 'hold' | 'keepalive';

/** What happens to a session. */
export type PeerEvent =
  | { readonly type: 'start' }
  /** By configuration; `subcode` of Cease tells the peer why. */
  | { readonly type: 'stop'; readonly subcode: number }
  | { readonly type: 'connected'; readonly connection: number; readonly direction: 'in' | 'out' }
  | { readonly type: 'dial-failed' }
  | { readonly type: 'closed'; readonly connection: number; readonly why: string }
  | { readonly type: 'message'; readonly connection: number; readonly message: BgpMessage }
  /** The peer broke the protocol, or something else ends the connection. */
  | { readonly type: 'fault'; readonly connection: number; readonly error: BgpError }
  /** `connection` is that of hold and keepalive timers. */
  | { readonly type: 'timer'; readonly timer: Timer; readonly connection?: number };

/** What must be done because of it. */
export type PeerAction =
  | { readonly type: 'dial' }
  | { readonly type: 'send'; readonly connection: number; readonly message: SimpleMessage }
  | { readonly type: 'close'; readonly connection: number }
  /** Starts a timer anew; 0 seconds: stops it. */
  | { readonly type: 'timer'; readonly timer: Timer; readonly connection?: number; readonly seconds: number }
  | { readonly type: 'up'; readonly connection: number; readonly negotiated: Negotiated }
  /** The session is over. `graceful`: the peer's routes stay valid for its restart time (RFC 4724 §4.2). */
  | { readonly type: 'down'; readonly reason: string; readonly graceful: boolean }
  | { readonly type: 'routes'; readonly update: UpdateMessage }
  | { readonly type: 'refresh'; readonly family: Family };

export interface Step {
  readonly state: PeerState;
  readonly actions: readonly PeerAction[];
}
