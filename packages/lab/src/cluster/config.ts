import { formatPrefix, parsePrefix, type Prefix, prefixesOverlap, subnetCount } from '@weft/net';
import { backendCapabilities, backendNames } from '@weft/fabric';
import { WeftError } from '@weft/plan';

/** Everything that defines a cluster of the lab. Written once at `up`, read by every process of the cluster. */
export interface ClusterConfig {
  readonly name: string;
  readonly nodes: number;
  /** Number of underlay subnets; nodes are spread over them and a router joins them. */
  readonly subnets: 1 | 2;
  /** How pods of different nodes reach each other: a name of the fabric's. */
  readonly backend: string;
  readonly podCidr: string;
  /** Prefix length of the block that each node gets out of `podCidr`. */
  readonly nodeCidrMaskSize: number;
  readonly serviceCidr: string;
  /** The nodes' own network; each subnet is a /24 of it. */
  readonly underlayCidr: string;
  readonly clusterDomain: string;
  /** TCP port of the API on the host's loopback. */
  readonly apiPort: number;
  readonly nodePortRange: readonly [number, number];
  readonly demo: boolean;
  /** True inside an unprivileged user namespace. */
  readonly rootless: boolean;
}

/** What a user may ask for; everything has a default. */
export interface ClusterRequest {
  readonly name?: string;
  readonly nodes?: number;
  readonly subnets?: number;
  readonly backend?: string;
  readonly podCidr?: string;
  readonly nodeCidrMaskSize?: number;
  readonly serviceCidr?: string;
  readonly underlayCidr?: string;
  readonly apiPort?: number;
  readonly demo?: boolean;
}

/** Underlay addresses that are not nodes': the router (.1), the host (.254), network and broadcast. */
const FIRST_NODE_OFFSET = 11;
const NODES_PER_SUBNET = 240;

/** Two addresses for pods, besides the first and the last. */
const SMALLEST_NODE_BLOCK = 30;

function cidr(flag: string, text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) {
    throw new WeftError({
      code: 'BAD_CIDR',
      message: `${flag}: "${text}" is not a CIDR block`,
      hint: 'write it as ADDRESS/BITS, for example 10.244.0.0/16',
    });
  }
  if (prefix.ip.family !== 4) {
    throw new WeftError({
      code: 'BAD_CIDR',
      message: `${flag}: ${text} is not an IPv4 block`,
      hint: 'the lab is single-stack IPv4 for now',
    });
  }
  if (formatPrefix(prefix) !== text) {
    throw new WeftError({
      code: 'BAD_CIDR',
      message: `${flag}: ${text} has host bits set`,
      hint: `did you mean ${formatPrefix(prefix)}?`,
    });
  }
  return prefix;
}

