import { describe, expect, it } from 'vitest';
import { CacheHandler, type CacheMetrics, type CacheOptions } from '../../src/plugins/cache/handler.ts';
import type { Handler, Outcome, Reply } from '../../src/server/handler.ts';
import { INTERNAL, Request } from '../../src/server/request.ts';
import {
  encodeQuery,
  FLAG,
  isRejected,
  keyFromText,
  nameFromText,
  parseQuery,
  RCODE,
  rdata,
  record,
  TYPE,
} from '../../src/wire/index.ts';

const SHELF = { capacity: 100, maxTtl: 3600, minTtl: 5, disabled: [] };

interface Setup {
  readonly cache: CacheHandler;
  readonly clock: { now: number };
  readonly metrics: CacheMetrics;
  /** Answers of the plugin behind, in order; the last one stays. */
  readonly behind: (Outcome | Promise<Outcome>)[];
  asked: number;
  ask(name?: string, options?: { type?: number; flags?: number; do?: boolean }): Promise<Reply>;
}

function setup(options: Partial<CacheOptions> = {}): Setup {
  const clock = { now: 1_000_000 };
  const cell = () => ({ value: 0 });
  const metrics: CacheMetrics = {
    hits: { success: cell(), denial: cell() },
    misses: cell(),
    requests: cell(),
    prefetches: cell(),
    stale: cell(),
    drops: cell(),
  };
  const cache = new CacheHandler(
    {
      zones: ['.'],
      success: SHELF,
      denial: { ...SHELF, maxTtl: 1800 },
      servfailTtl: 5,
      prefetch: undefined,
      stale: undefined,
      keepTtl: false,
      ...options,
    },
    metrics,
    { now: () => clock.now },
  );
  const self: Setup = {
    cache,
    clock,
    metrics,
    behind: [],
    asked: 0,
    async ask(name = 'a.org.', { type = TYPE.A, flags = FLAG.RD, do: dnssec = false } = {}) {
      const edns = dnssec ? { udpSize: 1232, flags: 0x8000, options: new Uint8Array() } : undefined;
      const query = parseQuery(encodeQuery({ id: 1, flags, name: nameFromText(name), type, class: 1, edns }));
      if (isRejected(query)) throw new Error('rejected');
      const outcome = await cache.serve(new Request(query, INTERNAL), () => {
        self.asked += 1;
        const answer = self.behind.length > 1 ? self.behind.shift() : self.behind[0];
        if (answer === undefined) throw new Error('nothing behind');
        return answer;
      });
      if (outcome.kind === 'failure') return { ...answered([], RCODE.SERVFAIL), by: 'failure' };
      return outcome;
    },
  };
  return self;
}

const soa = rdata.soa({
  mname: Uint8Array.of(0),
  rname: Uint8Array.of(0),
  serial: 1,
  refresh: 1,
  retry: 1,
  expire: 1,
  minimum: 1,
});

