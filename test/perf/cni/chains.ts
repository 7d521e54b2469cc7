// The chains that are compared.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { defaultConflist, networksConflist } from '@weft/cni';

const REFERENCE = '/usr/lib/cni';
const haveReference: boolean = existsSync(path.join(REFERENCE, 'bridge'));

type Json = Readonly<Record<string, unknown>>;

/** A network configuration list as it is on disk. */
interface Conflist {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly (Json & { readonly type: string })[];
}

export interface Chain {
  readonly label: string;
  readonly list: Conflist;
  readonly binDir: string;
  /** Pods get one host port. */
  readonly ports: boolean;
  /** Our own runtime calls the agent itself, as in the lab. */
  readonly direct?: boolean;
}

export interface Places {
  readonly dir: string;
  readonly socket: string;
}

const PORTMAP = { type: 'portmap', capabilities: { portMappings: true } };

function weft({ socket }: Places, name = 'weft', subnet = '10.244.0.0/20'): Conflist {
  const list = defaultConflist({ mtu: 1450, podCidrs: [subnet], agentSocket: socket, name });
  return list as unknown as Conflist;
}

function networks({ socket }: Places): Conflist {
  const first = weft({ dir: '', socket }, 'many', '10.248.0.0/20');
  return networksConflist({ ...first }, { agentSocket: socket }) as unknown as Conflist;
}

function bridge({ dir }: Places, name: string, subnet: string): Conflist {
  const ipam = { type: 'host-local', dataDir: path.join(dir, `ipam-${name}`), ranges: [[{ subnet }]] };
  const first = { type: 'bridge', bridge: `br-${name}`, isDefaultGateway: true, mtu: 1450, ipam };
  return { cniVersion: '1.0.0', name, plugins: [first, PORTMAP] };
}

function alone(list: Conflist): Conflist {
  return { ...list, plugins: list.plugins.slice(0, 1) };
}

function withAndWithout(label: string, list: Conflist, binDir: string): Chain[] {
  return [
    { label: `${label} + portmap`, list, binDir, ports: false },
    { label: `${label} + portmap, 1 hostPort`, list, binDir, ports: true },
  ];
}

/** Executed as a foreign runtime does. */
export function foreignChains(places: Places): Chain[] {
  const ours = path.join(places.dir, 'bin');
  const mine = weft(places);
  const same = bridge(places, 'same', '10.98.0.0/20');
  const theirs = bridge(places, 'ref', '10.99.0.0/20');
  return [
    { label: 'weft', list: alone(mine), binDir: ours, ports: false },
    ...withAndWithout('weft', mine, ours),
    { label: 'our bridge + host-local', list: alone(same), binDir: ours, ports: false },
    ...withAndWithout('our bridge + host-local', same, ours),
    ...(haveReference
      ? [
          { label: 'reference bridge + host-local', list: alone(theirs), binDir: REFERENCE, ports: false },
          ...withAndWithout('reference bridge + host-local', theirs, REFERENCE),
        ]
      : []),
  ];
}

/** Ours without an agent: each call a Node process of its own. */
export function aloneChains(places: Places): Chain[] {
  const list = bridge(places, 'alone', '10.97.0.0/20');
  const binDir = path.join(places.dir, 'alone');
  return [
    { label: 'our bridge + host-local, no agent', list: alone(list), binDir, ports: false },
    { label: 'our bridge + host-local + portmap, 1 hostPort, no agent', list, binDir, ports: true },
  ];
}

/** Called by our own runtime (`CniRuntime`), as by the lab. */
export function ownChains(places: Places): Chain[] {
  const ours = path.join(places.dir, 'bin');
  const direct = withAndWithout('weft', weft(places), ours).map((chain) => ({ ...chain, direct: true }));
  return [
    ...direct.map((chain) => ({ ...chain, label: `${chain.label}, direct` })),
    ...withAndWithout('weft', weft(places), ours),
    ...withAndWithout('weft-networks: weft', networks(places), ours),
    ...(haveReference
      ? withAndWithout('reference bridge + host-local', bridge(places, 'ref', '10.99.0.0/20'), REFERENCE)
      : []),
  ];
}
