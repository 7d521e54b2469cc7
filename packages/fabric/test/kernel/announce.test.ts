import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectTcp, isKernelError, listenTcp, NetNs, Rtnl, writeSysctl } from '@weft/kernel';
import { Metrics, silentLogger } from '@weft/plan';
import { type AnnouncedService, L2Announcer } from '../../src/announce/l2.ts';

type Handlers = Parameters<ConstructorParameters<typeof L2Announcer>[0]['services']['on']>[0];

/** Services as an informer would show them. */
class Services {
  readonly #handlers: Handlers[] = [];
  readonly objects = new Map<string, AnnouncedService>();

  on(handlers: Handlers): () => void {
    this.#handlers.push(handlers);
    for (const object of this.objects.values()) handlers.add?.(object);
    handlers.synced?.();
    return () => void this.#handlers.splice(this.#handlers.indexOf(handlers), 1);
  }

  set(key: string, node: string | undefined, ...ips: string[]): void {
    const before = this.objects.get(key);
    const after = { key, node, ips };
    this.objects.set(key, after);
    for (const h of this.#handlers) {
      if (before === undefined) h.add?.(after);
      else h.update?.(before, after);
    }
  }

  delete(key: string): void {
    const before = this.objects.get(key);
    this.objects.delete(key);
    if (before !== undefined) for (const h of this.#handlers) h.delete?.(before);
  }
}

/** Two nodes and a client on one bridge: 198.51.100.0/24 and fd00:51::/64. */
describe('balancer addresses on the network', () => {
  let all: NetNs[];
  let client: NetNs;
  let nodes: NetNs[];
  let services: Services;
  const running: L2Announcer[] = [];

  beforeEach(async () => {
    const hub = NetNs.anonymous();
    const rt = Rtnl.open(hub);
    await rt.links.add({ name: 'br', kind: 'bridge', up: true });
    const bridge = await rt.links.get('br');
    all = [];
    for (const i of [1, 2, 3]) {
      const ns = NetNs.anonymous();
      writeSysctl('net.ipv6.conf.default.accept_dad', '0', ns);
      await rt.links.add({ name: `p${i}`, kind: 'veth', up: true, peer: { name: 'eth0', ns, up: true } });
      await rt.links.set(`p${i}`, { master: bridge?.index ?? 0 });
      const inner = Rtnl.open(ns);
      await inner.links.set('lo', { up: true });
      const eth0 = await inner.links.get('eth0');
      for (const address of [`198.51.100.${i}/24`, `fd00:51::${i}/64`]) {
        await inner.addresses.add({ index: eth0?.index ?? 0, address, noDad: true });
      }
      inner.close();
      all.push(ns);
    }
    rt.close();
    all.push(hub);
    nodes = all.slice(0, 2);
    client = all[2] as NetNs;
    services = new Services();
    return async () => {
      for (const announcer of running.splice(0)) await announcer.stop();
      for (const ns of all) ns.close();
    };
  });
  afterEach(() => {});

  const told: (readonly string[])[] = [];

  async function start(index: number): Promise<L2Announcer> {
    const announcer = new L2Announcer({
      nodeName: `n${index + 1}`,
      services,
      ns: nodes[index] as NetNs,
      log: silentLogger,
      metrics: new Metrics(),
      auditMs: 0,
      networks: (cidrs) => told.push(cidrs),
    });
    running.push(announcer);
    await announcer.start();
    return announcer;
  }

  async function announce(index: number): Promise<L2Announcer> {
    const announcer = await start(index);
    await announcer.idle();
    return announcer;
  }

  const inClient = (...command: string[]): string =>
    client.run(() =>
      execFileSync(command[0] as string, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    );
  const pings = (address: string): boolean => {
    try {
      inClient('ping', '-c', '1', '-W', '1', address);
      return true;
    } catch {
      return false;
    }
  };
  const neighbour = (address: string): string | undefined =>
    /lladdr (\S+)/.exec(inClient('ip', 'neigh', 'show', address))?.[1];
  const macOf = async (ns: NetNs): Promise<string | undefined> => {
    const rt = Rtnl.open(ns);
    const link = await rt.links.get('eth0');
    rt.close();
    return link?.mac;
  };

  it('are answered for by the chosen node, and move with their neighbours told', async () => {
    const [a, b] = [await announce(0), await announce(1)];
    const idle = async (): Promise<void> => void (await Promise.all([a.idle(), b.idle()]));
    services.set('default/web', 'n1', '198.51.100.100', 'fd00:51::100');
    await idle();
    for (const address of ['198.51.100.100', 'fd00:51::100']) {
      expect(pings(address), address).toBe(true);
      expect(neighbour(address)).toBe(await macOf(nodes[0] as NetNs));
    }
    services.set('default/web', 'n2', '198.51.100.100', 'fd00:51::100');
    await idle();
    // The client had an entry, and was told: it asks nobody again.
    for (const address of ['198.51.100.100', 'fd00:51::100']) {
      await expect.poll(() => neighbour(address), { timeout: 2000 }).toBe(await macOf(nodes[1] as NetNs));
      expect(pings(address), address).toBe(true);
    }
    services.delete('default/web');
    await idle();
    inClient('ip', 'neigh', 'flush', 'all');
    expect(pings('198.51.100.100')).toBe(false);
    expect([a.announced, b.announced]).toEqual([[], []]);
  });

  it('keep their guests from the programs of the node, and leave with the last Service', async () => {
    const a = await announce(0);
    const fd = listenTcp('0.0.0.0', 2222, nodes[0]);
    const server = net.createServer((socket) => socket.end('node'));
    server.listen({ fd });
    try {
      services.set('default/web', 'n1', '198.51.100.100');
      services.set('default/other', 'n1', '198.51.100.100');
      await a.idle();
      expect(a.announced).toEqual(['198.51.100.100']);
      const refused = (error: unknown): string => (isKernelError(error, 'ECONNREFUSED') ? 'refused' : String(error));
      expect(await connectTcp('198.51.100.100', 2222, client).then(() => 'connected', refused)).toBe('refused');
      const socket = new net.Socket({ fd: await connectTcp('198.51.100.1', 2222, client) });
      socket.resume();
      await once(socket, 'end');
      socket.destroy();
      services.delete('default/web');
      await a.idle();
      expect(pings('198.51.100.100')).toBe(true);
      services.delete('default/other');
      await a.idle();
      const rules = nodes[0]?.run(() => execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }));
      expect(rules).not.toContain('weft-announce');
    } finally {
      server.close();
    }
  });

  it('of an earlier agent go when another node has them now, and stay when nothing has changed', async () => {
    const a = await announce(0);
    services.set('default/web', 'n1', '198.51.100.100');
    services.set('default/other', 'n1', '198.51.100.101');
    await a.idle();
    await a.stop();
    running.length = 0;
    expect(pings('198.51.100.100')).toBe(true);
    services.set('default/other', 'n2', '198.51.100.101');
    const again = await announce(0);
    expect(again.announced).toEqual(['198.51.100.100']);
    expect(pings('198.51.100.100')).toBe(true);
    const addresses = (): string =>
      nodes[0]?.run(() => execFileSync('ip', ['-br', 'addr', 'show', 'eth0'], { encoding: 'utf8' })) ?? '';
    await expect.poll(addresses, { timeout: 2000 }).not.toContain('198.51.100.101');
    expect(addresses()).toContain('198.51.100.1/24');
  });

  it('of an earlier agent go although one that this node cannot announce is tried again and again', async () => {
    const a = await announce(0);
    services.set('default/web', 'n1', '198.51.100.100');
    await a.idle();
    await a.stop();
    running.length = 0;
    services.set('default/web', 'n2', '198.51.100.100');
    services.set('default/far', 'n1', '203.0.113.1');
    const again = await start(0);
    const addresses = (): string =>
      nodes[0]?.run(() => execFileSync('ip', ['-br', 'addr', 'show', 'eth0'], { encoding: 'utf8' })) ?? '';
    await expect.poll(addresses, { timeout: 5000 }).not.toContain('198.51.100.100');
    expect(again.announced).toEqual([]);
  });

  it('are chosen by the networks that nodes tell of, also when these change', async () => {
    told.length = 0;
    const a = await announce(0);
    expect(told).toEqual([['198.51.100.0/24', 'fd00:51::/64']]);
    await a.audit();
    nodes[0]?.run(() => execFileSync('ip', ['addr', 'add', '192.0.2.7/25', 'dev', 'eth0']));
    await a.audit();
    expect(told.slice(1)).toEqual([['192.0.2.0/25', '198.51.100.0/24', 'fd00:51::/64']]);
  });

  it('that are of no network of the node are an error of that Service only; what others take away comes back', async () => {
    const a = await announce(0);
    services.set('default/far', 'n1', '203.0.113.1');
    services.set('default/web', 'n1', '198.51.100.100');
    await expect.poll(() => pings('198.51.100.100'), { timeout: 5000 }).toBe(true);
    expect(a.announced).toEqual(['198.51.100.100']);
    services.delete('default/far');
    await a.idle();
    nodes[0]?.run(() => execFileSync('ip', ['addr', 'del', '198.51.100.100/32', 'dev', 'eth0']));
    nodes[0]?.run(() => execFileSync('nft', ['delete', 'table', 'inet', 'weft-announce']));
    expect(await a.audit()).toBe(2);
    expect(pings('198.51.100.100')).toBe(true);
    expect(await a.audit()).toBe(0);
  });
});
