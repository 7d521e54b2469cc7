import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { connectTcp, listenTcp, NetNs, Rtnl, writeSysctl } from '@weft/kernel';
import type { Node } from '@weft/kube';
import { parseIp, parsePrefix, prefixContains } from '@weft/net';
import { Metrics, silentLogger } from '@weft/plan';
import {
  type BlockSource,
  Fabric,
  type FabricConfig,
  type FabricPool,
  type NodeBlock,
  type NodeSource,
} from '../../src/index.ts';

type Handlers = Parameters<NodeSource['on']>[0];

/** Node objects that a test edits by hand; every agent watches them. */
export class Nodes implements NodeSource {
  readonly synced = Promise.resolve();
  readonly #nodes = new Map<string, Node>();
  readonly #handlers = new Set<Handlers>();

  on(handlers: Handlers): () => void {
    this.#handlers.add(handlers);
    for (const node of this.#nodes.values()) handlers.add?.(node);
    return () => this.#handlers.delete(handlers);
  }

  set(name: string, ips: readonly string[], podCIDRs: readonly string[], created = '2024-01-01T00:00:00Z'): void {
    const node: Node = {
      metadata: { name, creationTimestamp: created },
      spec: { podCIDRs: [...podCIDRs] },
      status: { addresses: ips.map((address) => ({ type: 'InternalIP', address })) },
    };
    const old = this.#nodes.get(name);
    this.#nodes.set(name, node);
    for (const handlers of this.#handlers) {
      if (old === undefined) handlers.add?.(node);
      else handlers.update?.(old, node);
    }
  }

  list(): readonly Node[] {
    return [...this.#nodes.values()];
  }

  delete(name: string): void {
    const node = this.#nodes.get(name);
    this.#nodes.delete(name);
    for (const handlers of this.#handlers) if (node !== undefined) handlers.delete?.(node);
  }
}

/** Blocks of pools that a test gives to nodes. */
export class Blocks implements BlockSource {
  readonly synced = Promise.resolve();
  readonly #changed = new Set<(nodes: readonly string[] | undefined) => void>();
  readonly #blocks = new Map<string, NodeBlock[]>();
  #pools: readonly FabricPool[] = [];

  blocksOf(node: string): readonly NodeBlock[] {
    return this.#blocks.get(node) ?? [];
  }

  pools(): readonly FabricPool[] {
    return this.#pools;
  }

  on(changed: (nodes: readonly string[] | undefined) => void): () => void {
    this.#changed.add(changed);
    return () => this.#changed.delete(changed);
  }

  set(node: string, ...cidrs: string[]): void {
    const blocks = cidrs.map((cidr): NodeBlock => ({ cidr, kind: 'IPAMBlock', name: cidr.replace(/[./]/g, '-') }));
    this.#blocks.set(node, blocks);
    for (const changed of this.#changed) changed([node]);
  }

  setPools(...pools: FabricPool[]): void {
    this.#pools = pools;
    for (const changed of this.#changed) changed(undefined);
  }
}

export interface Pod {
  readonly netns: NetNs;
  readonly ip: string;
}

export interface Machine {
  readonly name: string;
  readonly ns: NetNs;
  readonly ip: string;
  fabric: Fabric;
  readonly pods: Pod[];
}

/** Machines in throw-away namespaces: one subnet, or two with a router between them. */
export class Bed {
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-fabric-'));
  readonly nodes = new Nodes();
  readonly blocks = new Blocks();
  readonly machines: Machine[] = [];
  /** The world outside: the gateway of every subnet. */
  readonly outside: NetNs;
  readonly config: FabricConfig;
  readonly #rtnl: Rtnl;
  readonly #paths: string[] = [];

  constructor(config: FabricConfig) {
    this.config = config;
    this.outside = this.#namespace('outside');
    this.#rtnl = Rtnl.open(this.outside);
  }

  #namespace(name: string): NetNs {
    const path = join(this.dir, name);
    this.#paths.push(path);
    return NetNs.create(path);
  }

  /** A subnet 172.30.N.0/24 with its gateway in the outside namespace. */
  async subnet(n: number): Promise<void> {
    const name = `br${n}`;
    await this.#rtnl.links.add({ name, kind: 'bridge', up: true });
    const link = await this.#rtnl.links.get(name);
    await this.#rtnl.addresses.add({ index: link?.index ?? 0, address: `172.30.${n}.1/24` });
    writeSysctl('net.ipv4.ip_forward', '1', this.outside);
  }

  /** A machine 172.30.SUBNET.1NUMBER with pod CIDR 10.244.NUMBER.0/24, its Node object and its agent. */
  async machine(number: number, subnet = 0): Promise<Machine> {
    const name = `n${number}`;
    const ns = this.#namespace(name);
    const ip = `172.30.${subnet}.${10 + number}`;
    const bridge = await this.#rtnl.links.get(`br${subnet}`);
    const peer = { name: 'eth0', ns, up: true };
    await this.#rtnl.links.add({ name, kind: 'veth', up: true, master: bridge?.index ?? 0, peer });
    await within(ns, async (rtnl) => {
      await rtnl.links.set('lo', { up: true });
      const eth0 = await rtnl.links.get('eth0');
      await rtnl.addresses.add({ index: eth0?.index ?? 0, address: `${ip}/24` });
      await rtnl.routes.add({ dst: 'default', family: 4, via: `172.30.${subnet}.1` });
    });
    const machine: Machine = { name, ns, ip, fabric: this.fabric(name, ns), pods: [] };
    this.machines.push(machine);
    this.nodes.set(name, [ip], [`10.244.${number}.0/24`]);
    await machine.fabric.start();
    return machine;
  }

  /** Gives a pod an IPv6 address as well. */
  async addIpv6(machine: Machine, pod: Pod, ip: string): Promise<void> {
    const mac = 'ee:ee:ee:ee:ee:ee';
    let podMac = '';
    await within(pod.netns, async (rtnl) => {
      const eth0 = await rtnl.links.get('eth0');
      const index = eth0?.index ?? 0;
      podMac = eth0?.mac ?? '';
      await rtnl.addresses.add({ index, address: `${ip}/128`, noDad: true });
      await rtnl.neighbours.add({ index, address: 'fe80::1', mac });
      await rtnl.routes.add({ dst: 'default', family: 6, via: 'fe80::1', oif: index });
    });
    await within(machine.ns, async (rtnl) => {
      const index = (await rtnl.links.get(`p${pod.ip.split('.').slice(2).join('.')}`))?.index ?? 0;
      await rtnl.routes.add({ dst: `${ip}/128`, oif: index, scope: 'link' });
      await rtnl.neighbours.add({ index, address: ip, mac: podMac });
    });
  }

  /** Gives all machines an IPv6 address and CIDR, fd30::1N and fd00:N::/64, and their pods an address of it. */
  async dualStack(): Promise<void> {
    writeSysctl('net.ipv6.conf.all.forwarding', '1', this.outside);
    for (const machine of this.machines) {
      const number = machine.name.slice(1);
      await within(machine.ns, async (rtnl) => {
        const index = (await rtnl.links.get('eth0'))?.index ?? 0;
        await rtnl.addresses.add({ index, address: `fd30::1${number}/64`, noDad: true });
      });
      for (const pod of machine.pods) await this.addIpv6(machine, pod, `fd00:${number}::5`);
      this.nodes.set(machine.name, [machine.ip, `fd30::1${number}`], [`10.244.${number}.0/24`, `fd00:${number}::/64`]);
    }
    await this.idle();
  }

  fabric(nodeName: string, ns: NetNs, config = this.config): Fabric {
    return new Fabric({
      nodeName,
      nodes: this.nodes,
      blocks: this.blocks,
      config,
      ns,
      log: silentLogger,
      metrics: new Metrics(),
      auditMs: 0,
    });
  }

  /** A pod wired point to point, as the CNI plugin does it. */
  async pod(machine: Machine, ip: string): Promise<Pod> {
    const netns = this.#namespace(`${machine.name}-${ip}`);
    const mtu = machine.fabric.podMtu ?? 1500;
    await within(machine.ns, async (rtnl) => {
      const name = `p${ip.split('.').slice(2).join('.')}`;
      await rtnl.links.add({
        name,
        kind: 'veth',
        mtu,
        mac: 'ee:ee:ee:ee:ee:ee',
        up: true,
        peer: { name: 'eth0', ns: netns, mtu, up: true },
      });
      const near = await rtnl.links.get(name);
      await rtnl.routes.add({ dst: `${ip}/32`, oif: near?.index ?? 0, scope: 'link' });
    });
    await within(netns, async (rtnl) => {
      const index = (await rtnl.links.get('eth0'))?.index ?? 0;
      await rtnl.links.set('lo', { up: true });
      await rtnl.addresses.add({ index, address: `${ip}/32` });
      await rtnl.neighbours.add({ index, address: '169.254.1.1', mac: 'ee:ee:ee:ee:ee:ee' });
      await rtnl.routes.add({ dst: '169.254.1.1/32', oif: index, scope: 'link' });
      await rtnl.routes.add({ dst: 'default', family: 4, via: '169.254.1.1', oif: index });
    });
    const pod = { netns, ip };
    machine.pods.push(pod);
    return pod;
  }

  /** Stops a machine's agent and starts another in its place. */
  async restart(machine: Machine, config = this.config): Promise<void> {
    await machine.fabric.stop();
    machine.fabric = this.fabric(machine.name, machine.ns, config);
    await machine.fabric.start();
  }

  /** Resolves when what the objects say is in effect. */
  async idle(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.fabric.idle()));
    await this.#answered();
    for (const { name, ns, fabric } of this.machines) {
      const exists = this.nodes.list().some((node) => node.metadata.name === name);
      if (fabric.backend !== 'bgp' || !exists) continue;
      await expect.poll(() => learnedRoutes(ns), { timeout: 20_000, interval: 20 }).toEqual(this.#expectedRoutes(name));
    }
  }

  /** With l2, resolves when nodes answer for the pods they have: they know of them by announcements. */
  async #answered(): Promise<void> {
    for (const { name, fabric, pods } of this.machines) {
      const node = this.nodes.list().find(({ metadata }) => metadata.name === name);
      if (fabric.backend !== 'l2' || node === undefined) continue;
      const blocks = [...(node.spec?.podCIDRs ?? []), ...this.blocks.blocksOf(name).map(({ cidr }) => cidr)];
      const own = blocks.flatMap((text) => parsePrefix(text) ?? []);
      const wanted = pods.filter(({ ip }) => {
        const parsed = parseIp(ip);
        return parsed !== undefined && own.some((prefix) => prefixContains(prefix, parsed));
      });
      const keys = wanted.map(({ ip }) => `proxy/eth0/${ip}`);
      await expect.poll(() => [...fabric.plan.keys()], { interval: 5 }).toEqual(expect.arrayContaining(keys));
      await fabric.idle();
    }
  }

  /** Routes that a node learns when every other tells all it has. */
  #expectedRoutes(self: string): string[] {
    return this.nodes
      .list()
      .filter((node) => node.metadata.name !== self && this.machines.some((m) => m.name === node.metadata.name))
      .flatMap((node) => {
        const via = node.status?.addresses?.[0]?.address ?? '';
        const blocks = this.blocks.blocksOf(node.metadata.name).map((block) => block.cidr);
        const own = (node.spec?.podCIDRs ?? []).filter((cidr) => !cidr.includes(':'));
        return [...own, ...blocks].map((cidr) => `${cidr.replace(/\/32$/, '')} via ${via}`);
      })
      .sort();
  }

  async close(): Promise<void> {
    for (const machine of this.machines) await machine.fabric.stop();
    this.#rtnl.close();
    for (const { ns, pods } of this.machines) for (const open of [ns, ...pods.map((pod) => pod.netns)]) open.close();
    this.outside.close();
    for (const path of this.#paths) NetNs.remove(path);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function within<T>(ns: NetNs, work: (rtnl: Rtnl) => Promise<T>): Promise<T> {
  const rtnl = Rtnl.open(ns);
  try {
    return await work(rtnl);
  } finally {
    rtnl.close();
  }
}

/** Runs a program in a namespace; undefined when it fails. */
export function run(ns: NetNs, ...command: string[]): string | undefined {
  const done = spawnSync('nsenter', [`--net=${ns.path}`, ...command], { encoding: 'utf8' });
  return done.status === 0 ? done.stdout : undefined;
}

export async function pings(ns: NetNs, address: string, ...args: string[]): Promise<boolean> {
  // Not waited for in place: agents of this process may carry the packet.
  const program = spawn('nsenter', [`--net=${ns.path}`, 'ping', '-c1', '-W2', ...args, address]);
  const [code] = (await once(program, 'close')) as [number | null];
  return code === 0;
}

/** Pings without pause, from the first answer until stopped; then what was sent and not answered. */
export async function pinging(
  ns: NetNs,
  address: string,
): Promise<{ stop(): Promise<{ readonly sent: number; readonly lost: number }> }> {
  const program = spawn('nsenter', [`--net=${ns.path}`, 'ping', '-i', '0.01', '-W', '2', address]);
  let output = '';
  program.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await expect.poll(() => output, { timeout: 20_000, interval: 10 }).toContain('icmp_seq=');
  return {
    async stop() {
      program.kill('SIGINT');
      await once(program, 'close');
      const [, sent = 0, received = 0] = (/(\d+) packets transmitted, (\d+) received/.exec(output) ?? []).map(Number);
      // The last may have been on its way.
      return { sent, lost: Math.max(0, sent - received - 1) };
    },
  };
}

/** True when this kernel has a driver for links of a kind. */
export async function kernelHas(kind: string): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-probe-'));
  const ns = NetNs.create(join(dir, 'ns'));
  try {
    if (kind === 'tun') return run(ns, 'ip', 'tuntap', 'add', 'probe', 'mode', 'tun') !== undefined;
    return (
      run(
        ns,
        'ip',
        'link',
        'add',
        'probe',
        'type',
        kind,
        ...(EXTERNAL.has(kind) ? ['external'] : ['id', '1', 'dstport', '0']),
      ) !== undefined
    );
  } finally {
    ns.close();
    NetNs.remove(join(dir, 'ns'));
    rmSync(dir, { recursive: true });
  }
}
const EXTERNAL = new Set(['ipip', 'ip6tnl', 'gre', 'ip6gre', 'geneve']);

/** Connects from one namespace to another; the address that the server sees. */
export async function seenAs(from: NetNs, to: NetNs, address: string): Promise<string> {
  const connection = await connect(from, to, address);
  connection.close();
  return connection.seen;
}

/** An open connection with an echo at its far end. */
export async function connect(
  from: NetNs,
  to: NetNs,
  address: string,
): Promise<{ readonly seen: string; echo(text: string): Promise<string>; close(): void }> {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen({ fd: listenTcp(address, 7000, to) });
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = new Socket({ fd: await connectTcp(address, 7000, from), readable: true, writable: true });
  client.setNoDelay(true);
  const [far] = await accepted;
  return {
    seen: far.remoteAddress ?? '',
    async echo(text) {
      client.write(text);
      const [data] = (await once(client, 'data')) as [Buffer];
      return data.toString();
    },
    close() {
      client.destroy();
      far.destroy();
      server.close();
    },
  };
}

/** Routes that a machine has learned by BGP, as `PREFIX via HOP`. */
export function learnedRoutes(ns: NetNs): string[] {
  const lines = (run(ns, 'ip', 'route', 'show', 'proto', '88') ?? '').split('\n');
  return lines.flatMap((line) => /^(\S+ via \S+)/.exec(line)?.[1] ?? []).sort();
}
