import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BgpBed, type Daemon, eventually, type Host, learned, own, PATIENCE, peer, run, states } from './bed.ts';

let bed: BgpBed;
let us: Host;
let them: Host;

beforeEach(async () => {
  bed = new BgpBed();
  us = await bed.host(1);
  them = await bed.host(2);
});
afterEach(async () => {
  await bed.close();
});

/** BIRD's side of a session with us. */
function session(options = '', as = 64512): string {
  return `
    protocol static s4 { ipv4; route 10.50.0.0/24 blackhole; route 10.50.1.0/24 blackhole; }
    protocol static s6 { ipv6; route fd50::/64 blackhole; }
    protocol bgp weft {
      local ${them.ip} as ${as};
      neighbor ${us.ip} as 64512;
      connect delay time 1; connect retry time 1; error wait time 1, 2;
      ipv4 { import all; export all; next hop self; };
      ipv6 { import all; export all; next hop address ${them.ip6}; };
      ${options}
    }`;
}

const THEIRS = (): string[] => [
  `10.50.0.0/24 via ${them.ip}`,
  `10.50.1.0/24 via ${them.ip}`,
  `fd50::/64 via ${them.ip6}`,
];

/** Prefixes that BIRD has from us. */
function has(bird: Daemon): string[] {
  return [...bird.ask('show route protocol weft').matchAll(/^(\S+\/\d+)/gm)].map((m) => m[1] ?? '').sort();
}

