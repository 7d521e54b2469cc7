// Kinds of links that the usual kernel of a development machine lacks, against what ip lists.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type NetNs, Rtnl, Tc } from '../../src/index.ts';
import { json, Namespaces } from '../kernel/netns-fixture.ts';

const namespaces = new Namespaces();
let ns: NetNs;
let rt: Rtnl;

beforeAll(() => {
  ns = namespaces.make();
  rt = Rtnl.open(ns);
});
afterAll(() => {
  rt.close();
  namespaces.close();
});

describe('links of kind', () => {
  it('dummy', async () => {
    await rt.links.add({ name: 'dummy0', kind: 'dummy', mtu: 1400, up: true });
    expect(await rt.links.get('dummy0')).toMatchObject({ kind: 'dummy', mtu: 1400, up: true });
    expect(json(ns, 'ip', '-j', '-d', 'link', 'show', 'dummy0')[0]).toMatchObject({
      mtu: 1400,
      linkinfo: { info_kind: 'dummy' },
    });
  });

  it('vrf, with its table', async () => {
    await rt.links.add({ name: 'red', kind: 'vrf', vrf: { table: 77 }, up: true });
    expect(await rt.links.get('red')).toMatchObject({ kind: 'vrf', vrf: { table: 77 } });
    expect(json(ns, 'ip', '-j', '-d', 'link', 'show', 'red')[0]).toMatchObject({
      linkinfo: { info_kind: 'vrf', info_data: { table: 77 } },
    });
  });

  it.each(['l2', 'l3', 'l3s'] as const)('ipvlan, mode %s', async (mode) => {
    const parent = `d${mode}`;
    await rt.links.add({ name: parent, kind: 'dummy', up: true });
    const below = await rt.links.get(parent);
    await rt.links.add({ name: `v${mode}`, kind: 'ipvlan', ipvlan: { parent: below?.index ?? 0, mode } });
    expect((await rt.links.get(`v${mode}`))?.ipvlan).toEqual({ mode });
    expect(json(ns, 'ip', '-j', '-d', 'link', 'show', `v${mode}`)[0]).toMatchObject({
      link: parent,
      linkinfo: { info_kind: 'ipvlan', info_data: { mode } },
    });
  });

  it('vlan, with its id', async () => {
    await rt.links.add({ name: 'trunk', kind: 'dummy', up: true });
    const trunk = await rt.links.get('trunk');
    await rt.links.add({ name: 'trunk.7', kind: 'vlan', vlan: { parent: trunk?.index ?? 0, id: 7 } });
    expect(await rt.links.get('trunk.7')).toMatchObject({ kind: 'vlan', vlan: { id: 7 } });
    expect(json(ns, 'ip', '-j', '-d', 'link', 'show', 'trunk.7')[0]).toMatchObject({
      linkinfo: { info_kind: 'vlan', info_data: { id: 7 } },
    });
  });

  it('ipip, with its ends', async () => {
    await rt.links.add({ name: 'tun', kind: 'ipip', ipip: { local: '192.0.2.1', remote: '192.0.2.2', ttl: 9 } });
    expect(json(ns, 'ip', '-j', '-d', 'link', 'show', 'tun')[0]).toMatchObject({
      address: '192.0.2.1',
      broadcast: '192.0.2.2',
      linkinfo: { info_kind: 'ipip', info_data: { local: '192.0.2.1', remote: '192.0.2.2', ttl: 9 } },
    });
  });

  it('wireguard, as a bare device', async () => {
    await rt.links.add({ name: 'wg0', kind: 'wireguard', mtu: 1420 });
    expect(await rt.links.get('wg0')).toMatchObject({ kind: 'wireguard', mtu: 1420 });
  });
});

it('matchall redirects everything that comes in', async () => {
  await rt.links.add({ name: 'in0', kind: 'dummy', up: true });
  await rt.links.add({ name: 'ifb9', kind: 'ifb', up: true });
  const [index = 0, redirect = 0] = [(await rt.links.get('in0'))?.index, (await rt.links.get('ifb9'))?.index];
  const tc = Tc.open(ns);
  await tc.qdiscs.add({ index, kind: 'ingress' });
  await tc.filters.add({ index, parent: 'ffff:', kind: 'matchall', redirect });
  expect(await tc.filters.list(index, 'ffff:')).toContainEqual(
    expect.objectContaining({ kind: 'matchall', priority: 1, protocol: 3, redirect }),
  );
  expect(JSON.stringify(json(ns, 'tc', '-j', 'filter', 'show', 'dev', 'in0', 'ingress'))).toContain('"to_dev":"ifb9"');
  tc.close();
});
