import { formatIp } from '@weft/net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum, decodeFrame, encodeFrame } from '../../src/dhcp/frame.ts';
import { classlessRoutes, leaseResult, readLease, staticRoutes } from '../../src/dhcp/lease.ts';
import { type ClientConfig, type ClientState, INITIAL, type Step, step } from '../../src/dhcp/machine.ts';
import { clientId, clientOptions } from '../../src/dhcp/options.ts';
import {
  decodeMessage,
  type DhcpMessage,
  encodeMessage,
  messageType,
  OPTION,
  TYPE,
  u32,
} from '../../src/dhcp/packet.ts';

const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
const ip = bytes(4).map(formatIp);
const mac = bytes(6).map((b) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join(':'));
const u16 = fc.nat(0xffff);

describe('messages', () => {
  const message: fc.Arbitrary<DhcpMessage> = fc.record({
    op: fc.constantFrom(1 as const, 2 as const),
    xid: fc.nat(0xffffffff),
    secs: u16,
    broadcast: fc.boolean(),
    ciaddr: ip,
    yiaddr: ip,
    siaddr: ip,
    giaddr: ip,
    chaddr: bytes(6),
    options: fc
      .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 254 }), fc.uint8Array({ maxLength: 600 })), {
        selector: ([code]) => code,
        maxLength: 8,
      })
      .map((list) => new Map(list.filter(([code]) => code !== OPTION.OVERLOAD))),
  });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(message, (m) => {
        expect(decodeMessage(encodeMessage(m))).toEqual(m);
      }),
    );
  });

  it('of any bytes are read or refused, never more', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.boolean(), (noise, real) => {
        if (real && noise.length >= 240) {
          noise.set([2, 1, 6]);
          noise.set([99, 130, 83, 99], 236);
        }
        const read = decodeMessage(noise);
        for (const [code, value] of read?.options ?? []) {
          expect(code).toBeGreaterThan(0);
          expect(value.length).toBeLessThanOrEqual(noise.length);
        }
        expect(() => (read === undefined ? undefined : readLease(read))).not.toThrow();
      }),
    );
  });

  it('go on in the fields of the boot file and the server name when they say so', () => {
    const raw = encodeMessage({ ...ack(), options: new Map([[OPTION.OVERLOAD, Uint8Array.of(3)]]) });
    raw.set([OPTION.ROUTER, 4, 10, 0, 0, 1, 255], 108);
    raw.set([OPTION.LEASE_TIME, 4, 0, 0, 1, 0, 255], 44);
    expect(decodeMessage(raw)?.options).toEqual(
      new Map([
        [OPTION.ROUTER, Uint8Array.of(10, 0, 0, 1)],
        [OPTION.LEASE_TIME, u32(256)],
      ]),
    );
  });
});

describe('frames', () => {
  it('are read as they were written, with right checksums', () => {
    const frame = fc.record({
      sourceMac: mac,
      destinationMac: mac,
      source: ip,
      destination: ip,
      sourcePort: u16,
      destinationPort: u16,
      payload: fc.uint8Array({ maxLength: 400 }),
    });
    fc.assert(
      fc.property(frame, (f) => {
        const raw = encodeFrame(f);
        expect(decodeFrame(raw)).toEqual(f);
        expect(checksum(raw.subarray(14, 34))).toBe(0);
        const udp = raw.subarray(34);
        expect(checksum(Uint8Array.of(...raw.subarray(26, 34), 0, 17, udp.length >> 8, udp.length & 255), udp)).toBe(0);
      }),
    );
  });

  it('that are cut off or something else are none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => {
        const read = decodeFrame(noise);
        if (read !== undefined) expect(read.payload.length).toBeLessThanOrEqual(noise.length - 42);
      }),
    );
  });
});

