import { spawnSync } from 'node:child_process';
import { combineErrors, isKernelError, KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { genlFamily } from '../netlink/genl.ts';
import { NlSocket } from '../netlink/socket.ts';
import { NlWriter } from '../netlink/wire.ts';
import type { NetNs } from '../sys/netns.ts';
import {
  CMD,
  IPVS_VERSION,
  putDestination,
  putKey,
  putService,
  putTimeouts,
  readDestination,
  readService,
  readTimeouts,
} from './codec.ts';
import type {
  IpvsDestination,
  IpvsDestinationState,
  IpvsKey,
  IpvsService,
  IpvsServiceState,
  IpvsTimeouts,
} from './types.ts';

/** Requests sent in one piece. */
const CHUNK = 512;
const PROTOCOL_NAMES = new Map<number, string>([
  [6, 'TCP'],
  [17, 'UDP'],
  [132, 'SCTP'],
]);

function keyText({ address, port, protocol }: IpvsKey): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return `virtual service ${PROTOCOL_NAMES.get(protocol) ?? protocol} ${host}:${port}`;
}

/** What a batch does, in order. */
export type IpvsChange =
  | { readonly do: 'addService' | 'setService'; readonly service: IpvsService }
  | { readonly do: 'delService'; readonly service: IpvsKey }
  | {
      readonly do: 'addDestination' | 'setDestination' | 'delDestination';
      readonly service: IpvsKey;
      readonly destination: IpvsDestination;
    };

const COMMANDS: Readonly<Record<IpvsChange['do'], number>> = {
  addService: CMD.newService,
  setService: CMD.setService,
  delService: CMD.delService,
  addDestination: CMD.newDestination,
  setDestination: CMD.setDestination,
  delDestination: CMD.delDestination,
};

/** A change that the kernel refused. */
export interface IpvsRefusal {
  readonly change: IpvsChange;
  readonly error: KernelError;
}

/** The virtual servers (IPVS) of one network namespace, over generic netlink. */
export class Ipvs {
  readonly #socket: NlSocket;
  readonly #family: number;

  private constructor(socket: NlSocket, family: number) {
    this.#socket = socket;
    this.#family = family;
  }

  /**
   * Opens in a namespace, by default the caller's; the object stays there. Loads the module where it is not; rejects with
   * ENOENT on a kernel without IPVS.
   */
  static async open(ns?: NetNs): Promise<Ipvs> {
    const socket = NlSocket.open(C.NETLINK_GENERIC, ns);
    try {
      return new Ipvs(socket, await genlFamily(socket, 'IPVS'));
    } catch (error) {
      if (!isKernelError(error, 'ENOENT')) throw error;
      // The family is no reason for the kernel to load its module.
      spawnSync('modprobe', ['ip_vs'], { stdio: 'ignore' });
    }
    try {
      return new Ipvs(socket, await genlFamily(socket, 'IPVS'));
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  close(): void {
    this.#socket.close();
  }

  /** All virtual services by address. */
  services(): Promise<IpvsServiceState[]> {
    return this.#dump(CMD.getService, () => {}, readService, 'virtual services');
  }

  /** The real servers of a service. */
  destinations(service: IpvsKey): Promise<IpvsDestinationState[]> {
    const family = service.address.includes(':') ? 6 : 4;
    return this.#dump(
      CMD.getDestination,
      (w) => putKey(w, service),
      (m) => readDestination(m, family),
      `real servers of ${keyText(service)}`,
    );
  }

  /** Makes the changes in order. A refused one does not stop the others; all refusals are returned. */
  async change(changes: readonly IpvsChange[]): Promise<IpvsRefusal[]> {
    const refusals: IpvsRefusal[] = [];
    for (let from = 0; from < changes.length; from += CHUNK) {
      const part = changes.slice(from, from + CHUNK);
      const w = new NlWriter(part.length * 160);
      for (const change of part) this.#encode(w, change);
      const { failures } = await this.#socket.request(w);
      for (const { index, errno, extack } of failures) {
        const change = part[index];
        if (change === undefined) throw new KernelError({ errno, operation: 'change', object: 'virtual services' });
        refusals.push({ change, error: refused(change, errno, extack) });
      }
    }
    return refusals;
  }

  /** Makes the changes and rejects with what the kernel refused. */
  async apply(changes: readonly IpvsChange[]): Promise<void> {
    const refusals = await this.change(changes);
    if (refusals.length > 0) throw combineErrors(refusals.map((r) => r.error));
  }

  async timeouts(): Promise<IpvsTimeouts> {
    let out: IpvsTimeouts = { tcp: 0, tcpFin: 0, udp: 0 };
    const w = this.#request(CMD.getConfig);
    const { failures } = await this.#socket.request(w, {
      onMessage: (m) => {
        out = readTimeouts(m);
      },
    });
    throwFirst(failures, 'read', 'timeouts of virtual services');
    return out;
  }

  async setTimeouts(timeouts: IpvsTimeouts): Promise<void> {
    const w = this.#request(CMD.setConfig, (writer) => putTimeouts(writer, timeouts));
    const { failures } = await this.#socket.request(w);
    throwFirst(failures, 'set', 'timeouts of virtual services');
  }

  #request(command: number, body: (w: NlWriter) => void = () => {}, flags = 0): NlWriter {
    const w = new NlWriter(256);
    this.#message(w, command, body, flags);
    return w;
  }

  #message(w: NlWriter, command: number, body: (w: NlWriter) => void, flags = 0): void {
    w.begin(this.#family, C.NLM_F_REQUEST | flags);
    w.put8(command, IPVS_VERSION);
    body(w);
    w.end();
  }

  #encode(w: NlWriter, change: IpvsChange): void {
    this.#message(w, COMMANDS[change.do], () => {
      switch (change.do) {
        case 'addService':
        case 'setService':
          putService(w, change.service);
          break;
        case 'delService':
          putKey(w, change.service);
          break;
        default:
          putKey(w, change.service);
          putDestination(w, change.destination, change.do !== 'delDestination');
      }
    });
  }

  async #dump<T>(
    command: number,
    body: (w: NlWriter) => void,
    read: (m: Parameters<typeof readService>[0]) => T | undefined,
    what: string,
  ): Promise<T[]> {
    const out: T[] = [];
    const { failures } = await this.#socket.dump(
      this.#request(command, body, C.NLM_F_DUMP),
      (m) => {
        const item = read(m);
        if (item !== undefined) out.push(item);
      },
      () => {
        out.length = 0;
      },
    );
    throwFirst(failures, 'list', what);
    return out;
  }
}

function refused(change: IpvsChange, errno: number, extack: string | undefined): KernelError {
  const [, verb, noun] = /^(add|set|del)(.*)$/.exec(change.do) ?? [];
  const server = 'destination' in change ? ` server ${change.destination.address}:${change.destination.port}` : '';
  const unknown = noun === 'Service' && verb !== 'del' && errno === 2 && 'scheduler' in change.service;
  return new KernelError({
    errno,
    operation: verb === 'del' ? 'delete' : (verb ?? 'change'),
    object: keyText(change.service) + server,
    ...(extack === undefined ? {} : { extack }),
    ...(unknown
      ? {
          hint: `the kernel may lack the scheduler ${change.service.scheduler} (module ip_vs_${change.service.scheduler})`,
        }
      : {}),
  });
}

function throwFirst(
  failures: readonly { readonly errno: number; readonly extack?: string }[],
  operation: string,
  object: string,
): void {
  const [first] = failures;
  if (first === undefined) return;
  const { errno, extack } = first;
  throw new KernelError({ errno, operation, object, ...(extack === undefined ? {} : { extack }) });
}
