import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mount, NetNs, umount2 } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CniRuntime, installPlugins } from '../../src/index.ts';
import { Bed, ipj, pings, sh } from './bed.ts';
import { KillableAgent } from './killable.ts';

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

function veths(): string[] {
  return ipj(join(bed.dir, 'node'), 'link')
    .map((l) => String(l['ifname']))
    .filter((name) => /^veth[0-9a-f]{8}$/.test(name));
}

/** Everything the node has must belong to an attachment, and every attachment must work. */
async function expectConsistent(alive: readonly { netns: string; containerId: string }[]): Promise<void> {
  const attachments = await agent.ask('flush');
  expect(attachments.map((a) => a.containerId).sort()).toEqual(alive.map((p) => p.containerId).sort());
  const addresses = attachments.flatMap((a) => a.addresses);
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(veths().sort()).toEqual(attachments.map((a) => String(a.link)).sort());
  const routes = sh(join(bed.dir, 'node'), 'ip', 'route').match(/^10\.244\.\S+/gm) ?? [];
  expect(routes.sort()).toEqual(addresses.sort());
  for (const { netns, containerId } of alive) {
    const [mine] = attachments.find((a) => a.containerId === containerId)?.addresses ?? [];
    expect(sh(netns, 'ip', '-4', '-br', 'addr', 'show', 'dev', 'eth0')).toContain(`${mine}/32`);
  }
}

describe('kill -9 of the agent', () => {
  it('in the middle of ADD leaks no address, doubles none and leaves no link', async () => {
    const alive: { netns: string; containerId: string; ifname: string }[] = [];
    for (let round = 0; round < 8; round++) {
      const pods = Array.from({ length: 4 }, () => bed.pod());
      const adds = pods.map((pod) =>
        bed.runtime.add(bed.list(), pod).then(
          () => alive.push(pod),
          () => undefined,
        ),
      );
      await sleep(5 + 6 * round);
      await agent.kill();
      await Promise.all(adds);
      await agent.start();
      // What failed for the runtime may have been done when the agent died: as after any failed ADD, it calls DEL.
      for (const pod of pods) if (!alive.includes(pod)) await bed.runtime.del(bed.list(), pod);
      await expectConsistent(alive);
    }
    for (const pod of alive) expect(pings(pod.netns, '192.0.2.10')).toBe(true);
  });

  it('in the middle of DEL frees everything once, and a later DEL succeeds', async () => {
    for (let round = 0; round < 6; round++) {
      const pods = Array.from({ length: 4 }, () => bed.pod());
      for (const pod of pods) await bed.runtime.add(bed.list(), pod);
      const dels = pods.map((pod) =>
        bed.runtime.del(bed.list(), pod).then(
          () => true,
          () => false,
        ),
      );
      await sleep(4 + 3 * round);
      await agent.kill();
      const done = await Promise.all(dels);
      await agent.start();
      for (const [i, pod] of pods.entries()) {
        if (!done[i]) await bed.runtime.del(bed.list(), pod);
      }
      await expectConsistent([]);
    }
  });

  it('keeps pods that run, and frees those whose sandbox the runtime no longer knows', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), a);
    await bed.runtime.add(bed.list(), b);
    await agent.kill();
    await agent.start();
    await expectConsistent([a, b]);
    await agent.ask([{ containerId: a.containerId, ifname: '' }]);
    await expectConsistent([a]);
    await agent.ask([]);
    await expectConsistent([]);
  });

  it('answers "try again later" while no agent is there', async () => {
    await agent.kill();
    await expect(bed.runtime.add(bed.list(), bed.pod())).rejects.toMatchObject({ cniCode: 11 });
    await expect(bed.runtime.status(bed.list())).rejects.toMatchObject({ cniCode: 50 });
  });
});

describe('DEL without an agent', () => {
  const ports = (hostPort: number) => ({ capabilityArgs: { portMappings: [{ hostPort, containerPort: 80 }] } });
  const left = () => readdirSync(`${bed.socket}.del`);

  it('succeeds at once, again and again, and the next agent does it before anything else', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), { ...a, ...ports(8080) });
    await bed.runtime.add(bed.list(), b);
    await agent.kill();
    for (let i = 0; i < 2; i++) await bed.runtime.del(bed.list(), { ...a, netns: '' });
    // One of the main plugin and one of portmap for each.
    expect(left()).toHaveLength(4);
    expect(readdirSync(join(bed.dir, 'cache', 'results'))).toEqual(['weft-c2-eth0']);
    await agent.start();
    expect(left()).toEqual([]);
    await expectConsistent([b]);
    expect(sh(join(bed.dir, 'node'), 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4')).not.toContain('8080');
    // The same container may come again: what was left for its predecessor does not touch it.
    await bed.runtime.add(bed.list(), { ...a, ...ports(8080) });
    await agent.kill();
    await agent.start();
    await expectConsistent([b, a]);
  });

  it('works by the script as well, and does not mind rubbish among the calls that were left', async () => {
    const bin = join(bed.dir, 'fallback');
    await installPlugins({ binDir: bin, agentSocket: bed.socket, sourceDir: '' });
    const runtime = new CniRuntime({ confDir: bed.dir, binDirs: [bin], cacheDir: join(bed.dir, 'cache') });
    const pod = bed.pod();
    await runtime.add(bed.list(), pod);
    await agent.kill();
    await runtime.del(bed.list(), pod);
    expect(left()).toHaveLength(2);
    writeFileSync(join(`${bed.socket}.del`, '0'), 'rubbish');
    await agent.start();
    expect(left()).toEqual([]);
    await expectConsistent([]);
  });
});