describe('BIRD', () => {
  it('and we tell each other IPv4 and IPv6 routes, whoever dials, with what we say of them', async () => {
    const bird = bed.bird(them, session('passive on;'));
    const routes = [...own('10.60.0.0/24'), ...own('fd60::/64')].map((route) => ({
      ...route,
      attributes: {
        ...route.attributes,
        med: 7,
        communities: [(64512 << 16) >>> 0, 0x00010002],
        largeCommunities: [[1, 2, 3] as const],
      },
    }));
    const speaker = bed.speaker(us, { peers: [peer(us, them)], routes });
    await eventually(() => learned(speaker), THEIRS());
    await eventually(() => has(bird), ['10.60.0.0/24', 'fd60::/64']);
    const all = bird.ask('show route protocol weft all');
    for (const part of [
      'BGP.med: 7',
      'BGP.local_pref: 100',
      'BGP.community: (64512,0) (1,2)',
      'BGP.large_community: (1, 2, 3)',
    ])
      expect(all).toContain(part);
    expect(all).toContain(`BGP.next_hop: ${us.ip6}`);
    // Now they dial, and we wait.
    speaker.configure({ ...speaker.self, peers: [peer(us, them, { passive: true, holdTime: 12 })] });
    expect(states(speaker)).toEqual(['Active']);
    bird.ask('configure soft');
    await bird.stop();
    const active = bed.bird(them, session());
    await eventually(() => states(speaker), ['Established']);
    await eventually(() => has(active), ['10.60.0.0/24', 'fd60::/64']);
    speaker.configure({ ...speaker.self, routes: own('10.61.0.0/24') });
    await eventually(() => has(active), ['10.61.0.0/24']);
  });

  it('in another AS sees our AS, and we see theirs', async () => {
    const bird = bed.bird(them, session('', 4_200_000_001));
    const speaker = bed.speaker(us, { peers: [peer(us, them, { as: 4_200_000_001 })], routes: own('10.60.0.0/24') });
    await eventually(() => learned(speaker), THEIRS());
    expect(speaker.rib.best('10.50.0.0/24')[0]?.route.attributes.asPath).toEqual([
      { kind: 'sequence', ases: [4_200_000_001] },
    ]);
    await eventually(() => has(bird), ['10.60.0.0/24']);
    expect(bird.ask('show route protocol weft all')).toContain('BGP.as_path: 64512');
  });

  it('needs the same key', async () => {
    bed.bird(them, session('password "sesame"; passive on;'));
    const speaker = bed.speaker(us, { peers: [peer(us, them, { password: 'sesame' })] });
    await eventually(() => states(speaker), ['Established']);
    speaker.configure({ ...speaker.self, peers: [peer(us, them, { password: 'other' })] });
    // Two attempts fail in turn; the reason names what is seen of it.
    await expect.poll(() => speaker.sessions()[0]?.lastError, PATIENCE).toBe('no answer');
    expect(states(speaker)).not.toContain('Established');
    speaker.configure({ ...speaker.self, peers: [peer(us, them, { password: 'sesame' })] });
    await eventually(() => states(speaker), ['Established']);
  });

  it('may dial us with a key, and not without', async () => {
    bed.bird(them, session('password "sesame";'));
    const speaker = bed.speaker(us, { peers: [peer(us, them, { password: 'sesame', passive: true })] });
    await eventually(() => states(speaker), ['Established']);
  });

  it('comes back after flaps of the session and of the link', async () => {
    const bird = bed.bird(them, session());
    const speaker = bed.speaker(us, { peers: [peer(us, them, { holdTime: 3 })], routes: own('10.60.0.0/24') });
    for (let i = 0; i < 3; i++) {
      await eventually(() => learned(speaker), THEIRS());
      await eventually(() => has(bird), ['10.60.0.0/24']);
      bird.ask('disable weft');
      await eventually(() => learned(speaker), []);
      bird.ask('enable weft');
    }
    await eventually(() => states(speaker), ['Established']);
    await bed.plug(2, false);
    await expect.poll(() => states(speaker), PATIENCE).not.toEqual(['Established']);
    await bed.plug(2, true);
    await eventually(() => states(speaker), ['Established']);
    await eventually(() => learned(speaker), THEIRS());
  });

  it('withdraws routes, is asked to send them again, and asks us', async () => {
    const bird = bed.bird(them, session());
    const speaker = bed.speaker(us, { peers: [peer(us, them)], routes: own('10.60.0.0/24') });
    await eventually(() => learned(speaker), THEIRS());
    bird.ask('disable s4');
    await eventually(() => learned(speaker), [`fd50::/64 via ${them.ip6}`]);
    bird.ask('enable s4');
    await eventually(() => learned(speaker), THEIRS());
    await eventually(() => has(bird), ['10.60.0.0/24']);
    const before = speaker.sessions()[0]?.counters.updatesOut ?? 0;
    bird.ask('reload in weft');
    await expect.poll(() => speaker.sessions()[0]?.counters.updatesOut, PATIENCE).toBeGreaterThan(before);
    expect(has(bird)).toEqual(['10.60.0.0/24']);
  });

  it('keeps our routes while we restart, and we keep theirs', async () => {
    const kernel = 'protocol kernel k4 { ipv4 { import none; export where source = RTS_BGP; }; }';
    const bird = bed.bird(them, `${session('graceful restart on; long lived graceful restart off;')}${kernel}`);
    const peers = [peer(us, them, { holdTime: 30 })];
    const first = bed.speaker(us, { peers, routes: own('10.60.0.0/24', '10.61.0.0/24') });
    await eventually(() => run(them.ns, 'ip', 'route', 'show', 'proto', 'bird').match(/10\.6\d/g), ['10.60', '10.61']);
    first.stop(true);
    await expect
      .poll(() => bird.ask('show protocols all weft'), PATIENCE)
      .toContain('Neighbor graceful restart active');
    expect(run(them.ns, 'ip', 'route')).toContain('10.61.0.0/24');
    let complete = 0;
    const second = bed.speaker(
      us,
      { peers, routes: own('10.60.0.0/24') },
      { restarting: true, onComplete: () => (complete += 1) },
    );
    await eventually(() => run(them.ns, 'ip', 'route', 'show', 'proto', 'bird').match(/10\.6\d/g), ['10.60']);
    await eventually(() => complete, 1);
    await eventually(() => learned(second), THEIRS());
    // Theirs: a crash keeps the routes, and what is not told again goes.
    await bird.stop('SIGKILL');
    await expect.poll(() => states(second), PATIENCE).not.toEqual(['Established']);
    expect(learned(second)).toEqual(THEIRS());
    expect(second.rib.stale(them.ip)).toBe(3);
    bed.bird(them, session('graceful restart on;').replace('route 10.50.1.0/24 blackhole;', ''));
    await eventually(() => learned(second), [`10.50.0.0/24 via ${them.ip}`, `fd50::/64 via ${them.ip6}`]);
    expect(second.rib.stale(them.ip)).toBe(0);
  });

  it('is told why when it breaks the agreement', async () => {
    bed.bird(them, session());
    const speaker = bed.speaker(us, { peers: [peer(us, them, { as: 65001 })] });
    const error = /Bad Peer AS|is in AS 64512, not 65001/;
    await expect.poll(() => speaker.sessions()[0]?.lastError, PATIENCE).toMatch(error);
    speaker.configure({ ...speaker.self, peers: [peer(us, them, { maxPrefixes: 1 })] });
    await expect.poll(() => speaker.sessions()[0]?.lastError, PATIENCE).toContain('Maximum Number of Prefixes');
  });

  it('as a client of our reflector gets the routes of other clients with their next hops', async () => {
    const third = await bed.host(3);
    const bird = bed.bird(them, session());
    const client = bed.speaker(third, { peers: [peer(third, us)], routes: own('10.70.0.0/24') });
    const peers = [peer(us, them, { client: true }), peer(us, third, { client: true })];
    const reflector = bed.speaker(us, { clusterId: '244.0.0.1', peers });
    await eventually(() => has(bird), ['10.70.0.0/24']);
    const all = bird.ask('show route protocol weft all');
    expect(all).toContain(`BGP.next_hop: ${third.ip}`);
    expect(all).toContain(`BGP.originator_id: ${third.ip}`);
    expect(all).toContain('BGP.cluster_list: 244.0.0.1');
    await eventually(() => learned(client), THEIRS());
    reflector.configure({ ...reflector.self, peers: [peer(us, third, { client: true })] });
    await eventually(() => learned(client), []);
  });
});
