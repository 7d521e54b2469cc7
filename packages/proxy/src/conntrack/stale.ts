import type { Diff } from '@weft/plan';
import { endpointWidth, type Packed, portOf, unpackList } from '../model/packed.ts';
import type { Planned, ServicePort } from '../model/types.ts';

/** A tracked UDP flow, as far as it matters here; addresses packed. */
export interface UdpFlow {
  /** What the client sent to. */
  readonly destination: Packed;
  readonly destinationPort: number;
  /** Packed endpoint that answers. */
  readonly answers: Packed;
  /** The destination was translated. */
  readonly translated: boolean;
}

function isUdp(value: Planned | undefined): value is ServicePort {
  return value?.type === 'ServicePort' && value.protocol === 'UDP';
}

function serving(port: ServicePort): Set<Packed> {
  const width = endpointWidth(port.family);
  return new Set([port.cluster, port.local, port.draining].flatMap((list) => unpackList(list, width)));
}

/**
 * UDP frontends whose endpoints changed, each with the endpoints that may keep their flows.
 *
 * NAT rules see only the first packet of a flow, and a UDP flow lives as long as its client sends: without this a client
 * would go on sending to an endpoint that is gone (kubernetes/kubernetes#19029, #139628).
 */
export class ChangedFrontends {
  readonly #allowed = new Map<Packed, Set<Packed>>();
  readonly #ports = new Set<number>();

  get isEmpty(): boolean {
    return this.#allowed.size === 0;
  }

  /** Notes what a change of the plan means for flows. Endpoints that are only added leave all flows right. */
  note(diff: Diff<Planned>): void {
    for (const { value } of diff.removed.values()) if (isUdp(value)) this.#forget(value);
    for (const { from, to } of diff.changed.values()) {
      if (!isUdp(from.value) || !isUdp(to.value)) continue;
      const now = serving(to.value);
      const before = serving(from.value);
      const lost = [...before].some((endpoint) => !now.has(endpoint)) || before.size === 0;
      const moved = from.value.frontends.map((f) => f.key).join() !== to.value.frontends.map((f) => f.key).join();
      const pending = to.value.frontends.some((f) => this.#allowed.has(f.key));
      if (!lost && !moved && !pending) continue;
      this.#forget(from.value);
      this.#allow(to.value, now);
    }
    // A client may have begun before the Service was there: its flow was let through untranslated.
    for (const { value } of diff.added.values()) if (isUdp(value)) this.#allow(value, serving(value));
  }

  /** Puts back what was taken, after a failure. Newer notes win. */
  restore(other: ChangedFrontends): void {
    for (const [key, allowed] of other.#allowed) if (!this.#allowed.has(key)) this.#set(key, allowed);
  }

  /** Whether any noted frontend has this port: spares most flows a closer look. */
  hasPort(port: number): boolean {
    return this.#ports.has(port);
  }

  /** Whether a flow leads to an endpoint that no longer serves. `nodeAddresses`: packed addresses of this node. */
  isStale(flow: UdpFlow, nodeAddresses: ReadonlySet<Packed>): boolean {
    const tail = String.fromCharCode(17, flow.destinationPort >> 8, flow.destinationPort & 0xff);
    const allowed = this.#allowed.get(flow.destination + tail);
    if (allowed !== undefined) return !allowed.has(flow.answers);
    const byNodePort = this.#allowed.get(tail);
    // Flows that merely use the same port number on their way to somewhere else are left alone.
    if (byNodePort === undefined || !(flow.translated || nodeAddresses.has(flow.destination))) return false;
    return !byNodePort.has(flow.answers);
  }

  #forget(port: ServicePort): void {
    for (const f of port.frontends) this.#set(f.key, new Set());
  }

  #set(key: Packed, allowed: Set<Packed>): void {
    this.#allowed.set(key, allowed);
    this.#ports.add(portOf(key));
  }

  #allow(port: ServicePort, endpoints: Iterable<Packed>): void {
    for (const f of port.frontends) {
      const allowed = this.#allowed.get(f.key) ?? new Set();
      for (const endpoint of endpoints) allowed.add(endpoint);
      this.#set(f.key, allowed);
    }
  }
}
