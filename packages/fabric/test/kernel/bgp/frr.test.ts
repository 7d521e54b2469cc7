import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BgpBed, type Daemon, eventually, type Host, learned, own, PATIENCE, peer, states } from './bed.ts';

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

/** FRR's side of a session with us. */
function config(as: number, more = '', routerMore = ''): string {
  return `
router bgp ${as}
 bgp router-id ${them.ip}
 no bgp ebgp-requires-policy
 no bgp network import-check
 ${routerMore}
 neighbor ${us.ip} remote-as 64512
 neighbor ${us.ip} timers 3 9
 neighbor ${us.ip} timers connect 1
 ${more}
 address-family ipv4 unicast
  network 10.50.0.0/24
  neighbor ${us.ip} next-hop-self
 exit-address-family
 address-family ipv6 unicast
  network fd50::/64
  neighbor ${us.ip} activate
  neighbor ${us.ip} route-map six out
 exit-address-family
!
route-map six permit 10
 set ipv6 next-hop global ${them.ip6}
!`;
}

const THEIRS = (): string[] => [`10.50.0.0/24 via ${them.ip}`, `fd50::/64 via ${them.ip6}`];

/** Prefixes that FRR has from us. */
function has(frr: Daemon): string[] {
  const all = ['ipv4', 'ipv6'].flatMap((family) => {
    const text = frr.ask(`show bgp ${family} unicast neighbors ${us.ip} routes json`);
    return text.trim().startsWith('{') ? Object.keys((JSON.parse(text) as { routes?: object }).routes ?? {}) : [];
  });
  return all.sort();
}

describe('FRR', () => {
  it('and we tell each other IPv4 and IPv6 routes, whoever dials, with what we say of them', async () => {
    const frr = bed.frr(them, config(64512, `neighbor ${us.ip} passive`));
    const routes = own('10.60.0.0/24', 'fd60::/64').map((route) => ({
      ...route,
      attributes: { ...route.attributes, med: 7, communities: [0x00010002], largeCommunities: [[1, 2, 3] as const] },
    }));
    const speaker = bed.speaker(us, { peers: [peer(us, them)], routes });
    await eventually(() => learned(speaker), THEIRS());
    await eventually(() => has(frr), ['10.60.0.0/24', 'fd60::/64']);
    const shown = frr.ask('show bgp ipv4 unicast 10.60.0.0/24');
    for (const part of ['metric 7', 'localpref 100', 'Community: 1:2', 'Large Community: 1:2:3'])
      expect(shown).toContain(part);
    speaker.configure({ ...speaker.self, routes: own('10.61.0.0/24'), peers: [peer(us, them, { passive: true })] });
    await frr.stop();
    frr.start();
    // It is passive still: nobody dials.
    expect(states(speaker)).not.toContain('Established');
    speaker.configure({ ...speaker.self, peers: [peer(us, them)] });
    await eventually(() => has(frr), ['10.61.0.0/24']);
  });

  it('in another AS sees our AS, signs, and dials us', async () => {
    const frr = bed.frr(them, config(4_200_000_001, `neighbor ${us.ip} password sesame`));
    const peers = [peer(us, them, { as: 4_200_000_001, password: 'sesame', passive: true })];
    const speaker = bed.speaker(us, { peers, routes: own('10.60.0.0/24') });
    await eventually(() => learned(speaker), THEIRS());
    expect(speaker.rib.best('10.50.0.0/24')[0]?.route.attributes.asPath).toEqual([
      { kind: 'sequence', ases: [4_200_000_001] },
    ]);
    await eventually(() => has(frr), ['10.60.0.0/24']);
    expect(frr.ask('show bgp ipv4 unicast 10.60.0.0/24')).toMatch(/^ {2}64512$/m);
  });

  it('keeps a session only with neighbours that are near enough', async () => {
    bed.frr(them, config(65001, `neighbor ${us.ip} ttl-security hops 1`));
    const peers = [peer(us, them, { as: 65001, ttlSecurity: 1 })];
    const speaker = bed.speaker(us, { peers });
    await eventually(() => states(speaker), ['Established']);
    speaker.configure({ ...speaker.self, peers: [peer(us, them, { as: 65001 })] });
    await expect.poll(() => speaker.sessions()[0]?.lastError, PATIENCE).toBeDefined();
    expect(states(speaker)).not.toContain('Established');
  });

  it('flaps, asks for our routes again, and restarts without losing them', async () => {
    const frr = bed.frr(them, config(64512, '', 'bgp graceful-restart'));
    const speaker = bed.speaker(us, { peers: [peer(us, them)], routes: own('10.60.0.0/24') });
    await eventually(() => has(frr), ['10.60.0.0/24']);
    frr.ask(`clear bgp ${us.ip}`);
    await expect.poll(() => speaker.sessions()[0]?.counters.established, PATIENCE).toBe(2);
    await eventually(() => has(frr), ['10.60.0.0/24']);
    await eventually(() => learned(speaker), THEIRS());
    const before = speaker.sessions()[0]?.counters.updatesOut ?? 0;
    frr.ask(`clear bgp ipv4 unicast ${us.ip} in`);
    await expect.poll(() => speaker.sessions()[0]?.counters.updatesOut, PATIENCE).toBeGreaterThan(before);
    await frr.stop('SIGKILL');
    await expect.poll(() => states(speaker), PATIENCE).not.toEqual(['Established']);
    expect(learned(speaker)).toEqual(THEIRS());
    frr.start();
    await eventually(() => states(speaker), ['Established']);
    await eventually(() => speaker.rib.stale(them.ip), 0);
    await eventually(() => learned(speaker), THEIRS());
  });

  it('as our reflector gives us the routes of its other client, and we spread over equal ones', async () => {
    const third = await bed.host(3);
    const client = (ip: string): string => `neighbor ${ip} remote-as 64512\n neighbor ${ip} timers connect 1`;
    const reflect = (ip: string): string => `neighbor ${ip} route-reflector-client`;
    bed.frr(
      them,
      `router bgp 64512
 bgp router-id ${them.ip}
 bgp cluster-id 244.0.0.9
 ${client(us.ip)}
 ${client(third.ip)}
 address-family ipv4 unicast
  ${reflect(us.ip)}
  ${reflect(third.ip)}
 exit-address-family
!`,
    );
    const families = [4] as const;
    const other = bed.speaker(third, {
      peers: [peer(third, them, { families })],
      routes: own('10.70.0.0/24', '10.71.0.0/24'),
    });
    const speaker = bed.speaker(us, { peers: [peer(us, them, { families })] });
    await eventually(() => learned(speaker), [`10.70.0.0/24 via ${third.ip}`, `10.71.0.0/24 via ${third.ip}`]);
    expect(speaker.rib.best('10.70.0.0/24')[0]?.route.attributes).toMatchObject({
      originatorId: third.ip,
      clusterList: ['244.0.0.9'],
    });
    // The node goes: its routes go with it.
    other.stop(false);
    await eventually(() => learned(speaker), []);
  });
});
