import { type ChildProcess, execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { NetNs, Rtnl, spawnInNetNs, writeSysctl } from '@weft/kernel';

const AGENT = fileURLToPath(new URL('./agent.py', import.meta.url));

export interface AskInit {
  readonly dst: string;
  readonly port: number;
  readonly proto?: 'tcp' | 'udp';
  /** Source address to bind. */
  readonly src?: string;
  readonly count?: number;
  /** Seconds. */
  readonly timeout?: number;
}

/** A namespace with addresses and a program in it that connects and answers as told. */
export class Host {
  readonly ns: NetNs;
  readonly name: string;
  /** First address of each family. */
  readonly address: string;
  readonly address6: string;
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (v: unknown) => void; reject: (e: Error) => void }[] = [];

  constructor(ns: NetNs, name: string, address: string, address6: string) {
    this.ns = ns;
    this.name = name;
    this.address = address;
    this.address6 = address6;
    this.#child = spawnInNetNs(ns, 'python3', ['-u', AGENT], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const answer = JSON.parse(line) as { ok?: unknown; error?: string };
      const waiter = this.#waiting.shift();
      if (answer.error === undefined) waiter?.resolve(answer.ok);
      else waiter?.reject(new Error(`${name}: ${answer.error}`));
    });
  }

  /** Process in the namespace. */
  get pid(): number {
    return this.#child.pid as number;
  }

  #command<T>(command: Record<string, unknown>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as (v: unknown) => void, reject });
      this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    });
  }

  /** Answers on a port with its name and the source address it saw. */
  serve(proto: 'tcp' | 'udp', port: number): Promise<void> {
    return this.#command({ op: 'serve', proto, port, name: this.name });
  }

  /** Each result is `name source` of who answered, or `refused`, `timeout`, `unreachable`. */
  ask(init: AskInit): Promise<string[]> {
    return this.#command({ op: 'ask', ...init });
  }

  /** Opens a connection or UDP socket that stays. */
  open(id: string, init: AskInit): Promise<string> {
    return this.#command({ op: 'open', id, ...init });
  }

  talk(id: string): Promise<string> {
    return this.#command({ op: 'talk', id });
  }

  /** The address that a socket names as its other end. */
  peer(id: string): Promise<string> {
    return this.#command({ op: 'peer', id });
  }

  /** Closes what `open` opened. */
  shut(id: string): Promise<void> {
    return this.#command({ op: 'close', id });
  }

  /** Connects without pause until `stopHammer`, which gives the count of each result. */
  hammer(id: string, init: AskInit & { readonly pause?: number }): Promise<void> {
    return this.#command({ op: 'hammer', id, ...init });
  }

  stopHammer(id: string): Promise<Record<string, number>> {
    return this.#command({ op: 'stop', id });
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
    this.ns.close();
  }
}

/**
 * A node with pods, the rest of the cluster, and a host outside:
 *
 *     pod1 pod2 ep1 ep2 ── node 192.168.0.1 ── remote 192.168.0.2 (pods rep1 10.244.1.11, rep2 10.244.1.12)
 *                                  └────────── outside 203.0.113.5
 */
export class Stage {
  readonly node: Host;
  readonly pod1: Host;
  readonly pod2: Host;
  readonly ep1: Host;
  readonly ep2: Host;
  readonly remote: Host;
  readonly outside: Host;

  private constructor(hosts: readonly Host[]) {
    [this.node, this.pod1, this.pod2, this.ep1, this.ep2, this.remote, this.outside] = hosts as [
      Host,
      Host,
      Host,
      Host,
      Host,
      Host,
      Host,
    ];
  }

  /** Second address of the node, on the interface to the outside. */
  readonly nodeOutside = '203.0.113.1';
  readonly remotePods = ['10.244.1.11', '10.244.1.12'] as const;
  /** More clients on the other node. */
  readonly manyPods = Array.from({ length: 40 }, (_, i) => `10.244.1.${100 + i}`);
  readonly remotePods6 = ['fd00:244:1::11', 'fd00:244:1::12'] as const;

