// Random `kill -9` of the agent during a storm of ADD and DEL. Afterwards kernel, address store, host ports and cache
// are the list of living pods. A thousand kills:
//   WEFT_STORM_KILLS=1000 npx vitest run --project kernel packages/cni/test/kernel/storm.test.ts
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetNs } from '@weft/kernel';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type CniResult,
  defaultConflist,
  type NetworkList,
  networksConflist,
  parseNetworkList,
  type RuntimeAttachment,
} from '../../src/index.ts';
import { Bed, ipj, pings, sh } from './bed.ts';
import { KillableAgent } from './killable.ts';

const KILLS = Number(process.env['WEFT_STORM_KILLS'] ?? 12);
const SEED = Number(process.env['WEFT_STORM_SEED'] ?? 1);
const WORKERS = 4;
const MOST_PODS = 16;
/** The network of pods that have two, and their second one. */
const MANY = 'storm-many';
const SECOND = 'storm-second';

let bed: Bed;
let agent: KillableAgent;
beforeEach(async () => {
  bed = await Bed.open();
  agent = await KillableAgent.open(bed);
});
afterEach(async () => {
  await agent.kill();
  await bed.close();
});

/** Mulberry32: the same numbers for the same seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Pod {
  readonly list: NetworkList;
  readonly attachment: RuntimeAttachment;
  readonly hostPort: number | undefined;
  readonly result: CniResult;
}

class Storm {
  readonly living = new Set<Pod>();
  readonly #random: () => number;
  readonly #networks: readonly NetworkList[];
  #port = 20_000;
  #over = false;
  adds = 0;
  dels = 0;
  refused = 0;

  constructor(random: () => number, networks: readonly NetworkList[]) {
    this.#random = random;
    this.#networks = networks;
  }

  end(): void {
    this.#over = true;
  }

  async worker(): Promise<void> {
    while (!this.#over) {
      const pods = [...this.living];
      if (pods.length < MOST_PODS && this.#random() < 0.7) await this.#add();
      else if (pods.length > 0) await this.#remove(pods[Math.floor(this.#random() * pods.length)] as Pod);
      else await sleep(1);
    }
  }

  async #add(): Promise<void> {
    const list = this.#networks[Math.floor(this.#random() * this.#networks.length)] as NetworkList;
    const hostPort = this.#random() < 0.5 ? ++this.#port : undefined;
    const portMappings = hostPort === undefined ? [] : [{ hostPort, containerPort: 80, protocol: 'tcp' }];
    const attachment = { ...bed.pod(), capabilityArgs: { portMappings } };
    this.adds += 1;
    try {
      const result = await bed.runtime.add(list, attachment);
      this.living.add({ list, attachment, hostPort, result });
    } catch {
      // As after any failed ADD, the runtime calls DEL.
      this.refused += 1;
      await this.#del(list, attachment);
      NetNs.remove(attachment.netns);
      // A runtime does not try again at once either.
      await sleep(15);
    }
  }

  async #remove(pod: Pod): Promise<void> {
    if (!this.living.delete(pod)) return;
    const gone = this.#random() < 0.3;
    if (gone) NetNs.remove(pod.attachment.netns);
    await this.#del(pod.list, gone ? { ...pod.attachment, netns: '' } : pod.attachment);
    if (this.#random() < 0.3) await this.#del(pod.list, pod.attachment);
    if (!gone) NetNs.remove(pod.attachment.netns);
  }

  /** DEL as a runtime does it: again and again until it succeeds. */
  async #del(list: NetworkList, attachment: RuntimeAttachment): Promise<void> {
    for (;;) {
      this.dels += 1;
      try {
        await bed.runtime.del(list, attachment);
        return;
      } catch {
        await sleep(10);
      }
    }
  }
}

/** Pods with two networks, by one call of the runtime. */
function many(): NetworkList {
  const agentSocket = bed.socket;
  const first = { ...defaultConflist({ mtu: 1450, podCidrs: ['10.240.0.0/22'], agentSocket }), name: MANY };
  const ipam = { type: 'host-local', subnet: '10.236.0.0/22', routes: [{ dst: '10.236.0.0/22' }] };
  const second = { name: SECOND, type: 'weft', mode: 'bridge', bridge: 'second0', ipam };
  const list = networksConflist(first, { agentSocket }) as { readonly plugins: readonly object[] };
  return parseNetworkList(JSON.stringify({ ...list, plugins: [{ ...list.plugins[0], delegates: [first, second] }] }));
}

