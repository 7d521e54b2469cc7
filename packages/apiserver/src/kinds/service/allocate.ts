import type { Service } from '@weft/kube';
import { ClusterIpRange, type FamilyName } from '../../alloc/cluster-ips.ts';
import { NodePortRange } from '../../alloc/node-ports.ts';
import type { FieldError } from '../../contract.ts';
import { internal, invalid } from '../validate/errors.ts';
import { same } from '../validate/values.ts';
import { fillFamilies } from './families.ts';
import { isHeadless, needsClusterIp, needsHealthCheckPort, nodePortsOf, ownerKey, wantsNodePorts } from './shape.ts';

/** Reservations of one write: kept when all of them succeed, given back when one fails or nothing may be kept. */
class Reservation {
  readonly #undo: (() => void)[] = [];
  readonly errors: FieldError[] = [];

  onUndo(undo: () => void): void {
    this.#undo.push(undo);
  }

  rollBack(): void {
    for (const undo of this.#undo.reverse()) undo();
  }
}

const holdsIps = (s: Service | undefined): string[] =>
  s === undefined || !needsClusterIp(s) || isHeadless(s) ? [] : (s.spec.clusterIPs ?? []);

function holdsPorts(s: Service | undefined): number[] {
  if (s === undefined) return [];
  const { healthCheckNodePort } = s.spec;
  return [...nodePortsOf(s), ...(healthCheckNodePort ? [healthCheckNodePort] : [])];
}

/** Gives Services their cluster IPs and node ports, and remembers who has which. */
export class ServiceAllocator {
  readonly #ranges: ReadonlyMap<FamilyName, ClusterIpRange>;
  readonly #ports: NodePortRange;

  constructor(cidrs: readonly string[], nodePortRange: readonly [number, number]) {
    this.#ranges = new Map(cidrs.map((cidr) => new ClusterIpRange(cidr)).map((range) => [range.family, range]));
    this.#ports = new NodePortRange(nodePortRange);
  }

  get families(): readonly FamilyName[] {
    return [...this.#ranges.keys()];
  }

  /**
   * Completes `next` and reserves what it needs; what `old` had and `next` has not is released. Nothing stays reserved, and
   * nothing is released, when errors are returned or on a dry run.
   */
  allocate(next: Service, old: Service | undefined, dryRun: boolean): FieldError[] {
    // A Service that prefers two families is not upgraded in passing when the cluster has got a second one.
    const settled =
      old?.spec.ipFamilyPolicy === 'PreferDualStack' &&
      same(old.spec.ipFamilyPolicy, next.spec.ipFamilyPolicy) &&
      same(old.spec.ipFamilies, next.spec.ipFamilies) &&
      same(old.spec.clusterIPs, next.spec.clusterIPs);
    const families = settled ? [] : fillFamilies(next, this.families);
    if (families.length > 0) return families;
    const reservation = new Reservation();
    this.#allocateIps(next, old, reservation);
    if (reservation.errors.length === 0) this.#allocatePorts(next, old, reservation);
    if (reservation.errors.length > 0 || dryRun) {
      reservation.rollBack();
      return reservation.errors;
    }
    if (old !== undefined) this.#releaseDropped(next, old);
    return [];
  }

  release(service: Service): void {
    const owner = ownerKey(service);
    for (const ip of holdsIps(service)) this.#rangeOf(ip)?.release(ip, owner);
    for (const port of holdsPorts(service)) this.#ports.release(port, owner);
  }

  /** Takes what stored Services hold. Of two that hold the same, the first keeps it. */
  rebuild(services: Iterable<Service>): void {
    for (const range of this.#ranges.values()) range.clear();
    this.#ports.clear();
    for (const service of services) {
      const owner = ownerKey(service);
      for (const ip of holdsIps(service)) this.#rangeOf(ip)?.take(ip, owner);
      for (const port of holdsPorts(service)) this.#ports.take(port, owner);
    }
  }

  #rangeOf(ip: string): ClusterIpRange | undefined {
    return this.#ranges.get(ip.includes(':') ? 'IPv6' : 'IPv4');
  }

  #allocateIps(next: Service, old: Service | undefined, reservation: Reservation): void {
    const { spec } = next;
    if (!needsClusterIp(next)) return;
    if (isHeadless(next)) {
      spec.clusterIP = 'None';
      spec.clusterIPs = ['None'];
      return;
    }
    const owner = ownerKey(next);
    const before = new Set(holdsIps(old));
    const ips: string[] = [];
    for (const [i, family] of (spec.ipFamilies ?? []).entries()) {
      const range = this.#ranges.get(family);
      const wanted = spec.clusterIPs?.[i];
      if (range === undefined) continue;
      if (wanted === undefined) {
        const ip = range.next(owner);
        if (ip === undefined) {
          reservation.errors.push(internal('spec.clusterIPs', 'failed to allocate a serviceIP: range is full'));
          return;
        }
        reservation.onUndo(() => range.release(ip, owner));
        ips.push(ip);
      } else {
        if (!before.has(wanted)) {
          const refusal = range.take(wanted, owner);
          if (refusal !== undefined) {
            const text = `failed to allocate IP ${wanted}: ${refusal.message}`;
            reservation.errors.push(invalid('spec.clusterIPs', spec.clusterIPs, text));
            return;
          }
          reservation.onUndo(() => range.release(wanted, owner));
        }
        ips.push(wanted);
      }
    }
    spec.clusterIPs = ips;
    if (ips[0] !== undefined) spec.clusterIP = ips[0];
  }