  static async build(): Promise<Stage> {
    const node = NetNs.anonymous();
    for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) writeSysctl(key, '1', node);
    const rt = Rtnl.open(node);
    await up(rt, 'lo');
    const wire = async (
      name: string,
      nodeAddresses: string[],
      addresses: string[],
      gateways: string[],
    ): Promise<NetNs> => {
      const ns = NetNs.anonymous();
      // No duplicate address detection: a fresh address is usable at once.
      writeSysctl('net.ipv6.conf.default.accept_dad', '0', ns);
      await rt.links.add({ name: `v${name}`, kind: 'veth', up: true, peer: { name: 'eth0', ns, up: true } });
      const link = await rt.links.get(`v${name}`);
      const inner = Rtnl.open(ns);
      await up(inner, 'lo');
      const eth0 = await inner.links.get('eth0');
      if (link === undefined || eth0 === undefined) throw new Error(`no link to ${name}`);
      for (const address of nodeAddresses) await rt.addresses.add({ index: link.index, address, noDad: true });
      for (const address of addresses) {
        await inner.addresses.add({ index: eth0.index, address, noDad: true });
        if (address.endsWith('/32') || address.endsWith('/128')) await rt.routes.add({ dst: address, oif: link.index });
      }
      for (const via of gateways) {
        await inner.routes.add({
          dst: 'default',
          via,
          oif: eth0.index,
          onlink: true,
          family: via.includes(':') ? 6 : 4,
        });
      }
      inner.close();
      return ns;
    };
    writeSysctl('net.ipv6.conf.default.accept_dad', '0', node);
    const hosts: Host[] = [new Host(node, 'node', '192.168.0.1', 'fd00:168::1')];
    for (const [i, name] of ['pod1', 'pod2', 'ep1', 'ep2'].entries()) {
      const address = `10.244.0.${11 + i}`;
      const address6 = `fd00:244:0::${11 + i}`;
      const ns = await wire(
        name,
        ['10.244.0.1/32', 'fd00:244:0::1/128'],
        [`${address}/32`, `${address6}/128`],
        ['10.244.0.1', 'fd00:244:0::1'],
      );
      hosts.push(new Host(ns, name, address, address6));
    }
    const remote = await wire(
      'remote',
      ['192.168.0.1/24', 'fd00:168::1/64'],
      ['192.168.0.2/24', 'fd00:168::2/64'],
      ['192.168.0.1', 'fd00:168::1'],
    );
    const inner = Rtnl.open(remote);
    const lo = await inner.links.get('lo');
    const many = Array.from({ length: 40 }, (_, i) => `10.244.1.${100 + i}/32`);
    for (const pod of ['10.244.1.11/32', '10.244.1.12/32', 'fd00:244:1::11/128', 'fd00:244:1::12/128', ...many]) {
      await inner.addresses.add({ index: lo?.index ?? 1, address: pod, noDad: true });
    }
    inner.close();
    await rt.routes.add({ dst: '10.244.1.0/24', via: '192.168.0.2' });
    await rt.routes.add({ dst: 'fd00:244:1::/64', via: 'fd00:168::2' });
    hosts.push(new Host(remote, 'remote', '192.168.0.2', 'fd00:168::2'));
    const outside = await wire(
      'outside',
      ['203.0.113.1/24', 'fd00:113::1/64'],
      ['203.0.113.5/24', 'fd00:113::5/64'],
      ['203.0.113.1', 'fd00:113::1'],
    );
    hosts.push(new Host(outside, 'outside', '203.0.113.5', 'fd00:113::5'));
    // A node reaches Service addresses by its default route before they are translated.
    await rt.routes.add({ dst: 'default', via: '192.168.0.2', family: 4 });
    await rt.routes.add({ dst: 'default', via: 'fd00:168::2', family: 6 });
    rt.close();
    const stage = new Stage(hosts);
    for (const host of [stage.ep1, stage.ep2, stage.remote, stage.node]) {
      for (const port of [8080, 9090]) await host.serve('tcp', port);
      await host.serve('udp', 5353);
    }
    return stage;
  }

  /** Runs a program on the node; its standard output. */
  onNode(cmd: string, ...args: string[]): string {
    return this.node.ns.run(() => execFileSync(cmd, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  async close(): Promise<void> {
    for (const host of [this.pod1, this.pod2, this.ep1, this.ep2, this.remote, this.outside, this.node]) {
      await host.close();
    }
  }
}

async function up(rt: Rtnl, name: string): Promise<void> {
  await rt.links.set(name, { up: true });
}
