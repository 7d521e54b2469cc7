import { type Family, formatIp, parseIp, parsePrefix } from '@weft/net';
import { type BGPFilter, type BGPPeer, type CalicoSelector, parseCalicoSelector } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { FilterRule } from '../rib/index.ts';
import {
  DEFAULT_CONNECT_RETRY,
  DEFAULT_HOLD_TIME,
  DEFAULT_MAX_PREFIXES,
  DEFAULT_RESTART_TIME,
  type PeerConfig,
} from '../speaker/index.ts';
import { readFilters } from './filters.ts';
import type { BgpSettings } from './settings.ts';
import { parseAsNumber, parsePeerAddress, parseSeconds } from './values.ts';
import type { BgpNode, BgpProblem, BgpWorld } from './world.ts';

/** An address to speak to, and what is known of whoever is there. */
interface Target {
  readonly address: string;
  readonly port: number;
  readonly as: number;
  readonly name: string;
  readonly node?: BgpNode;
}

/** Reads peers out of the world of one node. */
export class PeerReader {
  readonly #world: BgpWorld;
  readonly #settings: BgpSettings;
  readonly #as: number;
  readonly #transit: readonly FilterRule[];
  readonly #say: (problem: BgpProblem) => void;
  readonly #filters: ReadonlyMap<string, BGPFilter>;
  /** By address: whoever comes first has it. */
  readonly #found = new Map<string, PeerConfig>();

  constructor(
    world: BgpWorld,
    settings: BgpSettings,
    as: number,
    transit: readonly FilterRule[],
    say: (problem: BgpProblem) => void,
  ) {
    this.#world = world;
    this.#settings = settings;
    this.#as = as;
    this.#transit = transit;
    this.#say = say;
    this.#filters = new Map(world.filters.map((filter) => [filter.metadata.name, filter]));
  }

  /** All peers of this node: those of BGPPeers, then the mesh. */
  read(): readonly PeerConfig[] {
    const peers = [...this.#world.peers].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    for (const peer of peers) this.#guard(peer, () => this.#forward(peer));
    for (const peer of peers) this.#guard(peer, () => this.#backward(peer));
    this.#mesh();
    return [...this.#found.values()];
  }

  #guard(peer: BGPPeer, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#say({ kind: 'BGPPeer', name: peer.metadata.name, message: errorMessage(error) });
    }
  }

