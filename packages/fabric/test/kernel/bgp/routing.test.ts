import type { BGPConfiguration, BGPPeer } from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BgpService, type BgpSource, Fabric } from '../../../src/index.ts';
import { Nodes } from '../bed.ts';
import { BgpBed, type Daemon, eventually, type Host, PATIENCE, run } from './bed.ts';

/** BGP objects that a test edits by hand. */
class Objects implements BgpSource {
  readonly synced = Promise.resolve();
  spec: NonNullable<BGPConfiguration['spec']> = { nodeToNodeMeshEnabled: false };
  list: BGPPeer[] = [];
  known: BgpService[] = [];
  readonly #changed = new Set<() => void>();

  configurations = (): BGPConfiguration[] => [{ metadata: { name: 'default' }, spec: this.spec }];
  peers = (): BGPPeer[] => this.list;
  filters = (): [] => [];
  pools = (): [] => [];
  services = (): BgpService[] => this.known;
  secret = (): undefined => undefined;

  on(changed: () => void): () => void {
    this.#changed.add(changed);
    return () => this.#changed.delete(changed);
  }

  change(): void {
    for (const changed of this.#changed) changed();
  }
}

let bed: BgpBed;
let us: Host;
let them: Host;
let objects: Objects;
let nodes: Nodes;
let fabric: Fabric | undefined;

beforeEach(async () => {
  bed = new BgpBed();
  us = await bed.host(1);
  them = await bed.host(2);
  objects = new Objects();
  objects.list = [{ metadata: { name: 'tor' }, spec: { peerIP: them.ip, asNumber: 65001 } }];
  nodes = new Nodes();
  nodes.set('n1', [us.ip], ['10.244.1.0/24']);
});
afterEach(async () => {
  await fabric?.stop();
  await bed.close();
});

async function start(): Promise<Fabric> {
  const config = { backend: 'bgp', podCidrs: ['10.244.0.0/16'] };
  const made = new Fabric({
    nodeName: 'n1',
    nodes,
    bgp: objects,
    config,
    ns: us.ns,
    log: silentLogger,
    metrics: new Metrics(),
    auditMs: 0,
  });
  fabric = made;
  await made.start();
  return made;
}

/** A router in AS 65001 that has these static routes. */
function router(host: Host, routes: readonly string[], more = ''): Daemon {
  return bed.bird(
    host,
    `protocol static s4 { ipv4; ${routes.map((route) => `route ${route} blackhole;`).join('\n')} }
    protocol bgp weft {
      local ${host.ip} as 65001; neighbor ${us.ip} as 64512;
      connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on;
      ipv4 { import all; export all; ${more} };
    }`,
  );
}

const installed = (): string[] =>
  run(us.ns, 'ip', 'route', 'show', 'proto', '88')
    .split('\n')
    .flatMap((line) => (line.startsWith('\t') || line.trim() === '' ? [] : [line.trim().replace(/ dev eth0.*$/, '')]));

const has = (bird: Daemon): string[] =>
  [...bird.ask('show route protocol weft').matchAll(/^(\S+\/\d+)/gm)].map((m) => m[1] ?? '').sort();

describe('a node with a router beside it', () => {
  it('installs 10,000 routes and takes them away again', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0/24`);
    const bird = router(them, many);
    const { bgpStatus } = await start();
    expect(bgpStatus?.node).toBe('n1');
    await eventually(() => installed().length, 10_000);
    expect(installed()).toContain(`10.139.15.0/24 via ${them.ip}`);
    expect(fabric?.plan.get('bgp/10.139.15.0/24')?.cause).toMatchObject({ kind: 'BGPPeer', name: 'tor' });
    expect(await fabric?.audit()).toBe(0);
    expect(has(bird)).toEqual(['10.244.1.0/24']);
    bird.ask('disable s4');
    await eventually(() => installed().length, 0);
  });

  it('leaves to the host what the host has routes for', async () => {
    run(us.ns, 'ip', 'route', 'add', 'default', 'via', '10.9.0.77');
    router(them, ['0.0.0.0/0', '10.9.0.0/24', '10.50.0.0/24']);
    await start();
    await eventually(() => installed().length, 3);
    expect(run(us.ns, 'ip', 'route', 'get', '192.0.2.1')).toContain('via 10.9.0.77');
    expect(run(us.ns, 'ip', 'route', 'get', '10.9.0.9')).not.toContain('via');
    expect(run(us.ns, 'ip', 'route', 'get', '10.50.0.1')).toContain(`via ${them.ip}`);
  });

  it('keeps forwarding while its agent is replaced, and forgets then what is not told again', async () => {
    const bird = router(them, ['10.50.0.0/24', '10.51.0.0/24']);
    await start();
    await eventually(() => installed().length, 2);
    await eventually(() => has(bird), ['10.244.1.0/24']);
    await fabric?.stop();
    expect(installed()).toHaveLength(2);
    await expect
      .poll(() => bird.ask('show protocols all weft'), PATIENCE)
      .toContain('Neighbor graceful restart active');
    await bird.stop();
    router(them, ['10.50.0.0/24']);
    await start();
    expect(installed()).toHaveLength(2);
    await eventually(() => installed(), [`10.50.0.0/24 via ${them.ip}`]);
  });

  it('spreads packets over equal paths, and leads to next hops by way of their gateway', async () => {
    const third = await bed.host(3);
    run(us.ns, 'ip', 'route', 'add', '10.99.0.0/24', 'via', third.ip);
    router(them, ['10.50.0.0/24', '10.51.0.0/24']);
    router(third, ['10.50.0.0/24'], 'next hop address 10.99.0.5;');
    objects.list.push({ metadata: { name: 'tor2' }, spec: { peerIP: third.ip, asNumber: 65001 } });
    await start();
    await expect
      .poll(() => run(us.ns, 'ip', 'route', 'show', '10.50.0.0/24'), PATIENCE)
      .toMatch(new RegExp(`nexthop via ${them.ip} [^]*nexthop via ${third.ip} `));
    expect(await fabric?.audit()).toBe(0);
    objects.list.pop();
    objects.change();
    await eventually(() => installed().sort(), [`10.50.0.0/24 via ${them.ip}`, `10.51.0.0/24 via ${them.ip}`]);
  });

  it('announces Services where they are, and reports objects that it cannot use', async () => {
    const bird = router(them, []);
    objects.spec = {
      ...objects.spec,
      serviceClusterIPs: [{ cidr: '10.96.0.0/12' }],
      serviceExternalIPs: [{ cidr: '192.0.2.0/24' }],
    };
    const service = {
      namespace: 'default',
      name: 's',
      clusterIPs: ['10.96.0.7'],
      externalIPs: ['192.0.2.7'],
      loadBalancerIPs: [],
      local: true,
    };
    objects.known = [{ ...service, here: true }];
    await start();
    const whole = ['10.244.1.0/24', '10.96.0.0/12', '192.0.2.0/24'];
    await eventually(() => has(bird), [...whole, '10.96.0.7/32', '192.0.2.7/32'].sort());
    objects.known = [{ ...service, here: false }];
    objects.list.push({ metadata: { name: 'bad' }, spec: { peerIP: 'x', asNumber: 1 } });
    objects.change();
    await eventually(() => has(bird), whole);
    expect(fabric?.bgpStatus?.problems).toEqual([
      { kind: 'BGPPeer', name: 'bad', message: 'spec.peerIP: "x" is not an IP address' },
    ]);
    expect(fabric?.bgpStatus?.peers).toMatchObject([
      { name: 'tor', type: 'BGPPeer tor', state: 'Established', routes: { advertised: 3 } },
    ]);
  });
});