describe('options of a configuration', () => {
  it('are those of the reference by default', () => {
    expect(clientOptions({}, new Map())).toEqual(new Map([[OPTION.PARAMETER_LIST, Uint8Array.of(3, 1)]]));
  });

  it('are provided by value and by CNI_ARGS, requested by name and number', () => {
    const ipam = {
      provide: [
        { option: 'host-name', value: 'fixed', fromArg: 'K8S_POD_NAME' },
        { option: '60', value: 'weft' },
        { option: 'user-class', fromArg: 'ABSENT' },
      ],
      request: [{ skipDefault: true }, { option: 'routers' }, { option: '121' }, { option: '' }],
    };
    const options = clientOptions(ipam, new Map([['K8S_POD_NAME', 'web-0']]));
    const texts = [...options].map(([code, value]) => [code, Buffer.from(value).toString('latin1')]);
    expect(texts).toEqual([
      [12, 'web-0'],
      [60, 'weft'],
      [55, '\x03\x79'],
    ]);
  });

  it('are refused by name when there are none such', () => {
    expect(() => clientOptions({ request: [{ option: 'nope' }] }, new Map())).toThrow(
      /ipam\.request\[0\]\.option.*"nope"/,
    );
    expect(() => clientOptions({ provide: [{ option: '256', value: 'x' }] }, new Map())).toThrow(/not a DHCP option/);
    expect(() => clientOptions({ provide: [{ option: '60', value: 'x'.repeat(256) }] }, new Map())).toThrow(
      /255 bytes/,
    );
  });

  it('have a client identifier that always fits', () => {
    expect(Buffer.from(clientId('c', 'n', 'eth0')).toString('latin1')).toBe('\0c/n/eth0');
    expect(clientId('c'.repeat(300), 'n', 'eth0')).toHaveLength(255);
  });
});

describe('routes', () => {
  it('are classless before they are classful', () => {
    expect(
      classlessRoutes(Uint8Array.of(0, 10, 0, 0, 1, 24, 192, 0, 2, 10, 0, 0, 2, 32, 192, 0, 2, 9, 0, 0, 0, 0, 33)),
    ).toEqual([
      { dst: '0.0.0.0/0', gw: '10.0.0.1' },
      { dst: '192.0.2.0/24', gw: '10.0.0.2' },
      { dst: '192.0.2.9/32', scope: 253 },
    ]);
    expect(
      staticRoutes(Uint8Array.of(10, 1, 0, 0, 10, 0, 0, 1, 172, 16, 0, 0, 10, 0, 0, 1, 192, 0, 2, 0, 10, 0, 0, 1, 1)),
    ).toEqual([
      { dst: '10.0.0.0/8', gw: '10.0.0.1' },
      { dst: '172.16.0.0/16', gw: '10.0.0.1' },
      { dst: '192.0.2.0/24', gw: '10.0.0.1' },
    ]);
  });

  it('of any bytes end where they are cut off', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
        for (const route of [...classlessRoutes(noise), ...staticRoutes(noise)])
          expect(route.dst).toMatch(/^[\d.]+\/\d+$/);
      }),
    );
  });
});

const chaddr = Uint8Array.of(2, 0, 0, 0, 0, 1);
const config: ClientConfig = {
  chaddr,
  clientId: clientId('c', 'n', 'eth0'),
  options: clientOptions({}, new Map()),
  timeoutMs: 10_000,
  resendMaxMs: 62_000,
  resendTimeoutMs: 208_000,
  broadcast: false,
};

function ack(type: number = TYPE.ACK, xid = 0, change: Partial<DhcpMessage> = {}): DhcpMessage {
  return {
    op: 2,
    xid,
    secs: 0,
    broadcast: false,
    ciaddr: '0.0.0.0',
    yiaddr: '10.0.0.9',
    siaddr: '0.0.0.0',
    giaddr: '0.0.0.0',
    chaddr,
    options: new Map([
      [OPTION.MESSAGE_TYPE, Uint8Array.of(type)],
      [OPTION.SERVER_ID, Uint8Array.of(10, 0, 0, 1)],
      [OPTION.SUBNET_MASK, Uint8Array.of(255, 255, 254, 0)],
      [OPTION.ROUTER, Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 2)],
      [OPTION.LEASE_TIME, u32(1000)],
    ]),
    ...change,
  };
}

