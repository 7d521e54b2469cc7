import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { BgpError, CEASE, type OpenMessage } from '../../src/bgp/codec/index.ts';
import { INITIAL, sessionState, step } from '../../src/bgp/fsm/fsm.ts';
import { openMessage } from '../../src/bgp/fsm/negotiate.ts';
import type { PeerAction, PeerEvent, PeerState, SessionOptions } from '../../src/bgp/fsm/types.ts';

const OPTIONS: SessionOptions = {
  localAs: 64512,
  peerAs: 64512,
  routerId: '10.0.0.1',
  families: [4],
  holdTime: 90,
  connectRetry: 5,
  passive: false,
  restartTime: 120,
  restarting: false,
  forwarding: false,
};
const THEIRS: OpenMessage = openMessage({ ...OPTIONS, routerId: '10.0.0.2', holdTime: 30 });

/** Plays events one after another; the state at the end and the actions of the last. */
function play(events: readonly PeerEvent[], options = OPTIONS): { state: PeerState; actions: readonly PeerAction[] } {
  return events.reduce<{ state: PeerState; actions: readonly PeerAction[] }>(
    ({ state }, event) => step(state, event, options),
    { state: INITIAL, actions: [] },
  );
}

const start: PeerEvent = { type: 'start' };
const connected = (connection: number, direction: 'in' | 'out' = 'out'): PeerEvent => ({
  type: 'connected',
  connection,
  direction,
});
const open = (connection: number, message = THEIRS): PeerEvent => ({ type: 'message', connection, message });
const keepalive = (connection: number): PeerEvent => ({ type: 'message', connection, message: { type: 'keepalive' } });
const UP = [start, connected(1), open(1), keepalive(1)];

/** What was sent on a connection, notifications with their codes. */
function sent(actions: readonly PeerAction[], connection = 1): string[] {
  return actions.flatMap((a) => {
    if (a.type !== 'send' || a.connection !== connection) return [];
    return [a.message.type === 'notification' ? `notification ${a.message.code}/${a.message.subcode}` : a.message.type];
  });
}

