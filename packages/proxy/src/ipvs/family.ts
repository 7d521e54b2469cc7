import type { IpSetChange, IpSetElement, IpvsChange, IpvsService } from '@weft/kernel';
import { IPVS_HASHED } from '@weft/kernel';
import { parseIp, parsePrefix, prefixContains } from '@weft/net';
import type { Diff } from '@weft/plan';
import {
  endpointWidth,
  formatAddress,
  packAddress,
  packPort,
  type Packed,
  portOf,
  unpackList,
} from '../model/packed.ts';
import type { Planned, ServicePort } from '../model/types.ts';
import { compilePort, type PortWants, serverKey, type Surroundings, type WantedServer } from './compile.ts';
import { kernelSet, SET_NAMES, type SetName } from './names.ts';
import type { ClosedToNode } from './rules.ts';

/** A virtual service as the kernel has it: packed endpoints and their weights. */
export interface FoundServer {
  readonly service: IpvsService;
  readonly weights: Map<Packed, number>;
}

/** What the kernel has of one family. */
export interface Found {
  readonly servers: Map<string, FoundServer>;
  readonly elements: Map<SetName, Map<string, IpSetElement>>;
  /** Addresses of the dummy link. */
  readonly bound: Set<string>;
}

/** What leads the kernel to the plan, in the order in which it has to be done. */
export interface Steps {
  readonly addElements: readonly IpSetChange[];
  readonly servers: readonly IpvsChange[];
  readonly bind: readonly string[];
  readonly unbind: readonly string[];
  readonly removeServers: readonly IpvsChange[];
  readonly removeElements: readonly IpSetChange[];
}

interface Counted {
  readonly element: IpSetElement;
  count: number;
}

export function elementKey(element: IpSetElement): string {
  return `${element.ip ?? ''},${element.protocol ?? ''}:${element.port ?? ''},${element.ip2 ?? ''}/${element.length2 ?? ''}`;
}

/** IPVS state of one family as a value: what the plan asks for beside what the kernel has. */
export class IpvsFamily {
  around: Surroundings;
  readonly #ports = new Map<string, { readonly port: ServicePort; wants: PortWants }>();
  /** Who asks for a virtual service; the first one by name is served. */
  readonly #servers = new Map<string, Map<string, WantedServer>>();
  readonly #elements = new Map<SetName, Map<string, Counted>>(SET_NAMES.map((name) => [name, new Map()]));
  readonly #bound = new Map<string, number>();
  #found: Found = { servers: new Map(), elements: new Map(), bound: new Set() };
  readonly #dirtyServers = new Set<string>();
  readonly #dirtyElements = new Map<SetName, Set<string>>(SET_NAMES.map((name) => [name, new Set()]));
  readonly #dirtyBound = new Set<string>();
  readonly #planAddresses = new Map<string, string>();
  readonly #excluded: (address: string) => boolean;