function answered(ttls: readonly number[], rcode: number = RCODE.NOERROR, soaTtl?: number): Reply {
  return {
    kind: 'reply',
    by: 'forward',
    rcode,
    flags: FLAG.RA | FLAG.AD,
    answers: ttls.map((ttl, i) => record(nameFromText('a.org.'), TYPE.A, ttl, rdata.a(i + 1))),
    authority: soaTtl === undefined ? [] : [record(nameFromText('org.'), TYPE.SOA, soaTtl, soa)],
    additional: [],
  };
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('cache', () => {
  it('answers from memory while the smallest TTL lasts, counting down', async () => {
    const s = setup();
    s.behind.push(answered([60, 300]));
    expect((await s.ask()).ttl).toBe(60);
    s.clock.now += 10_900;
    expect((await s.ask()).ttl).toBe(50);
    s.clock.now += 49_000;
    expect((await s.ask()).ttl).toBe(1);
    expect(s.asked).toBe(1);
    s.clock.now += 100;
    await s.ask();
    expect(s.asked).toBe(2);
    expect([s.metrics.requests.value, s.metrics.misses.value, s.metrics.hits.success.value]).toEqual([4, 2, 2]);
  });

  it('gives the owner the letter case of whoever asks', async () => {
    const s = setup();
    s.behind.push(answered([60]));
    await s.ask('a.org.');
    expect((await s.ask('A.oRg.')).answers[0]?.name).toBeUndefined();
  });

  it.each([
    ['no TTL above the limit', { success: { ...SHELF, maxTtl: 30 } }, answered([600]), 30],
    ['none below it', {}, answered([1]), 5],
    ['denials as the SOA says', {}, answered([], RCODE.NXDOMAIN, 20), 20],
    ['denials at most half an hour', {}, answered([], RCODE.NOERROR, 9000), 1800],
    ['server failures for five seconds', {}, answered([], RCODE.SERVFAIL), 5],
  ])('%s', async (_, options, reply, ttl) => {
    const s = setup(options);
    s.behind.push(reply);
    expect((await s.ask()).ttl).toBe(ttl);
    s.clock.now += (ttl - 1) * 1000;
    expect((await s.ask()).ttl).toBe(1);
    expect(s.asked).toBe(1);
    s.clock.now += 1000;
    await s.ask();
    expect(s.asked).toBe(2);
  });

  it.each([
    ['cut answers', { ...answered([60]), flags: FLAG.TC }],
    ['NXDOMAIN without SOA', answered([], RCODE.NXDOMAIN)],
    ['REFUSED', answered([], RCODE.REFUSED)],
    ['answers that a plugin owns', { ...answered([60]), own: true }],
  ])('does not keep %s', async (_, reply) => {
    const s = setup();
    s.behind.push(reply);
    await s.ask();
    await s.ask();
    expect(s.asked).toBe(2);
  });

  it('keeps answers apart by type, DO and CD', async () => {
    const s = setup();
    s.behind.push(answered([60]));
    await s.ask('a.org.', { type: TYPE.A });
    await s.ask('a.org.', { type: TYPE.AAAA });
    await s.ask('a.org.', { do: true });
    await s.ask('a.org.', { flags: FLAG.CD });
    expect(s.asked).toBe(4);
    await s.ask('a.org.', { flags: FLAG.CD });
    expect(s.asked).toBe(4);
  });

  it('shows AD only to those who ask for it', async () => {
    const s = setup();
    s.behind.push(answered([60]));
    const bits: number[] = [];
    for (const options of [{}, {}, { flags: FLAG.AD }, { do: true }])
      bits.push((await s.ask('a.org.', options)).flags & FLAG.AD);
    expect(bits).toEqual([0, 0, FLAG.AD, FLAG.AD]);
  });

  it('a failure does not hide a good answer', async () => {
    const s = setup({ stale: { forMs: 3_600_000, mode: 'verify', timeoutMs: 0 } });
    s.behind.push(answered([10]), answered([], RCODE.SERVFAIL));
    await s.ask();
    s.clock.now += 20_000;
    expect((await s.ask()).rcode).toBe(RCODE.NOERROR);
    expect((await s.ask()).rcode).toBe(RCODE.NOERROR);
  });

  it('throws out the oldest when full', async () => {
    const s = setup({ success: { ...SHELF, capacity: 2 } });
    s.behind.push(answered([60]));
    for (const name of ['a.', 'b.', 'c.']) await s.ask(name);
    expect(s.asked).toBe(3);
    await s.ask('c.');
    await s.ask('b.');
    expect(s.asked).toBe(3);
    await s.ask('a.');
    expect(s.asked).toBe(4);
    expect([s.cache.success.size, s.cache.success.evictions]).toEqual([2, 2]);
  });

  it('does not keep what is disabled', async () => {
    const s = setup({ denial: { ...SHELF, disabled: ['org.'] } });
    s.behind.push(answered([], RCODE.NXDOMAIN, 60));
    await s.ask('a.org.');
    await s.ask('a.org.');
    expect(s.asked).toBe(2);
    await s.ask('a.com.');
    await s.ask('a.com.');
    expect(s.asked).toBe(3);
  });

  it('asks plugins that own a name instead of remembering', async () => {
    const s = setup();
    s.behind.push(answered([60]));
    let owned = false;
    const owner: Handler = {
      name: 'owner',
      serve: (request, next) => next(request),
      owns: (key) => owned && key === keyFromText('a.org.'),
    };
    s.cache.linked([owner]);
    await s.ask();
    await s.ask();
    expect(s.asked).toBe(1);
    owned = true;
    await s.ask();
    expect(s.asked).toBe(2);
  });

  it('refreshes popular answers before they expire, once at a time', async () => {
    const s = setup({ prefetch: { amount: 2, gapMs: 60_000, percent: 10 } });
    s.behind.push(answered([100]));
    await s.ask();
    s.clock.now += 50_000;
    await s.ask();
    await tick();
    expect(s.asked).toBe(1);
    s.clock.now += 41_000;
    await s.ask();
    await s.ask();
    await tick();
    expect([s.asked, s.metrics.prefetches.value]).toEqual([2, 2]);
    expect((await s.ask()).ttl).toBe(100);
  });

  it('serves stale answers with TTL 0 while it asks again', async () => {
    const s = setup({ stale: { forMs: 3_600_000, mode: 'immediate', timeoutMs: 0 } });
    s.behind.push(answered([10]), answered([77]));
    await s.ask();
    s.clock.now += 60_000;
    expect((await s.ask()).ttl).toBe(0);
    await tick();
    expect((await s.ask()).ttl).toBe(77);
    expect(s.metrics.stale.value).toBe(1);
    s.clock.now += 3_600_000 + 78_000;
    await s.ask();
    expect(s.metrics.stale.value).toBe(1);
  });

  it('verify asks first and serves stale when that fails', async () => {
    const s = setup({ stale: { forMs: 3_600_000, mode: 'verify', timeoutMs: 0 } });
    s.behind.push(answered([10]), { kind: 'failure', rcode: RCODE.SERVFAIL, by: 'forward' });
    await s.ask();
    s.clock.now += 60_000;
    const reply = await s.ask();
    expect([reply.rcode, reply.ttl, reply.answers.length]).toEqual([RCODE.NOERROR, 0, 1]);
    s.behind[0] = answered([33]);
    expect((await s.ask()).ttl).toBe(33);
  });

  it('verify does not wait longer than it is told to', async () => {
    const s = setup({ stale: { forMs: 3_600_000, mode: 'verify', timeoutMs: 5 } });
    s.behind.push(answered([10]), new Promise<Outcome>(() => {}));
    await s.ask();
    s.clock.now += 60_000;
    expect((await s.ask()).ttl).toBe(0);
  });

  it('keepttl does not count down', async () => {
    const s = setup({ keepTtl: true });
    s.behind.push(answered([60]));
    await s.ask();
    s.clock.now += 30_000;
    expect((await s.ask()).ttl).toBe(60);
  });
});

describe('stale answers', () => {
  const stale = { forMs: 3_600_000, mode: 'immediate', timeoutMs: 0 } as const;
  const failed: Outcome = { kind: 'failure', rcode: RCODE.SERVFAIL, by: 'forward' };

  it('may be kept for as long as told, and a refresh that failed is not made again at once', async () => {
    const s = setup({ stale: { ...stale, ttl: 30, recheckMs: 10_000 } });
    s.behind.push(answered([10]), failed);
    await s.ask();
    s.clock.now += 60_000;
    expect((await s.ask()).ttl).toBe(30);
    await tick();
    expect(s.asked).toBe(2);
    s.clock.now += 9000;
    await s.ask();
    await tick();
    expect(s.asked).toBe(2);
    s.clock.now += 1000;
    await s.ask();
    await tick();
    expect(s.asked).toBe(3);
  });

  it.each([
    ['immediate', [RCODE.NOERROR, RCODE.NOERROR, RCODE.NOERROR]],
    ['verify', [RCODE.NOERROR, RCODE.NOERROR, RCODE.NOERROR]],
  ] as const)('are preferred to denials in mode %s when asked for', async (mode, rcodes) => {
    const s = setup({ stale: { ...stale, mode, preferPositive: true } });
    s.behind.push(answered([10]), answered([], RCODE.NXDOMAIN, 20));
    const seen: number[] = [(await s.ask()).rcode];
    s.clock.now += 60_000;
    seen.push((await s.ask()).rcode);
    await tick();
    seen.push((await s.ask()).rcode);
    expect(seen).toEqual(rcodes);
    // A good one is taken at once, and one that is too old is not.
    s.behind.length = 0;
    s.behind.push(answered([50]));
    await s.ask();
    await tick();
    expect((await s.ask()).ttl).toBe(50);
    s.behind.length = 0;
    s.behind.push(answered([], RCODE.NXDOMAIN, 20));
    s.clock.now += 3_700_000;
    expect((await s.ask()).rcode).toBe(RCODE.NXDOMAIN);
  });

  it('are not preferred otherwise', async () => {
    const s = setup({ stale: { ...stale, mode: 'verify' } });
    s.behind.push(answered([10]), answered([], RCODE.NXDOMAIN, 20));
    await s.ask();
    s.clock.now += 60_000;
    expect((await s.ask()).rcode).toBe(RCODE.NXDOMAIN);
  });
});
