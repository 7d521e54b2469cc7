import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { BpfLink, BpfMap, BpfProgram, isKernelError, mount, type SocketCall, umount2 } from '@weft/kernel';
import type { Family } from '@weft/net';
import { errorMessage, WeftError } from '@weft/plan';
import { BACKEND, ORIGIN, SERVICE, SERVICE_KEY } from './layout.ts';
import { socketProgram } from './programs.ts';
import type { MapChanges, SocketMaps } from './sockets.ts';

const CALLS: readonly SocketCall[] = ['connect4', 'connect6', 'getpeername4', 'getpeername6'];
const ORIGINS = {
  type: 'sk_storage',
  name: 'weft_origins',
  keySize: 4,
  valueSize: ORIGIN.size,
  maxEntries: 0,
} as const;

interface Tables {
  readonly services: BpfMap;
  readonly backends: BpfMap;
}

/** Programs with the maps that they read: another size of maps needs another set of programs. */
interface Generation {
  readonly tables: ReadonlyMap<Family, Tables>;
  readonly programs: ReadonlyMap<SocketCall, BpfProgram>;
}

export interface EbpfPlaces {
  /** Control group whose processes are led: a directory of a cgroup2. Called when the programs are attached. */
  readonly cgroup: () => string;
  /** Directory for pins; it becomes a bpffs when it is none. What is pinned there goes on while the agent is away. */
  readonly pins: string;
}

/** The socket programs of one node, in the kernel. */
export class SocketKernel {
  readonly #places: EbpfPlaces;
  #origins: BpfMap | undefined;
  #generation: Generation | undefined;

  /** Finds out whether this kernel and the rights of this process allow it. @throws WeftError PROXY_EBPF_MISSING */
  constructor(places: EbpfPlaces) {
    this.#places = places;
    try {
      mountPins(places.pins);
      this.#origins = this.#openOrigins();
    } catch (cause) {
      throw missing(cause);
    }
  }