  constructor(around: Surroundings) {
    this.around = around;
    const blocks = (around.settings.excludeCIDRs ?? []).flatMap((text) => parsePrefix(text) ?? []);
    this.#excluded = (address) => {
      const ip = parseIp(address);
      return ip !== undefined && blocks.some((block) => block.ip.family === ip.family && prefixContains(block, ip));
    };
  }

  get size(): number {
    return this.#ports.size;
  }

  /** Addresses of this node that the plan names for NodePorts. */
  get planAddresses(): string[] {
    return [...this.#planAddresses.values()];
  }

  /** Load balancer addresses that the node may not use, in a stable order. */
  get closed(): ClosedToNode[] {
    const all = [...this.#ports.values()].flatMap(({ wants }) => wants.closed);
    const text = (c: ClosedToNode): string => `${c.address}|${c.protocol}|${c.port}`;
    return [...new Map(all.map((c) => [text(c), c])).values()].sort((a, b) => (text(a) < text(b) ? -1 : 1));
  }

  /** Takes changes of the plan. */
  update(diff: Diff<Planned>): void {
    const { family } = this.around.config;
    for (const [key, entry] of diff.removed) if (entry.value.family === family) this.#remove(key, entry.value);
    for (const [key, { from, to }] of diff.changed) {
      if (from.value.family !== family) continue;
      this.#remove(key, from.value);
      this.#add(key, to.value);
    }
    for (const [key, { value }] of diff.added) if (value.family === family) this.#add(key, value);
  }

  /** Compiles all ports again, for a node whose addresses have changed. */
  moved(around: Surroundings): void {
    this.around = around;
    for (const [key, entry] of this.#ports) {
      this.#forget(key, entry.wants);
      entry.wants = compilePort(entry.port, around);
      this.#want(key, entry.wants);
    }
  }

  /** What the kernel has has been read: everything is to be compared. */
  read(found: Found): void {
    this.#found = found;
    for (const key of [...this.#servers.keys(), ...found.servers.keys()]) this.#dirtyServers.add(key);
    for (const name of SET_NAMES) {
      const dirty = this.#dirtyElements.get(name) as Set<string>;
      for (const key of this.#elements.get(name)?.keys() ?? []) dirty.add(key);
      for (const key of found.elements.get(name)?.keys() ?? []) dirty.add(key);
    }
    for (const address of [...this.#bound.keys(), ...found.bound]) this.#dirtyBound.add(address);
  }

  /** `prune`: take away what the plan does not ask for, too. Changes nothing by itself. */
  steps(prune: boolean): Steps {
    const steps = {
      addElements: [] as IpSetChange[],
      servers: [] as IpvsChange[],
      bind: [] as string[],
      unbind: [] as string[],
      removeServers: [] as IpvsChange[],
      removeElements: [] as IpSetChange[],
    };
    for (const key of this.#dirtyServers) this.#serverSteps(key, prune, steps);
    for (const name of SET_NAMES) {
      const set = kernelSet(name, this.around.config.family);
      const wanted = this.#elements.get(name) as Map<string, Counted>;
      const found = this.#found.elements.get(name);
      for (const key of this.#dirtyElements.get(name) as Set<string>) {
        const want = wanted.get(key);
        const has = found?.get(key);
        if (want !== undefined && has === undefined) steps.addElements.push({ do: 'add', set, element: want.element });
        else if (want === undefined && has !== undefined && prune) {
          steps.removeElements.push({ do: 'del', set, element: has });
        }
      }
    }
    for (const address of this.#dirtyBound) {
      const wanted = this.#bound.has(address);
      if (wanted === this.#found.bound.has(address)) continue;
      if (wanted) steps.bind.push(address);
      else if (prune) steps.unbind.push(address);
    }
    return steps;
  }

  #serverSteps(key: string, prune: boolean, steps: { servers: IpvsChange[]; removeServers: IpvsChange[] }): void {
    const want = this.#winner(key);
    const found = this.#found.servers.get(key);
    if (want === undefined) {
      if (found === undefined || !prune || this.#excluded(found.service.address)) return;
      steps.removeServers.push({ do: 'delService', service: found.service });
      return;
    }
    const { service } = want;
    if (found === undefined) steps.servers.push({ do: 'addService', service });
    else if (!sameService(found.service, service)) steps.servers.push({ do: 'setService', service });
    const endpoints = new Set(unpackList(want.endpoints, endpointWidth(this.around.config.family)));
    for (const endpoint of endpoints) {
      const weight = found?.weights.get(endpoint);
      if (weight === 1) continue;
      const what = weight === undefined ? 'addDestination' : 'setDestination';
      steps.servers.push({ do: what, service, destination: destinationOf(endpoint, 1) });
    }
    if (found === undefined) return;
    const draining = new Set(unpackList(want.draining, endpointWidth(this.around.config.family)));
    for (const [endpoint, weight] of found.weights) {
      if (endpoints.has(endpoint)) continue;
      // TCP connections end in their own time: the server gets no new ones and goes when it has none.
      if (service.protocol !== 6 && !draining.has(endpoint))
        steps.removeServers.push({ do: 'delDestination', service, destination: destinationOf(endpoint, 0) });
      else if (weight > 0)
        steps.removeServers.push({ do: 'setDestination', service, destination: destinationOf(endpoint, 0) });
    }
  }

  /** The steps have been done, `refused` ones left out: the kernel is as planned. */
  done(steps: Steps, refused: ReadonlySet<IpvsChange>): void {
    const { servers, elements, bound } = this.#found;
    for (const change of [...steps.servers, ...steps.removeServers]) {
      if (refused.has(change)) continue;
      applyTo(servers, change);
    }
    const setNames = new Map(SET_NAMES.map((name) => [kernelSet(name, this.around.config.family), name]));
    for (const change of [...steps.addElements, ...steps.removeElements]) {
      const name = setNames.get(change.set) as SetName;
      let found = elements.get(name);
      if (found === undefined) elements.set(name, (found = new Map()));
      if (change.do === 'add') found.set(elementKey(change.element), change.element);
      else found.delete(elementKey(change.element));
    }
    for (const address of steps.bind) bound.add(address);
    for (const address of steps.unbind) bound.delete(address);
    this.#dirtyServers.clear();
    this.#dirtyBound.clear();
    for (const dirty of this.#dirtyElements.values()) dirty.clear();
    // Tried again with the next change.
    for (const { service } of refused) this.#dirtyServers.add(serverKey(service));
  }

  /** TCP servers that get no new connections and wait for their old ones to end, by virtual service. */
  terminating(): { readonly service: IpvsService; readonly endpoints: readonly Packed[] }[] {
    const out: { service: IpvsService; endpoints: Packed[] }[] = [];
    for (const [key, { service, weights }] of this.#found.servers) {
      if (service.protocol !== 6 || this.#winner(key) === undefined) continue;
      const endpoints = [...weights].filter(([, weight]) => weight === 0).map(([endpoint]) => endpoint);
      if (endpoints.length > 0) out.push({ service, endpoints });
    }
    return out;
  }

  /** Notes that a terminating server is gone. */
  terminated(change: IpvsChange): void {
    applyTo(this.#found.servers, change);
  }

  /** The service port that a virtual service is for. */
  ownerOf(key: string): string | undefined {
    return [...(this.#servers.get(key)?.keys() ?? [])].sort()[0];
  }

  #winner(key: string): WantedServer | undefined {
    const owners = this.#servers.get(key);
    if (owners === undefined) return undefined;
    if (owners.size === 1) return owners.values().next().value;
    return owners.get([...owners.keys()].sort()[0] as string);
  }

  #add(key: string, value: Planned): void {
    if (value.type === 'NodePortAddress') {
      this.#planAddresses.set(key, formatAddress(value.address));
      return;
    }
    const wants = compilePort(value, this.around);
    this.#ports.set(key, { port: value, wants });
    this.#want(key, wants);
  }

  #remove(key: string, value: Planned): void {
    if (value.type === 'NodePortAddress') {
      this.#planAddresses.delete(key);
      return;
    }
    const entry = this.#ports.get(key);
    if (entry === undefined) return;
    this.#ports.delete(key);
    this.#forget(key, entry.wants);
  }

  #want(key: string, wants: PortWants): void {
    for (const server of wants.servers) {
      const owners = this.#servers.get(server.key);
      if (owners === undefined) this.#servers.set(server.key, new Map([[key, server]]));
      else owners.set(key, server);
      this.#dirtyServers.add(server.key);
    }
    for (const { set, element } of wants.elements) {
      const id = elementKey(element);
      const counted = this.#elements.get(set) as Map<string, Counted>;
      const entry = counted.get(id);
      if (entry === undefined) counted.set(id, { element, count: 1 });
      else entry.count += 1;
      (this.#dirtyElements.get(set) as Set<string>).add(id);
    }
    for (const address of wants.bound) {
      this.#bound.set(address, (this.#bound.get(address) ?? 0) + 1);
      this.#dirtyBound.add(address);
      this.#mark(address);
    }
  }

  #forget(key: string, wants: PortWants): void {
    for (const server of wants.servers) {
      const owners = this.#servers.get(server.key);
      owners?.delete(key);
      if (owners?.size === 0) this.#servers.delete(server.key);
      this.#dirtyServers.add(server.key);
    }
    for (const { set, element } of wants.elements) {
      const id = elementKey(element);
      const counted = this.#elements.get(set) as Map<string, Counted>;
      const entry = counted.get(id);
      if (entry !== undefined && --entry.count === 0) counted.delete(id);
      (this.#dirtyElements.get(set) as Set<string>).add(id);
    }
    for (const address of wants.bound) {
      const count = (this.#bound.get(address) ?? 1) - 1;
      if (count === 0) this.#bound.delete(address);
      else this.#bound.set(address, count);
      this.#dirtyBound.add(address);
      this.#mark(address);
    }
  }

  /** KUBE-IPVS-IPS holds exactly the bound addresses. */
  #mark(address: string): void {
    const element = { ip: address };
    const id = elementKey(element);
    const counted = this.#elements.get('KUBE-IPVS-IPS') as Map<string, Counted>;
    if (this.#bound.has(address)) counted.set(id, { element, count: 1 });
    else counted.delete(id);
    (this.#dirtyElements.get('KUBE-IPVS-IPS') as Set<string>).add(id);
  }
}

function sameService(found: IpvsService, wanted: IpvsService): boolean {
  // Without persistence the kernel keeps whatever time it was told last.
  const timed = wanted.timeout === 0 || found.timeout === wanted.timeout;
  return found.scheduler === wanted.scheduler && (found.flags & ~IPVS_HASHED) === wanted.flags && timed;
}

function destinationOf(endpoint: Packed, weight: number): { address: string; port: number; weight: number } {
  return { address: formatAddress(endpoint.slice(0, -2)), port: portOf(endpoint), weight };
}

function applyTo(servers: Map<string, FoundServer>, change: IpvsChange): void {
  const { service } = change;
  const key = serverKey(service);
  switch (change.do) {
    case 'addService':
    case 'setService': {
      const weights = servers.get(key)?.weights ?? new Map<Packed, number>();
      servers.set(key, { service: change.service, weights });
      return;
    }
    case 'delService':
      servers.delete(key);
      return;
    default: {
      const { address, port, weight } = change.destination;
      const endpoint = (packAddress(address) ?? '') + packPort(port);
      const weights = servers.get(key)?.weights;
      if (change.do === 'delDestination') weights?.delete(endpoint);
      else weights?.set(endpoint, weight);
    }
  }
}
