import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { Conntrack } from '../conntrack/conntrack.ts';
import { isKernelError } from '../errors.ts';
import { Nft } from '../nft/nft.ts';
import { Rtnl } from '../rtnl/rtnl.ts';
import type { LinkSpec } from '../rtnl/types.ts';
import { NetNs } from './netns.ts';

const LINK_KINDS = [
  'veth',
  'bridge',
  'vxlan',
  'macvlan',
  'ipvlan',
  'vlan',
  'dummy',
  'vrf',
  'ipip',
  'ip6tnl',
  'gre',
  'ip6gre',
  'geneve',
  'wireguard',
] as const;

type LinkKind = (typeof LINK_KINDS)[number];

/** What this kernel can do, found by trying it in a namespace of its own. */
export interface KernelFeatures {
  /** `uname -r`. */
  readonly release: string;
  /** False when no network namespace may be made: nothing below was tried then, and all is false. */
  readonly netns: boolean;
  /** Link drivers that can be used. */
  readonly links: Readonly<Record<LinkKind, boolean>>;
  readonly nftables: boolean;
  readonly conntrack: boolean;
  readonly overlayfs: boolean;
  /** Unprivileged user namespaces are allowed. */
  readonly userns: boolean;
  readonly ipvs: boolean;
  readonly bpf: boolean;
  readonly cgroup2: boolean;
}

async function can(fn: () => Promise<unknown>): Promise<boolean> {
  try {
    await fn();
    return true;
  } catch (error) {
    return isKernelError(error, 'EEXIST');
  }
}

function probe(kind: LinkKind, parent: number): LinkSpec {
  const name = `p-${kind}`;
  switch (kind) {
    case 'vxlan':
      return { name, kind, vxlan: { id: 1, port: 4789 } };
    case 'macvlan':
      return { name, kind, macvlan: { parent } };
    case 'ipvlan':
      return { name, kind, ipvlan: { parent } };
    case 'vlan':
      return { name, kind, vlan: { parent, id: 2 } };
    case 'vrf':
      return { name, kind, vrf: { table: 99 } };
    case 'ipip':
      return { name, kind, ipip: { local: '192.0.2.1', remote: '192.0.2.2' } };
    case 'ip6tnl':
    case 'gre':
    case 'ip6gre':
    case 'geneve':
      return { name, kind, external: { kind } };
    default:
      return { name, kind };
  }
}

function fileHas(path: string, text: string): boolean {
  try {
    return readFileSync(path, 'utf8').split(/\s+/).includes(text);
  } catch {
    return false;
  }
}

function number(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Probes the kernel in a throw-away network namespace (some milliseconds; the host's network is not touched). */
export async function features(): Promise<KernelFeatures> {
  const links = Object.fromEntries(LINK_KINDS.map((kind) => [kind, false])) as Record<LinkKind, boolean>;
  const found = {
    release: release(),
    netns: false,
    links,
    nftables: false,
    conntrack: false,
    overlayfs: fileHas('/proc/filesystems', 'overlay'),
    userns:
      (number('/proc/sys/user/max_user_namespaces') ?? 0) > 0 &&
      number('/proc/sys/kernel/unprivileged_userns_clone') !== 0,
    ipvs: false,
    bpf: existsSync('/proc/sys/net/core/bpf_jit_enable') && fileHas('/proc/filesystems', 'bpf'),
    cgroup2: fileHas('/proc/filesystems', 'cgroup2'),
  };
  let ns: NetNs;
  try {
    ns = NetNs.anonymous();
  } catch {
    return found;
  }
  found.netns = true;
  const rtnl = Rtnl.open(ns);
  try {
    await can(() => rtnl.links.add({ name: 'p0', kind: 'veth', peer: { name: 'p1' } }));
    const parent = (await rtnl.links.get('p0'))?.index ?? 1;
    for (const kind of LINK_KINDS) links[kind] = await can(() => rtnl.links.add(probe(kind, parent)));
    found.nftables = await can(async () => {
      const nft = Nft.open(ns);
      try {
        await nft.generation();
      } finally {
        nft.close();
      }
    });
    found.conntrack = await can(async () => {
      const conntrack = Conntrack.open(ns);
      try {
        await conntrack.dump({ mark: { value: 1 } });
      } finally {
        conntrack.close();
      }
    });
    found.ipvs = ns.run(() => existsSync('/proc/thread-self/net/ip_vs'));
  } finally {
    rtnl.close();
    ns.close();
  }
  return found;
}