/** A client with a clock of its own. */
class Simulation {
  state: ClientState = INITIAL;
  now = 1_000_000;
  last: Step = { state: INITIAL, send: [] };

  do(event: Parameters<typeof step>[2]): Step {
    this.last = step(config, this.state, event, { now: this.now, random: () => 0.5 });
    this.state = this.last.state;
    return this.last;
  }

  /** Lets time pass until the client wants to be woken. */
  wake(): Step {
    this.now = this.state.wakeAt ?? this.now;
    return this.do({ type: 'timer' });
  }

  answer(type: number, change: Partial<DhcpMessage> = {}): Step {
    return this.do({ type: 'message', message: ack(type, this.state.xid, change) });
  }

  bind(): this {
    this.do({ type: 'start' });
    this.answer(TYPE.OFFER);
    this.answer(TYPE.ACK);
    return this;
  }

  get sent(): readonly [number, string | undefined, string][] {
    return this.last.send.map(({ message, to }) => [messageType(message), to, message.ciaddr]);
  }
}

describe('the client', () => {
  it('discovers, requests what is offered, and has a lease', () => {
    const client = new Simulation();
    client.do({ type: 'start' });
    expect(client.sent).toEqual([[TYPE.DISCOVER, undefined, '0.0.0.0']]);
    client.answer(TYPE.OFFER);
    expect(client.sent).toEqual([[TYPE.REQUEST, undefined, '0.0.0.0']]);
    expect(client.last.send[0]?.message.options.get(OPTION.REQUESTED_IP)).toEqual(Uint8Array.of(10, 0, 0, 9));
    const { outcome } = client.answer(TYPE.ACK);
    expect(outcome?.type).toBe('leased');
    expect(client.state).toMatchObject({ phase: 'bound', wakeAt: client.now + 500_000 });
    expect(leaseResult(client.state.lease as NonNullable<ClientState['lease']>, 7)).toEqual({
      ips: [{ address: '10.0.0.9/23', gateway: '10.0.0.1' }],
      routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1', priority: 7 }],
    });
  });

  it('asks again, less and less often, and gives up when nobody answers', () => {
    const client = new Simulation();
    const start = client.now;
    client.do({ type: 'start' });
    const times: number[] = [];
    while (client.state.phase !== 'ended' && times.length < 100) {
      client.wake();
      if (client.last.send.length > 0) times.push((client.now - start) / 1000);
    }
    expect(times.slice(0, 7)).toEqual([2, 4, 6, 8, 12, 20, 36]);
    expect(client.last.outcome).toMatchObject({ type: 'failed', why: 'no DHCP server made an offer within 208 s' });
  });

  it('looks for another server when the one that offered falls silent, or refuses', () => {
    const client = new Simulation();
    client.do({ type: 'start' });
    client.answer(TYPE.OFFER);
    const until = client.now + config.timeoutMs;
    while (client.now < until) client.wake();
    expect(client.sent[0]?.[0]).toBe(TYPE.DISCOVER);
    client.answer(TYPE.OFFER);
    const before = client.state.xid;
    const env = { now: client.now, random: () => 0.25 };
    const refused = step(config, client.state, { type: 'message', message: ack(TYPE.NAK, before) }, env);
    expect(refused.state.phase).toBe('selecting');
    expect(refused.state.xid).not.toBe(before);
  });

  it('renews by its server, then by any, and loses the address at the end of the lease', () => {
    const client = new Simulation().bind();
    client.wake();
    expect(client.sent).toEqual([[TYPE.REQUEST, '10.0.0.1', '10.0.0.9']]);
    expect(client.last.send[0]?.message.options.has(OPTION.SERVER_ID)).toBe(false);
    const leased = client.state.leasedAt;
    while (client.state.phase === 'renewing') client.wake();
    expect(client.now - leased).toBe(850_000);
    expect(client.sent).toEqual([[TYPE.REQUEST, undefined, '10.0.0.9']]);
    while (client.state.phase === 'rebinding') client.wake();
    expect(client.now - leased).toBe(1_000_000);
    expect(client.last.outcome).toMatchObject({ type: 'lost', why: 'the lease has expired' });
  });

  it('goes on for another term with each answer', () => {
    const client = new Simulation().bind();
    for (let i = 0; i < 5; i++) {
      client.wake();
      expect(client.answer(TYPE.ACK, { yiaddr: '10.0.0.9' }).outcome?.type).toBe('leased');
      expect(client.state).toMatchObject({ phase: 'bound', wakeAt: client.now + 500_000 });
    }
  });

  it('does without the address when the server says so, or gives another', () => {
    const refused = new Simulation().bind();
    refused.wake();
    expect(refused.answer(TYPE.NAK).outcome).toMatchObject({ type: 'lost' });
    const another = new Simulation().bind();
    another.do({ type: 'check' });
    expect(another.answer(TYPE.ACK, { yiaddr: '10.0.0.10' }).outcome).toMatchObject({ type: 'lost' });
  });

  it('gives the address back', () => {
    const client = new Simulation().bind();
    client.do({ type: 'stop' });
    expect(client.sent).toEqual([[TYPE.RELEASE, '10.0.0.1', '10.0.0.9']]);
    expect(client.last.send[0]?.message.options.get(OPTION.SERVER_ID)).toEqual(Uint8Array.of(10, 0, 0, 1));
    expect(client.do({ type: 'stop' }).send).toEqual([]);
    const without = new Simulation();
    without.do({ type: 'start' });
    expect(without.do({ type: 'stop' }).send).toEqual([]);
  });

  it('hears only what is meant for it', () => {
    const client = new Simulation();
    client.do({ type: 'start' });
    for (const change of [
      { xid: client.state.xid ^ 1 },
      { op: 1 as const },
      { chaddr: Uint8Array.of(9, 9, 9, 9, 9, 9) },
      { yiaddr: '0.0.0.0' },
    ])
      expect(client.answer(TYPE.OFFER, change).state.phase).toBe('selecting');
    client.answer(TYPE.OFFER);
    const options = new Map([...ack().options, [OPTION.SERVER_ID, Uint8Array.of(10, 0, 0, 66)]] as const);
    expect(client.answer(TYPE.ACK, { options }).state.phase).toBe('requesting');
  });

  it('always has a timer, or has ended, whatever happens in whatever order', () => {
    const event = fc.oneof(
      fc.constant({ type: 'timer' } as const),
      fc.constant({ type: 'check' } as const),
      fc.record({
        type: fc.constant('answer' as const),
        kind: fc.constantFrom(TYPE.OFFER, TYPE.ACK, TYPE.NAK),
        yiaddr: fc.constantFrom('10.0.0.9', '10.0.0.10', '0.0.0.0'),
        lease: fc.constantFrom(0, 1, 60, 0xffffffff),
      }),
      fc.record({ type: fc.constant('wait' as const), ms: fc.nat(2_000_000) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const client = new Simulation();
        client.do({ type: 'start' });
        for (const e of events) {
          if (e.type === 'wait') client.now += e.ms;
          else if (e.type === 'answer') {
            const options = new Map([...ack(e.kind).options, [OPTION.LEASE_TIME, u32(e.lease)]] as const);
            client.answer(e.kind, { yiaddr: e.yiaddr, options });
          } else client.do(e);
          const { phase, wakeAt, lease } = client.state;
          if (phase === 'ended') expect(wakeAt).toBeUndefined();
          else expect(wakeAt).toBeGreaterThan(0);
          if (['bound', 'renewing', 'rebinding'].includes(phase)) expect(lease).toBeDefined();
          for (const { message } of client.last.send) expect(decodeMessage(encodeMessage(message))).toEqual(message);
        }
      }),
    );
  });
});