  #allocatePorts(next: Service, old: Service | undefined, reservation: Reservation): void {
    const owner = ownerKey(next);
    const mine = new Set(holdsPorts(old));
    const take = (port: number, field: string): void => {
      if (mine.has(port)) return;
      const refusal = this.#ports.take(port, owner);
      if (refusal !== undefined) reservation.errors.push(invalid(field, port, refusal));
      else {
        mine.add(port);
        reservation.onUndo(() => this.#ports.release(port, owner));
      }
    };
    const any = (): number | undefined => {
      const port = this.#ports.next(owner);
      if (port === undefined) {
        reservation.errors.push(internal('spec.ports', 'failed to allocate a nodePort: range is full'));
      } else {
        mine.add(port);
        reservation.onUndo(() => this.#ports.release(port, owner));
      }
      return port;
    };

    const ports = next.spec.ports ?? [];
    ports.forEach((port, i) => {
      if (port.nodePort) take(port.nodePort, `spec.ports[${i}].nodePort`);
    });
    if (reservation.errors.length > 0) return;
    if (wantsNodePorts(next)) {
      // TCP and UDP of one port number share a node port (DNS, HTTP/3).
      const byPort = new Map(ports.filter((p) => p.nodePort).map((p) => [p.port, p]));
      for (const port of ports) {
        if (port.nodePort) continue;
        const twin = byPort.get(port.port);
        const clash = ports.some((p) => p.nodePort === twin?.nodePort && p.protocol === port.protocol);
        const nodePort = twin?.nodePort !== undefined && !clash ? twin.nodePort : any();
        if (nodePort === undefined) return;
        port.nodePort = nodePort;
        byPort.set(port.port, port);
      }
    }
    if (needsHealthCheckPort(next)) {
      const wanted = next.spec.healthCheckNodePort;
      if (wanted) take(wanted, 'spec.healthCheckNodePort');
      else {
        const port = any();
        if (port !== undefined) next.spec.healthCheckNodePort = port;
      }
    }
  }

  #releaseDropped(next: Service, old: Service): void {
    const owner = ownerKey(old);
    const ips = new Set(holdsIps(next));
    const ports = new Set(holdsPorts(next));
    for (const ip of holdsIps(old)) if (!ips.has(ip)) this.#rangeOf(ip)?.release(ip, owner);
    for (const port of holdsPorts(old)) if (!ports.has(port)) this.#ports.release(port, owner);
  }
}
