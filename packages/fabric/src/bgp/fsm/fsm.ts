import { parseIp, compareIp, type Ip } from '@weft/net';
import { BgpError, CEASE, describeNotification, NOTIFY, type OpenMessage, type SimpleMessage } from '../codec/index.ts';
import { negotiate, openMessage } from './negotiate.ts';
import type {
  Connection,
  PeerAction,
  PeerEvent,
  PeerState,
  SessionOptions,
  SessionState,
  Step,
  Timer,
} from './types.ts';

/** Seconds to wait for the peer's OPEN (RFC 4271 §8.2.2 suggests four minutes). */
const OPEN_HOLD = 240;
/** Longest time between attempts after errors, seconds. */
const LONGEST_WAIT = 30;
const ORDER = { OpenSent: 0, OpenConfirm: 1, Established: 2 } as const;

export const INITIAL: PeerState = { started: false, rest: 'Idle', connections: [], failures: 0, attempts: 0 };

/** State of the session, for people. */
export function sessionState(state: PeerState): SessionState {
  const [first, ...rest] = state.connections;
  if (first === undefined) return state.rest;
  return rest.reduce((best, c) => (ORDER[c.phase] > ORDER[best.phase] ? c : best), first).phase;
}

/** One step of one peer's machine, with the new state built up as it goes. */
class Stepper {
  started: boolean;
  rest: PeerState['rest'];
  connections: Connection[];
  failures: number;
  attempts: number;
  readonly actions: PeerAction[] = [];
  readonly options: SessionOptions;

  constructor(state: PeerState, options: SessionOptions) {
    this.started = state.started;
    this.rest = state.rest;
    this.connections = [...state.connections];
    this.failures = state.failures;
    this.attempts = state.attempts;
    this.options = options;
  }

  get step(): Step {
    const { started, rest, connections, failures, attempts, actions } = this;
    return { state: { started, rest, connections, failures, attempts }, actions };
  }

  find(id: number | undefined): Connection | undefined {
    return this.connections.find((c) => c.id === id);
  }

  change(id: number, change: Partial<Connection>): void {
    this.connections = this.connections.map((c) => (c.id === id ? { ...c, ...change } : c));
  }

  send(connection: number, message: SimpleMessage): void {
    this.actions.push({ type: 'send', connection, message });
  }

  timer(timer: Timer, seconds: number, connection?: number): void {
    this.actions.push({ type: 'timer', timer, seconds, ...(connection === undefined ? {} : { connection }) });
  }

  dial(): void {
    if (this.options.passive) {
      this.rest = 'Active';
      return;
    }
    this.rest = 'Connect';
    this.actions.push({ type: 'dial' });
    this.timer('retry', this.options.connectRetry);
  }

  /** Ends a connection; with an error the peer is told. A session that ends says so. */
  drop(
    connection: Connection,
    why: { readonly reason: string; readonly error?: BgpError; readonly graceful?: boolean },
  ): void {
    const { id, phase } = connection;
    if (why.error !== undefined) this.send(id, { type: 'notification', ...why.error.notify });
    this.actions.push({ type: 'close', connection: id });
    this.timer('hold', 0, id);
    this.timer('keepalive', 0, id);
    this.connections = this.connections.filter((c) => c.id !== id);
    if (phase !== 'Established') return;
    const restart = connection.open?.capabilities.gracefulRestart;
    const graceful = why.graceful === true && restart !== undefined && restart.families.length > 0;
    this.actions.push({
      type: 'down',
      reason: why.reason,
      graceful: graceful && this.options.restartTime !== undefined,
    });
  }

  /** After a connection has ended: when to try again. */
  again(failed: boolean): void {
    if (!this.started || this.connections.length > 0) return;
    if (failed) this.failures += 1;
    this.rest = this.options.passive ? 'Active' : failed ? 'Idle' : 'Active';
    const wait = failed ? Math.min(LONGEST_WAIT, 2 ** Math.min(this.failures - 1, 8)) : 1;
    this.timer('retry', wait);
  }
}

function number(id: string): Ip {
  return parseIp(id) as Ip;
}

/** The direction of the connection that both sides keep when two are open (RFC 4271 §6.8, RFC 6286 §2.3). */
function keptDirection(options: SessionOptions, open: OpenMessage): 'in' | 'out' {
  const order = compareIp(number(options.routerId), number(open.routerId));
  return (order === 0 ? options.localAs - open.as : order) > 0 ? 'out' : 'in';
}

function collision(): BgpError {
  return new BgpError(NOTIFY.cease, CEASE.collision, 'another connection is kept');
}

/** Settles which of several connections stays. Returns whether `connection` does. */
function resolveCollision(s: Stepper, connection: Connection, open: OpenMessage): boolean {
  for (const other of s.connections) {
    if (other.id === connection.id || other.open === undefined) continue;
    const error = collision();
    if (other.phase === 'Established') {
      // Only a speaker that has restarted comes a second time; else the session that works is worth more.
      if (open.capabilities.gracefulRestart?.restarting !== true) {
        s.drop(connection, { reason: error.message, error });
        return false;
      }
      s.drop(other, { reason: 'the peer has restarted', graceful: true });
    } else if (other.direction === connection.direction || keptDirection(s.options, open) === connection.direction) {
      s.drop(other, { reason: error.message, error });
    } else {
      s.drop(connection, { reason: error.message, error });
      return false;
    }
  }
  return true;
}

