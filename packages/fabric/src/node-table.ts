import {
  addToIp,
  compareIp,
  formatIp,
  formatPrefix,
  type Ip,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixesOverlap,
} from '@weft/net';
import type { FabricCondition, FabricNode } from './nodes.ts';

/** Addresses and pod CIDRs that a node says are its own. */
interface Claims {
  readonly node: FabricNode;
  readonly prefixes: readonly Prefix[];
  readonly ips: readonly Ip[];
  /** Places in the index; undefined: a block so large that it is compared with all. */
  readonly places: readonly string[] | undefined;
}

/** Length of the blocks by which claims are indexed, and the shortest prefix that is spread over them. */
const BLOCK = { 4: { length: 24, spread: 16 }, 6: { length: 64, spread: 56 } } as const;

/** The earlier node keeps what two nodes claim. */
function isOlder(a: FabricNode, b: FabricNode): boolean {
  return a.created === b.created ? a.name < b.name : a.created < b.created;
}

function blockOf(ip: Ip): string {
  return `${ip.family} ${ip.bytes.subarray(0, BLOCK[ip.family].length / 8).join('.')}`;
}

function placesOf(prefix: Prefix): readonly string[] | undefined {
  const { length, spread } = BLOCK[prefix.ip.family];
  if (prefix.length < spread) return undefined;
  const count = prefix.length >= length ? 1 : 2 ** (length - prefix.length);
  const step = 1n << BigInt(prefix.ip.bytes.length * 8 - length);
  return Array.from({ length: count }, (_, i) => blockOf(addToIp(prefix.ip, step * BigInt(i))));
}

function claimsOf(node: FabricNode): Claims {
  const prefixes = node.podCidrs.map(parsePrefix).filter((p): p is Prefix => p !== undefined);
  const ips = Object.values(node.ip)
    .map((text) => parseIp(text))
    .filter((ip): ip is Ip => ip !== undefined);
  const places: string[] = ips.map((ip) => `address ${formatIp(ip)}`);
  for (const prefix of prefixes) {
    const blocks = placesOf(prefix);
    if (blocks === undefined) return { node, prefixes, ips, places: undefined };
    places.push(...blocks);
  }
  return { node, prefixes, ips, places };
}

/** All nodes, and who may have what when they disagree. */
export class NodeTable {
  readonly #claims = new Map<string, Claims>();
  /** Place → names of the nodes that claim something there. */
  readonly #index = new Map<string, Set<string>>();
  /** Nodes with blocks too large to index. */
  readonly #wide = new Set<string>();

  get(name: string): FabricNode | undefined {
    return this.#claims.get(name)?.node;
  }

  names(): readonly string[] {
    return [...this.#claims.keys()];
  }

  /** Stores a node. Returns the nodes whose compilation may come out differently, itself included. */
  set(node: FabricNode): readonly string[] {
    const before = this.#claims.get(node.name);
    const touched = new Set([node.name, ...(before === undefined ? [] : this.#rivals(before))]);
    if (before !== undefined) this.#unindex(before);
    const after = claimsOf(node);
    this.#claims.set(node.name, after);
    if (after.places === undefined) this.#wide.add(node.name);
    for (const place of after.places ?? []) {
      const there = this.#index.get(place);
      if (there === undefined) this.#index.set(place, new Set([node.name]));
      else there.add(node.name);
    }
    for (const rival of this.#rivals(after)) touched.add(rival);
    return [...touched];
  }

  delete(name: string): readonly string[] {
    const before = this.#claims.get(name);
    if (before === undefined) return [];
    const touched = [name, ...this.#rivals(before)];
    this.#unindex(before);
    this.#claims.delete(name);
    return touched;
  }

  /** Why an older node's claim keeps this one from being used; undefined when it may be. */
  conflict(node: FabricNode): FabricCondition | undefined {
    const mine = claimsOf(node);
    for (const { node: other, prefixes, ips } of this.#near(mine)) {
      if (isOlder(node, other)) continue;
      for (const prefix of mine.prefixes) {
        const theirs = prefixes.find((p) => prefixesOverlap(p, prefix));
        if (theirs === undefined) continue;
        const message = `pod CIDR ${formatPrefix(prefix)} overlaps ${formatPrefix(theirs)} of node ${other.name}`;
        return { node: node.name, reason: 'PodCIDROverlap', message };
      }
      for (const ip of mine.ips) {
        if (!ips.some((theirs) => compareIp(theirs, ip) === 0)) continue;
        const message = `InternalIP ${formatIp(ip)} is also that of node ${other.name}`;
        return { node: node.name, reason: 'InternalIPConflict', message };
      }
    }
    return undefined;
  }

  #unindex(claims: Claims): void {
    const { name } = claims.node;
    this.#wide.delete(name);
    for (const place of claims.places ?? []) {
      const there = this.#index.get(place);
      there?.delete(name);
      if (there?.size === 0) this.#index.delete(place);
    }
  }

  /** Other nodes whose claims may meet these. */
  #near(claims: Claims): readonly Claims[] {
    const names = new Set<string>(claims.places === undefined ? this.#claims.keys() : this.#wide);
    for (const place of claims.places ?? []) for (const name of this.#index.get(place) ?? []) names.add(name);
    names.delete(claims.node.name);
    return [...names].map((name) => this.#claims.get(name) as Claims);
  }

  #rivals(claims: Claims): string[] {
    return this.#near(claims)
      .filter(
        ({ prefixes, ips }) =>
          claims.prefixes.some((p) => prefixes.some((q) => prefixesOverlap(p, q))) ||
          claims.ips.some((p) => ips.some((q) => compareIp(p, q) === 0)),
      )
      .map(({ node }) => node.name);
  }
}
