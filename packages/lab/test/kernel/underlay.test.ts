import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetNs, readSysctl, Rtnl } from '@weft/kernel';
import { nodePlaces, resolveConfig } from '../../src/cluster/config.ts';
import { hardwareAddress, netnsPath } from '../../src/topology/addresses.ts';
import { Underlay } from '../../src/topology/underlay.ts';

const config = resolveConfig({ nodes: 2, subnets: 2 }, { index: 0, rootless: false, apiPort: 6443, taken: [] });

async function macOf(file: string, link: string): Promise<string | undefined> {
  const ns = NetNs.open(file);
  const rtnl = Rtnl.open(ns);
  try {
    return (await rtnl.links.get(link))?.mac;
  } finally {
    rtnl.close();
    ns.close();
  }
}

describe('the underlay', () => {
  let dir: string;
  let underlay: Underlay;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-under-'));
    underlay = new Underlay(config, dir);
    await underlay.createRouter();
  });
  afterEach(() => {
    for (const name of ['n1', 'n2', 'lab']) NetNs.remove(netnsPath(dir, name));
    rmSync(dir, { recursive: true, force: true });
  });

  it('gives a node that comes back the hardware address it had', async () => {
    const [place] = nodePlaces(config);
    if (place === undefined) throw new Error('no node');
    const wanted = hardwareAddress(underlay.addresses.nodes.get('n1')?.address ?? '');
    await underlay.createNode(place);
    expect(await macOf(underlay.nodePath('n1'), 'eth0')).toBe(wanted);
    await underlay.unplug('n1');
    underlay.removeNode('n1');
    await underlay.createNode(place);
    expect(await macOf(underlay.nodePath('n1'), 'eth0')).toBe(wanted);
  });

  it('has nodes that point nobody to another gateway', async () => {
    const [place] = nodePlaces(config);
    if (place === undefined) throw new Error('no node');
    await underlay.createNode(place);
    const ns = NetNs.open(underlay.nodePath('n1'));
    try {
      // The kernel takes the larger of the two.
      for (const scope of ['all', 'eth0']) expect(readSysctl(`net.ipv4.conf.${scope}.send_redirects`, ns)).toBe('0');
      for (const scope of ['all', 'eth0']) expect(readSysctl(`net.ipv4.conf.${scope}.rp_filter`, ns)).toBe('0');
    } finally {
      ns.close();
    }
  });

  it('keeps the hardware address of the router whatever is plugged in', async () => {
    const before = await macOf(underlay.routerPath, 'under0');
    for (const place of nodePlaces(config)) await underlay.createNode(place);
    expect(await macOf(underlay.routerPath, 'under0')).toBe(before);
    expect(before).toBe(hardwareAddress(underlay.addresses.routers[0] ?? ''));
  });
});