describe('a full disk', () => {
  it('refuses ADD without a trace, lets pods go, and does not stop a restart', async () => {
    await agent.kill();
    const state = join(bed.dir, 'state');
    mount('tmpfs', state, 'tmpfs', 0, 'size=16k');
    try {
      await agent.start();
      const [a, b, c] = [bed.pod(), bed.pod(), bed.pod()];
      await bed.runtime.add(bed.list(), a);
      await bed.runtime.add(bed.list(), b);
      let fill = 4096;
      while (fill > 0) {
        try {
          appendFileSync(join(state, 'filler'), Buffer.alloc(fill));
        } catch {
          fill = Math.floor(fill / 2);
        }
      }
      // The journals' last pages have some room left.
      let refused: unknown;
      const more: ReturnType<Bed['pod']>[] = [];
      for (let i = 0; i < 60 && refused === undefined; i++) {
        const pod = bed.pod();
        await bed.runtime.add(bed.list(), pod).then(
          () => more.push(pod),
          (error) => {
            refused = error;
          },
        );
      }
      expect(refused).toMatchObject({ cniCode: 5, message: expect.stringContaining('no space left on device') });
      await expectConsistent([a, b, ...more]);
      await bed.runtime.del(bed.list(), b);
      await expectConsistent([a, ...more]);
      await agent.kill();
      await agent.start();
      await expectConsistent([a, ...more]);
      rmSync(join(state, 'filler'));
      await bed.runtime.add(bed.list(), c);
      await expectConsistent([a, c, ...more]);
    } finally {
      await agent.kill();
      umount2(state);
    }
  });
});

describe('a reboot', () => {
  it('is known by the boot id: nothing of the life before is held, and DEL of its pods succeeds', async () => {
    const pod = bed.pod();
    const mapped = { capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } };
    await bed.runtime.add(bed.list(), { ...pod, ...mapped });
    await agent.kill();
    // What a reboot takes away: namespaces, links and tables.
    NetNs.remove(pod.netns);
    await expect.poll(veths, { timeout: 10_000 }).toEqual([]);
    sh(join(bed.dir, 'node'), 'nft', 'delete', 'table', 'inet', 'weft-portmap');
    for (const name of ['allocations.journal', 'hostports.journal']) {
      const file = join(bed.dir, 'state', name);
      writeFileSync(file, readFileSync(file, 'utf8').replace(/"boot":"[^"]*"/, '"boot":"another"'));
    }
    await agent.start();
    await expectConsistent([]);
    expect(sh(join(bed.dir, 'node'), 'nft', 'list', 'tables')).not.toContain('weft-portmap');
    await bed.runtime.del(bed.list(), pod);
    const next = bed.pod();
    const result = await bed.runtime.add(bed.list(), { ...next, ...mapped });
    expect(result.ips?.[0]?.address).toBe('10.244.1.2/32');
    await expectConsistent([next]);
  });
});

describe('a runtime that lost its state', () => {
  it('can still remove what it remembers, and the rest goes by the list of sandboxes', async () => {
    const [a, b, c] = [bed.pod(), bed.pod(), bed.pod()];
    for (const pod of [a, b, c]) await bed.runtime.add(bed.list(), pod);
    rmSync(join(bed.dir, 'cache'), { recursive: true });
    await bed.runtime.del(bed.list(), a);
    await expectConsistent([b, c]);
    await agent.ask([{ containerId: c.containerId, ifname: '' }]);
    await expectConsistent([c]);
  });
});

describe('a lost state directory', () => {
  it('does not cost running pods their addresses', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), a);
    await agent.kill();
    sh(join(bed.dir, 'node'), 'rm', '-r', join(bed.dir, 'state'));
    await agent.start();
    await bed.runtime.add(bed.list(), b);
    await expectConsistent([a, b]);
    await bed.runtime.del(bed.list(), a);
    await expectConsistent([b]);
  });
});