  /** An earlier run's programs are at work. */
  get found(): boolean {
    return CALLS.some((call) => existsSync(this.#pin(call)));
  }

  get live(): boolean {
    return this.#generation !== undefined;
  }

  /** Makes maps with all that they must hold, and puts programs that read them in the place of those before, at once each. */
  replace(states: readonly SocketMaps[]): void {
    const opened: { close(): void }[] = [];
    const keep = <T extends { close(): void }>(thing: T): T => {
      opened.push(thing);
      return thing;
    };
    try {
      const tables = new Map<Family, Tables>();
      for (const family of [4, 6] as const) {
        const state = states.find((one) => one.family === family);
        const size = state?.size ?? { services: 1, backends: 1 };
        const made = {
          services: keep(
            BpfMap.create({
              type: 'hash',
              name: `weft_services${family}`,
              keySize: SERVICE_KEY[family],
              valueSize: SERVICE.size,
              maxEntries: size.services,
              noPreallocation: true,
            }),
          ),
          backends: keep(
            BpfMap.create({
              type: 'array',
              name: `weft_backends${family}`,
              keySize: 4,
              valueSize: BACKEND[family].size,
              maxEntries: size.backends,
            }),
          ),
        };
        tables.set(family, made);
        if (state !== undefined) write(made, { ...state.wanted(), deleted: [] });
      }
      const fds = (what: keyof Tables): Record<Family, number> => ({
        4: (tables.get(4) as Tables)[what].fd,
        6: (tables.get(6) as Tables)[what].fd,
      });
      const maps = { services: fds('services'), backends: fds('backends'), origins: (this.#origins as BpfMap).fd };
      const programs = new Map<SocketCall, BpfProgram>();
      for (const call of CALLS) {
        const code = socketProgram(call, maps);
        programs.set(call, keep(BpfProgram.load({ type: 'cgroup_sock_addr', name: `weft_${call}`, call, code })));
      }
      for (const [call, program] of programs) this.#attach(call, program);
      this.#close();
      this.#generation = { tables, programs };
    } catch (error) {
      for (const thing of opened.reverse()) thing.close();
      throw error;
    }
  }

  write(family: Family, changes: MapChanges): void {
    const tables = this.#generation?.tables.get(family);
    if (tables === undefined) throw new Error('there are no maps yet');
    write(tables, changes);
  }

  /** Compares the maps with what they must hold, repairs them, and returns how many elements were wrong. */
  audit(states: readonly SocketMaps[]): number {
    let wrong = 0;
    for (const state of states) {
      const tables = this.#generation?.tables.get(state.family);
      if (tables === undefined) continue;
      const { backends, set } = state.wanted();
      const lost = backends.filter(({ index, value }) => tables.backends.get(indexKey(index))?.equals(value) !== true);
      const bad = set.filter(({ key, value }) => tables.services.get(key)?.equals(value) !== true);
      const known = new Set(set.map(({ key }) => key.toString('latin1')));
      const deleted = [...tables.services.keys()].filter((key) => !known.has(key.toString('latin1')));
      write(tables, { backends: lost, set: bad, deleted });
      wrong += lost.length + bad.length + deleted.length;
    }
    for (const [call, program] of this.#generation?.programs ?? []) {
      if (existsSync(this.#pin(call))) continue;
      this.#attach(call, program);
      wrong += 1;
    }
    return wrong;
  }

  /** Lets go; pinned programs go on. */
  close(): void {
    this.#close();
    this.#origins?.close();
    this.#origins = undefined;
  }

  #close(): void {
    for (const program of this.#generation?.programs.values() ?? []) program.close();
    for (const { services, backends } of this.#generation?.tables.values() ?? []) {
      services.close();
      backends.close();
    }
    this.#generation = undefined;
  }

  #pin(name: string): string {
    return path.join(this.#places.pins, name);
  }

  #openOrigins(): BpfMap {
    const pin = this.#pin('origins');
    // Sockets that are open have theirs there.
    if (existsSync(pin)) return BpfMap.open(pin, ORIGINS);
    const map = BpfMap.create(ORIGINS);
    map.pin(pin);
    return map;
  }

  #attach(call: SocketCall, program: BpfProgram): void {
    const pin = this.#pin(call);
    if (existsSync(pin)) {
      const link = BpfLink.open(pin);
      try {
        return link.update(program);
      } catch (error) {
        // The control group went, and the program's place with it.
        if (!isKernelError(error, 'ENOLINK')) throw error;
        rmSync(pin);
      } finally {
        link.close();
      }
    }
    const link = program.attachCgroup(this.#places.cgroup(), call);
    try {
      link.pin(pin);
    } finally {
      link.close();
    }
  }
}

/** Takes the programs away. Connections that they led go on. */
export function removeSocketPrograms(pins: string): void {
  for (const name of [...CALLS, 'origins']) rmSync(path.join(pins, name), { force: true });
}

/** Takes away the programs and the place of their pins. */
export function removeSockets(pins: string): void {
  if (!existsSync(pins)) return;
  removeSocketPrograms(pins);
  if (isBpffs(pins)) umount2(pins);
  rmdirSync(pins);
}

function indexKey(index: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(index);
  return out;
}

/** In an order that leads nobody to what is not there yet. */
function write({ services, backends }: Tables, changes: MapChanges): void {
  const many = (map: BpfMap, entries: readonly { readonly key: Buffer; readonly value: Buffer }[]): void => {
    if (entries.length < 3) for (const { key, value } of entries) map.set(key, value);
    else {
      const [keys, values] = [entries.map(({ key }) => key), entries.map(({ value }) => value)];
      map.setMany(Buffer.concat(keys), Buffer.concat(values), entries.length);
    }
  };
  many(
    backends,
    changes.backends.map(({ index, value }) => ({ key: indexKey(index), value })),
  );
  many(services, changes.set);
  for (const key of changes.deleted) services.delete(key);
}

/** `/proc/mounts` writes spaces as octal. */
const isBpffs = (directory: string): boolean =>
  readFileSync('/proc/self/mounts', 'utf8').includes(` ${directory.replaceAll(' ', String.raw`\040`)} bpf `);

function mountPins(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!isBpffs(directory)) mount('bpf', directory, 'bpf', 0);
}

function missing(cause: unknown): WeftError {
  return new WeftError({
    code: 'PROXY_EBPF_MISSING',
    message: `the ebpf data plane cannot work here: ${errorMessage(cause)}`,
    hint: 'it needs Linux 5.10 with CONFIG_CGROUP_BPF, CAP_BPF and CAP_NET_ADMIN outside of user namespaces; or use --proxy-mode nftables',
    cause,
  });
}
