import type { Family } from '@weft/net';
import type { Diff } from '@weft/plan';
import { addressWidth, endpointWidth, type Packed, unpackList } from '../model/packed.ts';
import { frontendAddress, type Planned, type ServicePort } from '../model/types.ts';
import { Blocks } from './blocks.ts';
import { BACKEND, SERVICE, SERVICE_KEY } from './layout.ts';

/** Changes of the maps of one family, to be made in this order. */
export interface MapChanges {
  /** Elements of the backends. */
  readonly backends: readonly { readonly index: number; readonly value: Buffer }[];
  readonly set: readonly { readonly key: Buffer; readonly value: Buffer }[];
  readonly deleted: readonly Buffer[];
}

/** What sockets are led to: the endpoints of one service port, at its ClusterIP. */
interface Lead {
  /** Packed frontend keys; those that another service port claims too are not led. */
  readonly keys: readonly Packed[];
  readonly endpoints: Packed;
  readonly hairpin: Packed;
  readonly at: number;
  readonly count: number;
}

/** Least sizes of maps: elements. */
const LEAST = { services: 1024, backends: 4096 } as const;

function room(need: number, least: number): number {
  let size = least;
  while (size < need * 2) size *= 2;
  return size;
}

/**
 * The endpoints that a socket may be led to without a packet of its connection looking any different: TCP to a ClusterIP
 * without affinity. Undefined for everything else, which packets find their way for.
 */
function leadOf(port: ServicePort): Packed | undefined {
  if (port.protocol !== 'TCP' || port.affinitySeconds > 0) return undefined;
  const endpoints = port.internal === 'Local' ? port.local : port.cluster;
  return endpoints === '' ? undefined : endpoints;
}

/**
 * Pure: what the maps of one family hold, and how a change of the plan changes them. A changed list of endpoints is written
 * beside the old one, and the frontend then leads there: a program sees the one or the other.
 */
export class SocketMaps {
  readonly family: Family;
  /** Entries that maps have room for. */
  readonly size: { readonly services: number; readonly backends: number };
  readonly #blocks: Blocks;
  readonly #leads = new Map<string, Lead>();
  /** How many service ports have an address and port of any kind for a frontend, by packed key. */
  readonly #claims = new Map<Packed, number>();
  /** Keys that the maps hold. */
  readonly #held = new Map<Packed, Lead>();

  /** `plan` says how much room is needed; it is not entered. */
  constructor(family: Family, plan: Iterable<Planned> = []) {
    let services = 0;
    let backends = 0;
    for (const port of plan) {
      if (port.type !== 'ServicePort' || port.family !== family) continue;
      services += 1;
      backends += (leadOf(port)?.length ?? 0) / endpointWidth(family);
    }
    this.family = family;
    this.size = { services: room(services, LEAST.services), backends: room(backends, LEAST.backends) };
    this.#blocks = new Blocks(this.size.backends);
  }

  /** Frontends that the maps hold. */
  get held(): number {
    return this.#held.size;
  }