const addressesOf = (pod: Pod): string[] => (pod.result.ips ?? []).map((ip) => ip.address.split('/')[0] as string);

async function expectOnly(living: readonly Pod[]): Promise<void> {
  const node = join(bed.dir, 'node');
  const attachments = await agent.ask('flush');
  // Second networks are in no result, but each has its pod.
  const first = attachments.filter((a) => a.network !== SECOND);
  const many = living.filter((p) => p.list.name === MANY).map((p) => p.attachment.containerId);
  const second = attachments.filter((a) => a.network === SECOND).map((a) => `${a.containerId} ${a.ifname}`);
  expect(second.sort()).toEqual(many.map((id) => `${id} net1`).sort());
  const state = (name: string): string[] => readdirSync(join(bed.dir, 'state', 'networks', name)).sort();
  expect(state('pods')).toEqual(many.map((id) => `${id}@eth0.json`).sort());
  expect(state('results')).toEqual(many.flatMap((id) => [`${MANY}-${id}-eth0`, `${SECOND}-${id}-net1`]).sort());
  const held = first.map((a) => `${a.network} ${a.containerId} ${[...a.addresses].join(',')}`);
  expect(held.sort()).toEqual(
    living.map((p) => `${p.list.name} ${p.attachment.containerId} ${addressesOf(p).join(',')}`).sort(),
  );
  const all = living.flatMap(addressesOf);
  expect(new Set(all).size).toBe(all.length);
  const links = ipj(node, 'link')
    .map((l) => String(l['ifname']))
    .filter((name) => /^veth[0-9a-f]{8}$/.test(name));
  expect(links.sort()).toEqual(attachments.map((a) => String(a.link)).sort());
  const routed = living.filter((p) => p.list.name !== 'storm-bridge').flatMap(addressesOf);
  const routes = ['-4', '-6'].flatMap((family) =>
    ipj(node, family, 'route')
      .filter((r) => String(r['dev']).startsWith('veth') && !String(r['dst']).startsWith('fe80'))
      .map((r) => String(r['dst'])),
  );
  expect(routes.sort()).toEqual(routed.sort());
  const cached = readdirSync(join(bed.dir, 'cache', 'results'));
  expect(cached.sort()).toEqual(living.map((p) => `${p.list.name}-${p.attachment.containerId}-eth0`).sort());
  const ports = living.flatMap((p) => (p.hostPort === undefined ? [] : [p.hostPort]));
  expect(mappedPorts(node)).toEqual(ports.sort((a, b) => a - b));
}

/** Host ports in the kernel's map of IPv4. */
function mappedPorts(node: string): number[] {
  if (!sh(node, 'nft', 'list', 'tables').includes('weft-portmap')) return [];
  const text = sh(node, 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4');
  return [...text.matchAll(/tcp \. (\d+) /g)].map((match) => Number(match[1])).sort((a, b) => a - b);
}

it(`after ${KILLS} kills of the agent at random moments (seed ${SEED}) everything is as the living pods are`, {
  timeout: 60_000 + KILLS * 2_000,
}, async () => {
  const random = generator(SEED);
  const storm = new Storm(random, [
    bed.list({ name: 'storm' }, ['10.244.0.0/22']),
    bed.list({ name: 'storm-bridge' }, ['10.248.0.0/22'], 'bridge'),
    bed.list({ name: 'storm-dual' }, ['10.252.0.0/22', 'fd00:1::/64']),
    many(),
  ]);
  const workers = Array.from({ length: WORKERS }, () => storm.worker());
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random() * 120);
    await agent.kill();
    await agent.start();
  }
  storm.end();
  await Promise.all(workers);
  expect(storm.adds).toBeGreaterThan(KILLS / 2);
  const living = [...storm.living];
  await expectOnly(living);
  for (const pod of living.slice(0, 5)) expect(pings(pod.attachment.netns, '192.0.2.10')).toBe(true);
  // A restart finds the same.
  await agent.kill();
  await agent.start();
  await expectOnly(living);
  if (process.env['WEFT_STORM_KILLS'] !== undefined) {
    const { adds, dels, refused } = storm;
    process.stdout.write(`${KILLS} kills, ${adds} ADD (${refused} failed), ${dels} DEL, ${living.length} living\n`);
  }
});