describe('one connection', () => {
  it('goes through the states of RFC 4271', () => {
    const states = UP.map((_, i) => sessionState(play(UP.slice(0, i + 1)).state));
    expect(states).toEqual(['Connect', 'OpenSent', 'OpenConfirm', 'Established']);
    expect(sent(play(UP.slice(0, 2)).actions)).toEqual(['open']);
    const confirm = play(UP.slice(0, 3)).actions;
    expect(sent(confirm)).toEqual(['keepalive']);
    // The smaller hold time counts, keepalives go at a third of it.
    expect(confirm).toContainEqual({ type: 'timer', timer: 'hold', connection: 1, seconds: 30 });
    expect(confirm).toContainEqual({ type: 'timer', timer: 'keepalive', connection: 1, seconds: 10 });
    expect(play(UP).actions).toContainEqual(
      expect.objectContaining({
        type: 'up',
        connection: 1,
        negotiated: expect.objectContaining({ as4: true, internal: true }),
      }),
    );
  });

  it('waits when it is passive, and tries again when nobody answers', () => {
    expect(play([start], { ...OPTIONS, passive: true })).toMatchObject({ state: { rest: 'Active' }, actions: [] });
    const failed = play([start, { type: 'dial-failed' }]);
    expect(sessionState(failed.state)).toBe('Active');
    expect(failed.actions).toEqual([{ type: 'timer', timer: 'retry', seconds: 0.5 }]);
    const later = play([start, ...Array.from({ length: 6 }, (): PeerEvent => ({ type: 'dial-failed' }))]);
    expect(later.actions).toEqual([{ type: 'timer', timer: 'retry', seconds: 5 }]);
    expect(play([start, { type: 'dial-failed' }, { type: 'timer', timer: 'retry' }]).actions).toContainEqual({
      type: 'dial',
    });
  });

  it.each<[string, OpenMessage, string]>([
    ['another AS', { ...THEIRS, as: 1 }, 'notification 2/2'],
    ['our router id in our AS', { ...THEIRS, routerId: '10.0.0.1' }, 'notification 2/3'],
    ['no common family', { ...THEIRS, capabilities: { ...THEIRS.capabilities, families: [6] } }, 'notification 2/7'],
  ])('refuses %s', (_name, message, notification) => {
    const { state, actions } = play([start, connected(1), open(1, message)]);
    expect(sent(actions)).toEqual([notification]);
    expect(actions).toContainEqual({ type: 'close', connection: 1 });
    expect(sessionState(state)).toBe('Idle');
  });

  it('refuses what does not belong into its state', () => {
    expect(sent(play([start, connected(1), keepalive(1)]).actions)).toEqual(['notification 5/1']);
    expect(sent(play([...UP.slice(0, 3), open(1)]).actions)).toEqual(['notification 5/2']);
    expect(sent(play([...UP, open(1)]).actions)).toEqual(['notification 5/3']);
  });

  it('ends when the peer is silent; its routes stay when it can restart', () => {
    const { state, actions } = play([...UP, { type: 'timer', timer: 'hold', connection: 1 }]);
    expect(sent(actions)).toEqual(['notification 4/0']);
    expect(actions).toContainEqual(expect.objectContaining({ type: 'down', graceful: true }));
    expect(sessionState(state)).toBe('Idle');
  });

  it('keeps routes over a lost connection, and not over a NOTIFICATION or a fault', () => {
    const lost = play([...UP, { type: 'closed', connection: 1, why: 'reset' }]).actions;
    expect(lost).toContainEqual({ type: 'down', reason: 'reset', graceful: true });
    const { gracefulRestart: _, ...without } = THEIRS.capabilities;
    const plain = [start, connected(1), open(1, { ...THEIRS, capabilities: without }), keepalive(1)];
    expect(play([...plain, { type: 'closed', connection: 1, why: 'reset' }]).actions).toContainEqual(
      expect.objectContaining({ type: 'down', graceful: false }),
    );
    const cease = { type: 'notification' as const, code: 6, subcode: CEASE.shutdown, data: new Uint8Array() };
    const told = play([...UP, { type: 'message', connection: 1, message: cease }]).actions;
    const reason = 'the peer says: Cease: Administrative Shutdown';
    expect(told).toContainEqual({ type: 'down', reason, graceful: false });
    const fault = play([...UP, { type: 'fault', connection: 1, error: new BgpError(3, 1, 'x') }]).actions;
    expect(sent(fault)).toEqual(['notification 3/1']);
    expect(fault).toContainEqual(expect.objectContaining({ type: 'down', graceful: false }));
  });

  it('waits longer after each failure, and forgets them when it is up', () => {
    const fail = (id: number): PeerEvent[] => [connected(id), open(id, { ...THEIRS, as: 1 })];
    const wait = (events: PeerEvent[]): unknown =>
      play([start, ...events]).actions.findLast((a) => a.type === 'timer' && a.timer === 'retry');
    expect(wait(fail(1))).toMatchObject({ seconds: 1 });
    expect(wait([1, 2, 3].flatMap(fail))).toMatchObject({ seconds: 4 });
    expect(wait([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap(fail))).toMatchObject({ seconds: 30 });
    expect(play([...UP]).state.failures).toBe(0);
  });

  it('tells the peer why it stops, and refuses connections from then on', () => {
    const { state, actions } = play([...UP, { type: 'stop', subcode: CEASE.deconfigured }]);
    expect(sent(actions)).toEqual(['notification 6/3']);
    expect(sessionState(state)).toBe('Idle');
    expect(step(state, connected(2, 'in'), OPTIONS).actions).toEqual([{ type: 'close', connection: 2 }]);
  });
});

describe('two connections', () => {
  it('keeps the one of the speaker with the higher router id', () => {
    const both = [start, connected(1, 'out'), connected(2, 'in'), open(1), open(2)];
    const low = play(both);
    expect(low.state.connections.map((c) => c.id)).toEqual([2]);
    expect(sent(low.actions)).toEqual(['notification 6/7']);
    const high = play(both, { ...OPTIONS, routerId: '10.0.0.3' });
    expect(high.state.connections.map((c) => c.id)).toEqual([1]);
    expect(sent(high.actions, 2)).toEqual(['notification 6/7']);
  });

  it('keeps a session that works, except for a peer that has restarted', () => {
    const again = play([...UP, connected(2, 'in'), open(2)]);
    expect(again.state.connections.map((c) => c.id)).toEqual([1]);
    const gracefulRestart = { ...THEIRS.capabilities.gracefulRestart!, restarting: true };
    const restarted = { ...THEIRS, capabilities: { ...THEIRS.capabilities, gracefulRestart } };
    const back = play([...UP, connected(2, 'in'), open(2, restarted)]);
    expect(back.state.connections.map((c) => c.id)).toEqual([2]);
    expect(back.actions).toContainEqual(expect.objectContaining({ type: 'down', graceful: true }));
  });
});

/** Two speakers with a network between them that delivers in any order the test chooses, in order per connection. */
class World {
  readonly states: [PeerState, PeerState] = [INITIAL, INITIAL];
  readonly queue: { readonly key: string; readonly run: () => void }[] = [];
  readonly up: [number | undefined, number | undefined] = [undefined, undefined];
  readonly #ends = new Map<number, Set<0 | 1>>();
  readonly #options: readonly [SessionOptions, SessionOptions];
  #next = 1;

  constructor(options: readonly [SessionOptions, SessionOptions]) {
    this.#options = options;
  }

  feed(side: 0 | 1, event: PeerEvent): void {
    const { state, actions } = step(this.states[side], event, this.#options[side]);
    this.states[side] = state;
    for (const action of actions) this.#do(side, action);
  }

  #do(side: 0 | 1, action: PeerAction): void {
    const other = side === 0 ? 1 : 0;
    if (action.type === 'dial') {
      const connection = this.#next++;
      this.#ends.set(connection, new Set([0, 1]));
      this.#later(`${connection} ${side}`, () => this.feed(side, { type: 'connected', connection, direction: 'out' }));
      this.#later(`${connection} ${other}`, () => this.feed(other, { type: 'connected', connection, direction: 'in' }));
    } else if (action.type === 'send') {
      const { connection, message } = action;
      this.#later(`${connection} ${other}`, () => {
        if (this.#ends.get(connection)?.has(other) === true) this.feed(other, { type: 'message', connection, message });
      });
    } else if (action.type === 'close') {
      const { connection } = action;
      this.#ends.get(connection)?.delete(side);
      this.#later(`${connection} ${other}`, () => this.feed(other, { type: 'closed', connection, why: 'closed' }));
    } else if (action.type === 'up') {
      expect(this.up[side]).toBeUndefined();
      this.up[side] = action.connection;
    } else if (action.type === 'down') {
      expect(this.up[side]).toBeDefined();
      this.up[side] = undefined;
    }
  }

  #later(key: string, run: () => void): void {
    this.queue.push({ key, run });
  }

  /** Delivers something: any connection's oldest. */
  deliver(choice: number): void {
    const keys = [...new Set(this.queue.map((item) => item.key))];
    const key = keys[choice % keys.length];
    const at = this.queue.findIndex((item) => item.key === key);
    this.queue.splice(at, 1)[0]?.run();
  }
}