function onOpen(s: Stepper, connection: Connection, open: OpenMessage): void {
  let holdTime: number;
  try {
    ({ holdTime } = negotiate(s.options, open));
  } catch (error) {
    if (!(error instanceof BgpError)) throw error;
    s.drop(connection, { reason: error.message, error });
    s.again(true);
    return;
  }
  if (!resolveCollision(s, connection, open)) return;
  s.change(connection.id, { phase: 'OpenConfirm', open });
  s.send(connection.id, { type: 'keepalive' });
  s.timer('hold', holdTime, connection.id);
  s.timer('keepalive', holdTime / 3, connection.id);
}

function onEstablished(s: Stepper, connection: Connection, open: OpenMessage): void {
  s.change(connection.id, { phase: 'Established' });
  for (const other of s.connections) {
    const error = collision();
    if (other.id !== connection.id) s.drop(other, { reason: error.message, error });
  }
  s.failures = 0;
  s.timer('retry', 0);
  s.actions.push({ type: 'up', connection: connection.id, negotiated: negotiate(s.options, open) });
}

function onMessage(s: Stepper, connection: Connection, event: PeerEvent & { readonly type: 'message' }): void {
  const { message } = event;
  const { id, phase, open } = connection;
  if (message.type === 'notification') {
    const reason = `the peer says: ${describeNotification(message.code, message.subcode)}`;
    s.drop(connection, { reason });
    s.again(message.code !== NOTIFY.cease || message.subcode !== CEASE.collision);
    return;
  }
  if (phase === 'OpenSent' && message.type === 'open') return onOpen(s, connection, message);
  if (open !== undefined && phase !== 'OpenSent' && message.type !== 'open') {
    const { holdTime } = negotiate(s.options, open);
    if (phase === 'Established' || message.type === 'keepalive') s.timer('hold', holdTime, id);
    if (phase === 'OpenConfirm' && message.type === 'keepalive') return onEstablished(s, connection, open);
    if (phase === 'Established') {
      if (message.type === 'update') s.actions.push({ type: 'routes', update: message });
      if (message.type === 'route-refresh' && message.family !== undefined)
        s.actions.push({ type: 'refresh', family: message.family });
      return;
    }
  }
  const error = new BgpError(NOTIFY.fsm, ORDER[phase] + 1, `${message.type} was not expected`);
  s.drop(connection, { reason: error.message, error });
  s.again(true);
}

function onTimer(s: Stepper, event: PeerEvent & { readonly type: 'timer' }): void {
  if (event.timer === 'retry') {
    if (s.started && s.connections.length === 0) s.dial();
    return;
  }
  const connection = s.find(event.connection);
  if (connection === undefined) return;
  if (event.timer === 'keepalive') {
    if (connection.open === undefined) return;
    s.send(connection.id, { type: 'keepalive' });
    s.timer('keepalive', negotiate(s.options, connection.open).holdTime / 3, connection.id);
    return;
  }
  const error = new BgpError(NOTIFY.holdTimer, 0, 'the peer has been silent');
  // It may come back: whoever announced a restart keeps forwarding (RFC 8538 §4 does the same).
  s.drop(connection, { reason: error.message, error, graceful: true });
  s.again(true);
}

/** One step of a peer's state machine (RFC 4271 §8). Pure: timers, connections and messages are actions and events. */
export function step(state: PeerState, event: PeerEvent, options: SessionOptions): Step {
  const s = new Stepper(state, options);
  switch (event.type) {
    case 'start':
      if (!s.started) {
        s.started = true;
        s.dial();
      }
      break;
    case 'stop': {
      s.started = false;
      const error = new BgpError(NOTIFY.cease, event.subcode, 'by configuration');
      for (const connection of s.connections) s.drop(connection, { reason: error.message, error });
      s.rest = 'Idle';
      s.timer('retry', 0);
      break;
    }
    case 'connected': {
      const { connection: id, direction } = event;
      if (!s.started) {
        s.actions.push({ type: 'close', connection: id });
        break;
      }
      s.attempts = 0;
      s.connections.push({ id, direction, phase: 'OpenSent' });
      s.timer('retry', 0);
      s.send(id, openMessage(options));
      s.timer('hold', OPEN_HOLD, id);
      break;
    }
    case 'dial-failed':
      if (!s.started || s.connections.length > 0) break;
      s.rest = 'Active';
      s.attempts += 1;
      // Nodes that start together find each other's doors closed for a moment only.
      s.timer('retry', Math.min(options.connectRetry, 2 ** Math.min(s.attempts - 2, 8)));
      break;
    case 'closed': {
      const connection = s.find(event.connection);
      if (connection === undefined) break;
      s.drop(connection, { reason: event.why, graceful: true });
      s.again(connection.phase !== 'Established');
      break;
    }
    case 'message': {
      const connection = s.find(event.connection);
      if (connection !== undefined) onMessage(s, connection, event);
      break;
    }
    case 'fault': {
      const connection = s.find(event.connection);
      if (connection === undefined) break;
      s.drop(connection, { reason: event.error.message, error: event.error });
      s.again(true);
      break;
    }
    case 'timer':
      onTimer(s, event);
      break;
  }
  return s.step;
}