  #selector(peer: BGPPeer, field: 'nodeSelector' | 'peerSelector'): CalicoSelector {
    try {
      return parseCalicoSelector(peer.spec?.[field]);
    } catch (error) {
      throw new SyntaxError(`spec.${field}: ${errorMessage(error)}`, { cause: error });
    }
  }

  /** Nodes that have the peer. */
  #has(peer: BGPPeer, node: BgpNode): boolean {
    const { node: name, nodeSelector } = peer.spec ?? {};
    if (name !== undefined && name !== '') return node.name === name;
    if (nodeSelector === undefined || nodeSelector === '') return true;
    return this.#selector(peer, 'nodeSelector')(node.labels);
  }

  #forward(peer: BGPPeer): void {
    const { self, nodes } = this.#world;
    const { peerIP, peerSelector, asNumber } = peer.spec ?? {};
    if (!this.#has(peer, self)) return;
    if (peerSelector !== undefined && peerSelector !== '') {
      const selected = this.#selector(peer, 'peerSelector');
      for (const node of nodes) if (node.name !== self.name && selected(node.labels)) this.#addNode(node, peer);
      return;
    }
    const { address, port } = parsePeerAddress(peerIP ?? '');
    const ip = parseIp(address);
    if (ip === undefined) throw new TypeError(`spec.peerIP: "${peerIP ?? ''}" is not an IP address`);
    const as = parseAsNumber(asNumber);
    if (as === undefined) throw new TypeError(`spec.asNumber: ${String(asNumber)} is not an AS number`);
    const text = formatIp(ip);
    // Everybody is told of this peer, the peer itself included.
    if (text === self.ip[ip.family]) return;
    const node = nodes.find((n) => n.ip[ip.family] === text);
    const name = peer.metadata.name;
    const there = port ?? (node === undefined ? 179 : this.#settings.port);
    this.#add({ address: text, port: there, as, name, ...(node === undefined ? {} : { node }) }, peer);
  }

  /** A node that is others' peer has them as its own. */
  #backward(peer: BGPPeer): void {
    const { self, nodes } = this.#world;
    const { peerSelector, peerIP, reversePeering } = peer.spec ?? {};
    if (reversePeering === 'Manual') return;
    const isPeer =
      peerSelector !== undefined && peerSelector !== ''
        ? this.#selector(peer, 'peerSelector')(self.labels)
        : Object.values(self.ip).includes(parsePeerAddress(peerIP ?? '').address);
    if (!isPeer) return;
    for (const node of nodes) if (node.name !== self.name && this.#has(peer, node)) this.#addNode(node, peer);
  }

  #mesh(): void {
    const { self, nodes } = this.#world;
    const { mesh, meshPasswordMissing } = this.#settings;
    // Reflectors have the peers that BGPPeers give them, and nobody else has them in a mesh.
    if (!mesh || meshPasswordMissing || self.clusterId !== undefined) return;
    for (const node of nodes) {
      if (node.name !== self.name && node.clusterId === undefined) this.#addNode(node, undefined);
    }
  }

  #addNode(node: BgpNode, peer: BGPPeer | undefined): void {
    const own = node.asNumber === undefined ? this.#settings.as : parseAsNumber(node.asNumber);
    if (own === undefined) {
      this.#say({
        kind: 'Node',
        name: node.name,
        message: `annotation projectcalico.org/ASNumber: "${node.asNumber ?? ''}" is not an AS number`,
      });
      return;
    }
    for (const family of [4, 6] as const) {
      const address = node.ip[family];
      if (address === undefined || this.#world.self.ip[family] === undefined) continue;
      const name = family === 4 ? node.name : `${node.name}/v6`;
      this.#add({ address, port: this.#settings.port, as: own, name, node }, peer);
    }
  }

  /** Blocks that an older node has: what a younger one says of them is not listened to. */
  #refused(node: BgpNode | undefined): readonly FilterRule[] {
    if (node === undefined || !this.#world.contested(node.name)) return [];
    return node.podCidrs.flatMap((text) => {
      const cidr = parsePrefix(text);
      return cidr === undefined ? [] : [{ action: 'Reject' as const, cidr, operator: 'In' as const }];
    });
  }

  #password(peer: BGPPeer | undefined): { readonly password?: string } {
    if (peer === undefined) {
      const { meshPassword } = this.#settings;
      return meshPassword === undefined ? {} : { password: meshPassword };
    }
    const ref = peer.spec?.password?.secretKeyRef;
    if (ref === undefined) return {};
    const password = this.#world.secret(ref.name, ref.key);
    // A session without its password would only be refused.
    if (password === undefined) throw new TypeError(`spec.password: Secret ${ref.name} has no key ${ref.key}`);
    return { password };
  }

  #add(target: Target, peer: BGPPeer | undefined): void {
    if (this.#found.has(target.address)) return;
    const { self } = this.#world;
    const spec = peer?.spec ?? {};
    const family: Family = target.address.includes(':') ? 6 : 4;
    const own = self.ip[family];
    if (own === undefined)
      throw new TypeError(`node ${self.name} has no IPv${family} address to speak to ${target.address}`);
    const localAs = spec.localASNumber === undefined ? this.#as : parseAsNumber(spec.localASNumber);
    if (localAs === undefined)
      throw new TypeError(`spec.localASNumber: ${String(spec.localASNumber)} is not an AS number`);
    const internal = target.as === localAs;
    for (const name of spec.filters ?? [])
      if (!this.#filters.has(name)) throw new TypeError(`spec.filters: there is no BGPFilter ${name}`);
    const filters = readFilters(spec.filters ?? [], this.#filters, { internal }, this.#say);
    const restartTime =
      peer === undefined ? this.#settings.meshRestartTime : (parseSeconds(spec.maxRestartTime) ?? DEFAULT_RESTART_TIME);
    const keep = spec.keepOriginalNextHop === true || spec.nextHopMode === 'Keep';
    const taken = [...this.#found.values()].some((other) => other.name === target.name);
    this.#found.set(target.address, {
      name: taken ? `${target.name} ${target.address}` : target.name,
      cause:
        peer === undefined
          ? { kind: 'Node', name: target.node?.name ?? target.name }
          : { kind: 'BGPPeer', name: peer.metadata.name },
      address: target.address,
      port: target.port,
      as: target.as,
      localAs,
      ...(spec.sourceAddress === 'None' ? {} : { source: own }),
      localAddress: self.ip,
      families: [family],
      ...this.#password(peer),
      // Of two nodes the one with the lower address dials; the words' order is what Calico's nodes go by.
      passive: peer === undefined && target.address > own,
      holdTime: DEFAULT_HOLD_TIME,
      connectRetry: DEFAULT_CONNECT_RETRY,
      restartTime: Math.min(restartTime, 4095),
      ...(spec.ttlSecurity === undefined ? {} : { ttlSecurity: spec.ttlSecurity }),
      client: internal && self.clusterId !== undefined && target.node?.clusterId !== self.clusterId,
      nextHop: keep ? 'keep' : spec.nextHopMode === 'Self' ? 'self' : 'auto',
      allowOwnAs: spec.numAllowedLocalASNumbers ?? 0,
      maxPrefixes: DEFAULT_MAX_PREFIXES,
      import: { rules: [...this.#refused(target.node), ...filters.import.rules], otherwise: 'Accept' },
      export: { rules: [...this.#settings.tags, ...filters.export, ...this.#transit], otherwise: 'Accept' },
    });
  }
}