test('two speakers that dial each other end with one session, whatever comes first', () => {
  const ids = fc.constantFrom<[string, string]>(['10.0.0.1', '10.0.0.2'], ['10.0.0.9', '10.0.0.2']);
  fc.assert(
    fc.property(ids, fc.infiniteStream(fc.nat({ max: 7 })), ([a, b], choices) => {
      const world = new World([
        { ...OPTIONS, routerId: a },
        { ...OPTIONS, routerId: b },
      ]);
      world.feed(0, start);
      world.feed(1, start);
      for (let round = 0; round < 20; round++) {
        while (world.queue.length > 0) world.deliver(choices.next().value ?? 0);
        if (world.up[0] !== undefined && world.up[0] === world.up[1]) break;
        for (const side of [0, 1] as const) world.feed(side, { type: 'timer', timer: 'retry' });
      }
      expect(world.up[0]).toBeDefined();
      expect(world.up[1]).toBe(world.up[0]);
      for (const state of world.states) expect(state.connections).toHaveLength(1);
    }),
    { numRuns: 500 },
  );
});

test('any events leave at most one established connection, and every session that came up goes down once', () => {
  const id = fc.integer({ min: 1, max: 3 });
  const message = fc.constantFrom(THEIRS, { type: 'keepalive' as const }, { ...THEIRS, as: 7 });
  const event = fc.oneof<fc.Arbitrary<PeerEvent>[]>(
    fc.constant(start),
    fc.constant({ type: 'stop', subcode: 2 }),
    fc.record({
      type: fc.constant('connected' as const),
      connection: id,
      direction: fc.constantFrom('in' as const, 'out' as const),
    }),
    fc.record({ type: fc.constant('message' as const), connection: id, message }),
    fc.record({ type: fc.constant('closed' as const), connection: id, why: fc.constant('x') }),
    fc.record({
      type: fc.constant('timer' as const),
      timer: fc.constantFrom('hold' as const, 'retry' as const),
      connection: id,
    }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let state = INITIAL;
      let up = 0;
      const open = new Set<number>();
      for (const e of events) {
        if (e.type === 'connected' && open.has(e.connection)) continue;
        if (e.type === 'connected') open.add(e.connection);
        const next = step(state, e, OPTIONS);
        state = next.state;
        for (const action of next.actions) {
          if (action.type === 'up') up += 1;
          if (action.type === 'down') up -= 1;
          if (action.type === 'close') open.delete(action.connection);
        }
        if (e.type === 'closed') open.delete(e.connection);
        expect(up).toBe(state.connections.filter((c) => c.phase === 'Established').length);
        expect(up).toBeLessThanOrEqual(1);
        expect(up).toBeGreaterThanOrEqual(0);
      }
    }),
    { numRuns: 1000 },
  );
});
