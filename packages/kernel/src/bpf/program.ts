import { closeSync, openSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { address, attribute, bpf, CMD, objectName, tryBpf } from './call.ts';

const TYPE = { sched_cls: 3, xdp: 6, cgroup_sock_addr: 18 } as const;
const ATTACH = { xdp: 37, tcx_ingress: 46, tcx_egress: 47 } as const;
/** Calls of programs in a control group that `cgroup_sock_addr` programs see and may change the address of. */
const SOCKET_CALL = { connect4: 10, connect6: 11, getpeername4: 29, getpeername6: 30 } as const;
export type SocketCall = keyof typeof SOCKET_CALL;
/** Run XDP in the driver, or above it, which every link can. */
const XDP_MODE = { native: 1 << 2, generic: 1 << 1 } as const;

export interface ProgramSpec {
  readonly type: keyof typeof TYPE;
  readonly name: string;
  /** What `Assembler.build` gives. */
  readonly code: Uint8Array;
  /** The call that a `cgroup_sock_addr` program is for. */
  readonly call?: SocketCall;
  /** Some helpers are only for programs under the GPL; ours are not. */
  readonly license?: string;
}

const LOG_BYTES = 256 * 1024;

/** How often a program ran and how long, while the kernel counts (`countRuns`). */
export interface ProgramStats {
  readonly runs: number;
  readonly nanoseconds: number;
}

/** A program in the kernel. */
export class BpfProgram {
  readonly name: string;
  readonly fd: number;

  private constructor(name: string, fd: number) {
    this.name = name;
    this.fd = fd;
  }

  /** @throws KernelError with the verifier's last words, when it refuses the program */
  static load(spec: ProgramSpec): BpfProgram {
    const license = Buffer.from(`${spec.license ?? 'Apache-2.0'}\0`, 'latin1');
    const make = (log: Buffer | undefined): Buffer => {
      const attr = attribute(128, [
        [0, 4, TYPE[spec.type]],
        [4, 4, spec.code.length / 8],
        [8, 8, address(spec.code)],
        [16, 8, address(license)],
        [24, 4, log === undefined ? 0 : 1],
        [28, 4, log?.length ?? 0],
        [32, 8, log === undefined ? 0 : address(log)],
        [68, 4, spec.call === undefined ? (spec.type === 'xdp' ? ATTACH.xdp : 0) : SOCKET_CALL[spec.call]],
      ]);
      objectName(spec.name).copy(attr, 48);
      return attr;
    };
    const { result, errno } = tryBpf(CMD.PROG_LOAD, make(undefined));
    if (result >= 0) return new BpfProgram(spec.name, result);
    // Once more for the verifier's words, which cost time to write.
    const log = Buffer.alloc(LOG_BYTES);
    const again = tryBpf(CMD.PROG_LOAD, make(log));
    if (again.result >= 0) return new BpfProgram(spec.name, again.result);
    const text = log.toString('latin1', 0, Math.max(0, log.indexOf(0)));
    const why = text.trim().split('\n').slice(-6).join(' | ');
    throw new KernelError({
      errno,
      operation: 'load BPF program',
      object: spec.name,
      ...(why === '' ? {} : { extack: why }),
      ...(errno === 1 ? { hint: 'bpf(2) needs CAP_BPF and CAP_NET_ADMIN outside of user namespaces' } : {}),
    });
  }

  /** Runs counted so far; zero unless the kernel counts. */
  stats(): ProgramStats {
    const info = Buffer.alloc(232);
    const attr = attribute(16, [
      [0, 4, this.fd],
      [4, 4, info.length],
      [8, 8, address(info)],
    ]);
    bpf(CMD.OBJ_GET_INFO_BY_FD, attr, 'read BPF program', this.name);
    return { nanoseconds: Number(info.readBigUInt64LE(192)), runs: Number(info.readBigUInt64LE(200)) };
  }

  /** Attaches an XDP program to a link of the calling thread's network namespace. */
  attachXdp(ifindex: number, mode: keyof typeof XDP_MODE): BpfLink {
    return this.#attach(ifindex, ATTACH.xdp, XDP_MODE[mode]);
  }

  /** Attaches a `sched_cls` program where packets come in from a link, or go out to it. Linux 6.6. */
  attachTcx(ifindex: number, where: 'ingress' | 'egress'): BpfLink {
    return this.#attach(ifindex, where === 'ingress' ? ATTACH.tcx_ingress : ATTACH.tcx_egress, 0);
  }

  /**
   * Attaches a `cgroup_sock_addr` program to a control group (a directory of a cgroup2): it sees the calls of all processes
   * in it and below, after what others have attached there. Linux 5.7.
   */
  attachCgroup(directory: string, call: SocketCall): BpfLink {
    const fd = openSync(directory, 'r');
    try {
      return this.#attach(fd, SOCKET_CALL[call], 0, directory);
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    closeSync(this.fd);
  }

  /** `target` is the number of a link, or the descriptor of a control group. */
  #attach(target: number, type: number, flags: number, name = String(target)): BpfLink {
    const attr = attribute(64, [
      [0, 4, this.fd],
      [4, 4, target],
      [8, 4, type],
      [12, 4, flags],
    ]);
    return new BpfLink(bpf(CMD.LINK_CREATE, attr, `attach BPF program ${this.name} to`, name));
  }
}

/** A program's place at a link: it stays for as long as the descriptor is open, or the pinned path is there. */
export class BpfLink {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Opens a link that was pinned. */
  static open(path: string): BpfLink {
    const name = Buffer.from(`${path}\0`);
    return new BpfLink(bpf(CMD.OBJ_GET, attribute(16, [[0, 8, address(name)]]), 'open pinned BPF link', path));
  }

  /** Keeps it beyond this process; `path` lies in a bpffs. */
  pin(path: string): void {
    const name = Buffer.from(`${path}\0`);
    const attr = attribute(16, [
      [0, 8, address(name)],
      [8, 4, this.fd],
    ]);
    bpf(CMD.OBJ_PIN, attr, 'pin BPF link to', path);
  }

  /** Exchanges the program; no packet sees none. */
  update(program: BpfProgram): void {
    const attr = attribute(16, [
      [0, 4, this.fd],
      [4, 4, program.fd],
    ]);
    bpf(CMD.LINK_UPDATE, attr, 'update BPF link to', program.name);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Lets the kernel count runs of all programs until the returned function is called; it costs each run some 10 ns. */
export function countRuns(): () => void {
  const fd = bpf(CMD.ENABLE_STATS, attribute(8, []), 'count runs of', 'BPF programs');
  return () => closeSync(fd);
}