  /** Undefined when the maps have no room for it: larger ones must be made, from the whole plan. `now` in ms. */
  update(diff: Diff<Planned>, now: number): MapChanges | undefined {
    /** Keys of which claims have changed; true where a contest may have ended. */
    const touched = new Map<Packed, boolean>();
    for (const [key, { value }] of diff.removed) this.#drop(key, value, touched, now);
    for (const [key, { from }] of diff.changed) this.#drop(key, from.value, touched, now);
    const fresh: Lead[] = [];
    for (const [key, entry] of [...[...diff.changed].map(([k, { to }]) => [k, to] as const), ...diff.added]) {
      if (!this.#enter(key, entry.value, touched, fresh, now)) return undefined;
    }
    const leads = new Map(fresh.flatMap((lead) => lead.keys.map((key) => [key, lead])));
    const set: { key: Buffer; value: Buffer }[] = [];
    const deleted: Buffer[] = [];
    for (const [key, ended] of touched) {
      const alone = this.#claims.get(key) === 1;
      const lead = alone ? (leads.get(key) ?? (ended ? this.#leadAt(key) : undefined)) : undefined;
      if (lead !== undefined) {
        this.#held.set(key, lead);
        set.push({ key: serviceKey(key), value: serviceValue(lead) });
      } else if (this.#held.delete(key)) deleted.push(serviceKey(key));
    }
    if (this.#held.size > this.size.services) return undefined;
    return { backends: fresh.flatMap((lead) => this.#elements(lead)), set, deleted };
  }

  /** All that the maps must hold. */
  wanted(): Pick<MapChanges, 'backends' | 'set'> {
    return {
      backends: [...new Set(this.#held.values())].flatMap((lead) => this.#elements(lead)),
      set: [...this.#held].map(([key, lead]) => ({ key: serviceKey(key), value: serviceValue(lead) })),
    };
  }

  /** Packed frontends (address and port) with the packed endpoints that sockets are led to. */
  leads(): { readonly frontend: Packed; readonly endpoints: Packed }[] {
    return [...this.#held].map(([key, { endpoints }]) => ({
      frontend: frontendAddress(key) + key.slice(-2),
      endpoints,
    }));
  }

  #drop(key: string, value: Planned, touched: Map<Packed, boolean>, now: number): void {
    if (value.type !== 'ServicePort' || value.family !== this.family) return;
    for (const frontend of value.frontends) this.#claim(frontend.key, -1, touched);
    const lead = this.#leads.get(key);
    if (lead === undefined) return;
    this.#leads.delete(key);
    this.#blocks.give(lead.at, lead.count, now);
  }

  /** False when there is no room. */
  #enter(key: string, value: Planned, touched: Map<Packed, boolean>, fresh: Lead[], now: number): boolean {
    if (value.type !== 'ServicePort' || value.family !== this.family) return true;
    for (const frontend of value.frontends) this.#claim(frontend.key, 1, touched);
    const endpoints = leadOf(value);
    const keys = value.frontends.filter((frontend) => frontend.kind === 'ClusterIP').map((frontend) => frontend.key);
    if (endpoints === undefined || keys.length === 0) return true;
    const count = endpoints.length / endpointWidth(this.family);
    const at = this.#blocks.take(count, now);
    if (at === undefined) return false;
    const lead = { keys, endpoints, hairpin: value.hairpin, at, count };
    this.#leads.set(key, lead);
    fresh.push(lead);
    return true;
  }

  /** Addresses of one service port may be those of another: what exactly happens then is decided for packets. */
  #claim(key: Packed, by: 1 | -1, touched: Map<Packed, boolean>): void {
    if (frontendAddress(key) === '') return;
    const claims = (this.#claims.get(key) ?? 0) + by;
    if (claims === 0) this.#claims.delete(key);
    else this.#claims.set(key, claims);
    touched.set(key, touched.get(key) === true || (by === -1 && claims === 1));
  }

  /** By looking at all: contested addresses are rare, and so is the end of a contest. */
  #leadAt(key: Packed): Lead | undefined {
    for (const lead of this.#leads.values()) if (lead.keys.includes(key)) return lead;
    return undefined;
  }

  #elements(lead: Lead): { index: number; value: Buffer }[] {
    const width = addressWidth(this.family);
    const { port, hairpin, size } = BACKEND[this.family];
    const own = new Set(unpackList(lead.hairpin, width));
    return unpackList(lead.endpoints, endpointWidth(this.family)).map((endpoint, i) => {
      const value = Buffer.alloc(size);
      value.write(endpoint.slice(0, width), 0, 'latin1');
      value.write(endpoint.slice(width), port, 'latin1');
      value.writeUInt8(own.has(endpoint.slice(0, width)) ? 1 : 0, hairpin);
      return { index: lead.at + i, value };
    });
  }
}

/** A frontend as the programs look for it; `key` is packed. */
function serviceKey(key: Packed): Buffer {
  const address = frontendAddress(key);
  const out = Buffer.alloc(SERVICE_KEY[address.length === 4 ? 4 : 6]);
  out.write(address, 0, 'latin1');
  out.write(key.slice(-2), address.length, 'latin1');
  return out;
}

function serviceValue({ at, count }: Lead): Buffer {
  const out = Buffer.alloc(SERVICE.size);
  out.writeUInt32LE(at, SERVICE.first);
  out.writeUInt32LE(count, SERVICE.count);
  return out;
}
