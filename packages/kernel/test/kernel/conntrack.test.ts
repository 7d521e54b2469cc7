import { execFileSync } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Conntrack,
  expr as x,
  type FlowEvent,
  type NetNs,
  Nft,
  NftBatch,
  Rtnl,
  values as v,
  writeSysctl,
} from '../../src/index.ts';
import { inside, Namespaces } from './netns-fixture.ts';

const namespaces = new Namespaces();
let ns: NetNs;
let conntrack: Conntrack;
let server: Server;

beforeAll(async () => {
  ns = namespaces.make();
  const rtnl = Rtnl.open(ns);
  await rtnl.links.set('lo', { up: true });
  rtnl.close();
  conntrack = Conntrack.open(ns);
  writeSysctl('net.netfilter.nf_conntrack_acct', '1', ns);
  const nft = Nft.open(ns);
  const b = new NftBatch();
  b.addTable({ family: 'inet', name: 't' });
  b.addChain({ family: 'inet', table: 't', name: 'out', hook: { type: 'filter', hook: 'output', priority: 0 } });
  b.addRule({
    family: 'inet',
    table: 't',
    chain: 'out',
    exprs: [
      x.ct('state', x.reg32(0)),
      x.bitwise({ sreg: x.reg32(0), dreg: x.reg32(0), mask: v.u32ne(v.CT_STATE.new) }),
      x.cmp('neq', x.reg32(0), v.u32ne(0)),
      x.meta('l4proto', x.reg32(0)),
      x.cmp('eq', x.reg32(0), v.proto('udp')),
      x.immediate(x.reg32(0), v.u32ne(0x77)),
      x.ctSet('mark', x.reg32(0)),
    ],
  });
  await nft.commit(b);
  nft.close();
  server = createServer((socket) => socket.end('x'));
  ns.run(() => server.listen(8080));
});

afterAll(() => {
  server.close();
  conntrack.close();
  namespaces.close();
});

function udp(port: number): void {
  ns.run(() => execFileSync('bash', ['-c', `echo hi > /dev/udp/127.0.0.1/${port}`], { stdio: 'ignore' }));
}

describe('conntrack', () => {
  test('flows agree with the conntrack program; filters; deletion', async () => {
    udp(1001);
    udp(1002);
    const flows = await conntrack.dump({ family: 4, proto: 17 });
    expect(flows.map((f) => f.orig.dport).sort((a, b) => a - b)).toEqual([1001, 1002]);
    const [flow] = flows;
    if (flow === undefined) throw new Error('no flow');
    const listed = inside(ns, 'conntrack', '-L', '-p', 'udp', '-o', 'id', '-d', '127.0.0.1');
    const line = listed.split('\n').find((l) => l.includes(`id=${flow.id}`)) ?? '';
    expect(line).toContain(`sport=${flow.orig.sport} dport=${flow.orig.dport}`);
    expect(line).toContain(`mark=${flow.mark}`);
    expect(flow).toMatchObject({
      family: 4,
      proto: 17,
      mark: 0x77,
      orig: { src: '127.0.0.1', dst: '127.0.0.1' },
      reply: { src: '127.0.0.1', dst: '127.0.0.1', sport: flow.orig.dport, dport: flow.orig.sport },
    });
    expect(flow.status & v.CT_STATUS.confirmed).not.toBe(0);
    expect(flow.counters?.orig.packets).toBe(1n);
    expect(await conntrack.dump({ mark: { value: 0x77 } })).toHaveLength(2);
    expect(await conntrack.dump({ mark: { value: 0x07, mask: 0x0f } })).toHaveLength(2);
    expect(await conntrack.dump({ mark: { value: 0x78 } })).toHaveLength(0);
    expect(await conntrack.delete(flow)).toBe(true);
    expect(await conntrack.delete(flow)).toBe(false);
    expect(await conntrack.deleteWhere({ proto: 17 }, (f) => f.orig.dport === 1002 || f.orig.dport === 1001)).toBe(1);
    expect(await conntrack.dump({ proto: 17 })).toEqual([]);
  });

  test('a flow is found by its tuple alone', async () => {
    udp(1003);
    const [flow] = await conntrack.dump({ proto: 17 });
    if (flow === undefined) throw new Error('no flow');
    expect(await conntrack.delete({ family: 4, proto: 17, ...flow.orig })).toBe(true);
  });

  test('events arrive in the event loop', async () => {
    const events: FlowEvent[] = [];
    let lost = 0;
    await new Promise<void>((resolve, reject) => {
      const sub = conntrack.subscribe(
        ['new', 'update', 'destroy'],
        (e) => {
          events.push(e);
          if (e.type !== 'destroy') return;
          sub.close();
          resolve();
        },
        () => {
          lost += 1;
        },
      );
      const client = 'exec 3<>/dev/tcp/127.0.0.1/8080; cat <&3';
      import('node:child_process').then(({ spawn }) => {
        const child = ns.run(() => spawn('bash', ['-c', client], { stdio: 'ignore' }));
        child.once('error', reject);
        child.once('exit', () => {
          conntrack.deleteWhere({ proto: 6 }, (f) => f.orig.dport === 8080).catch(reject);
        });
      }, reject);
    });
    expect(lost).toBe(0);
    expect(events[0]).toMatchObject({ type: 'new', flow: { proto: 6, orig: { dport: 8080 } } });
    expect(events.some((e) => e.type === 'update' && e.flow.tcpState === 3)).toBe(true);
    expect(events.at(-1)?.flow.id).toBe(events[0]?.flow.id);
  });

  test('events that do not fit the buffer are said to be lost, later ones arrive', async () => {
    let lost = 0;
    let wanted = 0;
    const done = new Promise<number>((resolve) => {
      const sub = conntrack.subscribe(
        ['new'],
        (e) => {
          if (e.flow.orig.dport !== 5999) return;
          wanted += 1;
          sub.close();
          resolve(wanted);
        },
        () => {
          lost += 1;
          // A flow made after the loss; the buffer has been read by then.
          setImmediate(() => udp(5999));
        },
        { buffer: 2048 },
      );
    });
    // Synchronous: the event loop, and so the reader, stands still meanwhile.
    ns.run(() =>
      execFileSync('bash', ['-c', 'for p in $(seq 3000 3400); do echo x > /dev/udp/127.0.0.1/$p; done'], {
        stdio: 'ignore',
      }),
    );
    expect(await done).toBe(1);
    expect(lost).toBeGreaterThan(0);
  });
});
