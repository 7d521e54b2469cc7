import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { flock, isKernelError, LOCK_EX, LOCK_NB } from '@weft/kernel';
import { errorMessage } from '@weft/plan';
import { parseIp } from '@weft/net';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment } from '../spec/types.ts';

const LAST = 'last_reserved_ip.';
/** Files of ours that are not addresses yet. */
const UNFINISHED = '.weft-';
/** File of ours that says in which life of the machine the directory was last used. */
const BOOT = 'boot_id';
/** How long the lock is waited for, milliseconds, and how often it is tried. */
const PATIENCE_MS = 30_000;
const TRY_MS = 2;

function isErrno(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}

/** Text of an address file, as the reference plugin writes it. */
function content({ containerId, ifname }: Attachment): string {
  return `${containerId}\r\n${ifname}`;
}

/**
 * The reference plugin's store: a directory per network with a file per address, which it may use at the same time. All
 * methods but `locked` and `looking` are for use inside of these.
 */
export class HostLocalStore {
  readonly dir: string;

  constructor(dataDir: string, network: string) {
    this.dir = join(dataDir, network);
  }

  /** Does work with the directory's lock, which other processes respect. Makes the directory. */
  async locked<T>(work: () => T): Promise<T> {
    let fd: number;
    try {
      mkdirSync(this.dir, { recursive: true, mode: 0o755 });
      fd = openSync(join(this.dir, 'lock'), 'a', 0o750);
    } catch (error) {
      throw this.#failed(error);
    }
    try {
      for (const until = Date.now() + PATIENCE_MS; !flock(fd, LOCK_EX | LOCK_NB); await sleep(TRY_MS)) {
        if (Date.now() > until) {
          throw new CniError(CniCode.tryAgainLater, `host-local: somebody holds the lock of ${this.dir}`);
        }
      }
      this.#afterBoot();
      return work();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Frees what containers held before the machine was started: no namespace outlives that, and no runtime asks for it any
   * more. Only files older than the start go, because the reference plugin may have been here before us since.
   */
  #afterBoot(): void {
    const file = join(this.dir, BOOT);
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    let before: string | undefined;
    try {
      before = readFileSync(file, 'utf8');
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    if (before === boot) return;
    if (before !== undefined) {
      const started = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? 0) * 1000;
      for (const name of this.taken()) if (statSync(join(this.dir, name)).mtimeMs < started) this.#drop(name);
    }
    try {
      writeFileSync(file, boot, { mode: 0o644 });
    } catch (error) {
      // On a full disk the next call does it again.
      if (!isErrno(error, 'ENOSPC')) throw error;
    }
  }

  /** As `locked`, for work that changes nothing: where nobody can write, nobody needs the lock. */
  async looking<T>(work: () => T): Promise<T> {
    try {
      return await this.locked(work);
    } catch (error) {
      if (!(error instanceof CniError) || !isErrno(error.cause, 'EROFS')) throw error;
      return work();
    }
  }

  #failed(error: unknown): unknown {
    if (error instanceof CniError || isKernelError(error)) return error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) return error;
    return new CniError(CniCode.io, `host-local: ${this.dir}: ${errorMessage(error)}`, undefined, error);
  }

  /** Addresses that are taken, in their usual form. */
  taken(): Set<string> {
    const names = this.#names();
    for (const name of names) if (name.startsWith(UNFINISHED)) this.#drop(name);
    return new Set(names.filter((name) => parseIp(name) !== undefined));
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.dir);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw this.#failed(error);
    }
  }

  /** Sets an address aside. False when it is taken. After a crash at any point it is either whole or not there. */
  reserve(ip: string, attachment: Attachment, rangeSet: number): boolean {
    const unfinished = join(this.dir, `${UNFINISHED}${process.pid}`);
    writeFileSync(unfinished, content(attachment), { mode: 0o600 });
    try {
      linkSync(unfinished, join(this.dir, ip));
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      throw error;
    } finally {
      unlinkSync(unfinished);
    }
    writeFileSync(join(this.dir, `${LAST}${rangeSet}`), ip, { mode: 0o600 });
    return true;
  }

  /** The address that was given out last from a range set. */
  last(rangeSet: number): string | undefined {
    try {
      return readFileSync(join(this.dir, `${LAST}${rangeSet}`), 'utf8').trim();
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Addresses whose owner is wanted. `owner` is a file's text; old files have the container alone. */
  #where(wanted: (owner: string) => boolean): string[] {
    return [...this.taken()].filter((ip) => {
      try {
        return wanted(readFileSync(join(this.dir, ip), 'utf8').trim());
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return false;
        throw error;
      }
    });
  }

  of(attachment: Attachment): readonly string[] {
    const own = this.#where((owner) => owner === content(attachment));
    return own.length > 0 ? own : this.#where((owner) => owner === attachment.containerId);
  }

  /** Frees what an attachment holds. */
  release(attachment: Attachment): void {
    for (const ip of this.of(attachment)) this.#drop(ip);
  }

  /** Frees one address. */
  free(ip: string): void {
    this.#drop(ip);
  }

  /** Frees what belongs to none of these attachments. */
  keepOnly(valid: readonly Attachment[]): void {
    const kept = new Set(valid.flatMap((attachment) => [content(attachment), attachment.containerId]));
    for (const ip of this.#where((owner) => !kept.has(owner))) this.#drop(ip);
  }

  #drop(name: string): void {
    try {
      unlinkSync(join(this.dir, name));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}