/** Blocks whose addresses no host can have, or not for this (RFC 6890). */
const SPECIAL_BLOCKS = [
  ['0.0.0.0/8', 'of "this network"'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
].map(([block = '', use]) => ({ prefix: parsePrefix(block) as Prefix, use }));

/** Directories beside those of clusters. */
const NOT_CLUSTERS = new Set(['images', 'shim', 'run']);

/** True for what can be a cluster's name. Host link names are `weft-NAME` and at most 15 bytes long. */
export function isClusterName(name: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?$/.test(name) && !NOT_CLUSTERS.has(name);
}

/**
 * Refuses what cannot be a cluster's name. Names become directories, which `down` removes, and links: whoever takes one
 * from a user asks here first.
 *
 * @throws WeftError BAD_NAME
 */
export function checkClusterName(name: string): void {
  if (isClusterName(name)) return;
  throw new WeftError({
    code: 'BAD_NAME',
    message: `--name: "${name}" cannot be a cluster's name`,
    hint: 'use 1 to 10 lower-case letters, digits and dashes',
  });
}

/**
 * Fills defaults and checks a request. `index` numbers the clusters of this machine from 0, so that clusters side by
 * side get different defaults; `taken` are the blocks that something else on this machine uses already.
 *
 * @throws WeftError BAD_NAME, BAD_CIDR, CIDR_OVERLAP, CIDR_TOO_SMALL, BAD_BACKEND, BAD_NODES, BAD_PORT
 */
export function resolveConfig(
  request: ClusterRequest,
  context: { index: number; rootless: boolean; apiPort: number; taken: readonly { what: string; cidr: string }[] },
): ClusterConfig {
  const name = request.name ?? 'weft';
  checkClusterName(name);
  const nodes = request.nodes ?? 3;
  const subnets = request.subnets ?? 1;
  if (subnets !== 1 && subnets !== 2)
    throw new WeftError({
      code: 'BAD_SUBNETS',
      message: `--subnets: ${subnets} is neither 1 nor 2`,
      hint: 'with 2, nodes n1, n3, … are in one subnet, n2, n4, … in the other',
    });
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_PER_SUBNET * subnets) {
    throw new WeftError({
      code: 'BAD_NODES',
      message: `--nodes: ${nodes} is not between 1 and ${NODES_PER_SUBNET * subnets}`,
      hint: `a subnet has room for ${NODES_PER_SUBNET} nodes; see --subnets`,
    });
  }
  const backend = request.backend ?? 'vxlan';
  if (!backendNames().includes(backend)) {
    throw new WeftError({
      code: 'BAD_BACKEND',
      message: `--backend: there is no backend "${backend}"`,
      hint: `choose one of ${backendNames().join(', ')}`,
    });
  }
  // The lab's router speaks no BGP.
  const acrossRouters = backend !== 'bgp' && backendCapabilities(backend).acrossRouters;
  if (!acrossRouters && subnets > 1 && nodes > 1) {
    throw new WeftError({
      code: 'BACKEND_NEEDS_ONE_SUBNET',
      message: `--backend ${backend} needs all nodes in one subnet: with --subnets 2 a router is between them that knows no pods`,
      hint: 'use --backend vxlan, which works across routers, or --subnets 1',
    });
  }
  const { index } = context;
  const podCidr = cidr('--pod-cidr', request.podCidr ?? `10.${244 - index}.0.0/16`);
  const serviceCidr = cidr('--service-cidr', request.serviceCidr ?? `10.${96 + 16 * (index % 9)}.0.0/12`);
  const underlayCidr = cidr('--underlay-cidr', request.underlayCidr ?? `10.89.${8 * index}.0/21`);
  const nodeCidrMaskSize = request.nodeCidrMaskSize ?? Math.max(24, Math.min(28, podCidr.length + 8));
  if (!(nodeCidrMaskSize >= podCidr.length && nodeCidrMaskSize <= SMALLEST_NODE_BLOCK)) {
    throw new WeftError({
      code: 'BAD_MASK_SIZE',
      message: `--node-cidr-mask-size: ${nodeCidrMaskSize} is not between ${podCidr.length} (the pod CIDR's own) and ${SMALLEST_NODE_BLOCK}`,
      hint: 'leave it out: it follows from the pod CIDR',
    });
  }
  const blocks = [
    { what: '--pod-cidr', prefix: podCidr },
    { what: '--service-cidr', prefix: serviceCidr },
    { what: '--underlay-cidr', prefix: underlayCidr },
  ];
  for (const { what, prefix } of blocks) {
    const special = SPECIAL_BLOCKS.find((s) => prefixesOverlap(s.prefix, prefix));
    if (special === undefined) continue;
    throw new WeftError({
      code: 'BAD_CIDR',
      message: `${what}: ${formatPrefix(prefix)} has addresses of ${formatPrefix(special.prefix)}, which are ${special.use}`,
      hint: 'choose a private block, for example of 10.0.0.0/8',
    });
  }
  const others = context.taken.flatMap((t) => {
    const prefix = parsePrefix(t.cidr);
    return prefix === undefined ? [] : [{ what: t.what, prefix }];
  });
  blocks.forEach((a, i) => {
    for (const b of [...blocks.slice(i + 1), ...others]) {
      if (!prefixesOverlap(a.prefix, b.prefix)) continue;
      throw new WeftError({
        code: 'CIDR_OVERLAP',
        message: `${a.what} ${formatPrefix(a.prefix)} overlaps ${b.what} ${formatPrefix(b.prefix)}`,
        hint: 'choose blocks that share no address',
      });
    }
  });
  if (subnetCount(podCidr, nodeCidrMaskSize) < BigInt(nodes)) {
    throw new WeftError({
      code: 'CIDR_TOO_SMALL',
      message: `--pod-cidr ${formatPrefix(podCidr)} holds ${subnetCount(podCidr, nodeCidrMaskSize)} blocks of /${nodeCidrMaskSize}, too few for ${nodes} nodes`,
      hint: 'choose a larger --pod-cidr or a longer --node-cidr-mask-size',
    });
  }
  if (serviceCidr.length > 28) {
    throw new WeftError({
      code: 'CIDR_TOO_SMALL',
      message: `--service-cidr ${formatPrefix(serviceCidr)} is too small for the kubernetes and kube-dns Services`,
      hint: 'choose /28 or larger',
    });
  }
  if (underlayCidr.length > 24 - (subnets - 1)) {
    throw new WeftError({
      code: 'CIDR_TOO_SMALL',
      message: `--underlay-cidr ${formatPrefix(underlayCidr)} holds no ${subnets} subnets of /24`,
      hint: `choose /${24 - (subnets - 1)} or larger`,
    });
  }
  const apiPort = request.apiPort ?? context.apiPort;
  if (!Number.isInteger(apiPort) || apiPort < 1 || apiPort > 65_535) {
    throw new WeftError({
      code: 'BAD_PORT',
      message: `--api-port: ${apiPort} is not a TCP port`,
      hint: 'choose one from 1 to 65535',
    });
  }
  return {
    name,
    nodes,
    subnets,
    backend,
    podCidr: formatPrefix(podCidr),
    nodeCidrMaskSize,
    serviceCidr: formatPrefix(serviceCidr),
    underlayCidr: formatPrefix(underlayCidr),
    clusterDomain: 'cluster.local',
    apiPort,
    nodePortRange: [30_000, 32_767],
    demo: request.demo ?? true,
    rootless: context.rootless,
  };
}

/** A node's place in the underlay. */
export interface NodePlace {
  readonly name: string;
  readonly subnet: number;
  /** Offset of the node's address in its /24. */
  readonly offset: number;
}

/** Nodes n1…nN, spread over the subnets in turn. */
export function nodePlaces(config: ClusterConfig): NodePlace[] {
  return Array.from({ length: config.nodes }, (_, i) => ({
    name: `n${i + 1}`,
    subnet: i % config.subnets,
    offset: FIRST_NODE_OFFSET + Math.floor(i / config.subnets),
  }));
}
