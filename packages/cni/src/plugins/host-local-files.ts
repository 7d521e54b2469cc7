import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { flock, LOCK_EX, LOCK_NB } from '@weft/kernel';
import { addressAt, compareIp, formatIp, type Ip, indexIn, parseIp, prefixContains } from '@weft/net';
import { type AddressRange, formatRange, type RangeSet, rangeOf } from '../ipam/range.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment } from '../spec/types.ts';

/** Where the reference host-local plugin keeps its files. */
export const HOST_LOCAL_DIR = '/var/lib/cni/networks';

const LAST = 'last_reserved_ip.';
const LOCK = 'lock';
/** As the reference plugin separates the container's id from the interface's name. */
const LINE_END = '\r\n';
const LOCK_PAUSE_MS = 2;

export interface Given {
  readonly address: Ip;
  readonly range: AddressRange;
}

/**
 * Addresses of one network in the reference host-local plugin's own files: `DIR/NETWORK/ADDRESS` holds who has it,
 * `last_reserved_ip.N` where the search of set N goes on, `lock` is held by whoever changes anything. Both plugins may
 * use one directory at the same time.
 */
export class HostLocalFiles {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Does work with the network's files, alone among all programs that honour the lock. Makes them when there are none. */
  static async locked<T>(dataDir: string, network: string, work: (files: HostLocalFiles) => T): Promise<T> {
    const dir = join(dataDir, network);
    let fd: number;
    try {
      mkdirSync(dir, { recursive: true, mode: 0o755 });
      fd = openSync(join(dir, LOCK), 'a', 0o600);
    } catch (error) {
      throw ioError(dir, error);
    }
    try {
      while (!flock(fd, LOCK_EX | LOCK_NB)) await sleep(LOCK_PAUSE_MS);
      return work(new HostLocalFiles(dir));
    } finally {
      closeSync(fd);
    }
  }

  /** Who has which address. */
  list(): ReadonlyMap<string, Attachment> {
    const out = new Map<string, Attachment>();
    for (const name of this.#names()) {
      const owner = this.#owner(name);
      if (owner !== undefined) out.set(name, owner);
    }
    return out;
  }

  /** Addresses that an attachment has. */
  of(attachment: Attachment): string[] {
    return [...this.list()].filter(([, owner]) => owns(owner, attachment)).map(([address]) => address);
  }

  /** Reserves one address of each set; `wanted` are addresses asked for. All or nothing. */
  reserve(attachment: Attachment, sets: readonly RangeSet[], wanted: readonly Ip[]): Given[] {
    const taken: string[] = [];
    const asked = [...wanted];
    const held = this.of(attachment).flatMap((text) => parseIp(text) ?? []);
    try {
      const given = sets.map((set, i) => {
        const twice = held.find((ip) => rangeOf(set, ip) !== undefined);
        if (twice !== undefined) {
          throw new CniError(
            CniCode.invalidConfig,
            `${formatIp(twice)} has been allocated to ${attachment.containerId}, duplicate allocation is not allowed`,
          );
        }
        const at = asked.findIndex((ip) => set.ranges.some((range) => prefixContains(range.prefix, ip)));
        const one = at < 0 ? this.#next(attachment, set, i) : this.#exact(attachment, set, i, asked[at] as Ip);
        if (at >= 0) asked.splice(at, 1);
        taken.push(formatIp(one.address));
        return one;
      });
      if (asked.length > 0) {
        throw new CniError(
          CniCode.invalidConfig,
          `failed to allocate all requested IPs: ${asked.map((ip) => formatIp(ip)).join(', ')}`,
        );
      }
      return given;
    } catch (error) {
      for (const address of taken) this.#release(address);
      throw error;
    }
  }

  /** Gives back what an attachment has. */
  release(attachment: Attachment): void {
    for (const address of this.of(attachment)) this.#release(address);
  }

  /** Gives back what nobody in the list has. */
  keepOnly(valid: readonly Attachment[]): void {
    for (const [address, owner] of this.list()) {
      if (!valid.some((attachment) => owns(owner, attachment))) this.#release(address);
    }
  }

  /** True when no address of the set is free. */
  exhausted(set: RangeSet): boolean {
    const names = new Set(this.#names());
    return set.ranges.every((range) => {
      for (let at = range.first; at <= range.last; at++) {
        const ip = addressAt(range.prefix, at);
        if (compareIp(ip, range.gateway) !== 0 && !names.has(formatIp(ip))) return false;
      }
      return true;
    });
  }

  #exact(attachment: Attachment, set: RangeSet, index: number, ip: Ip): Given {
    const text = formatIp(ip);
    const holding = set.ranges.find((range) => prefixContains(range.prefix, ip));
    if (holding !== undefined && compareIp(holding.gateway, ip) === 0) {
      throw new CniError(CniCode.invalidConfig, `requested ip ${text} is subnet's gateway`);
    }
    const range = rangeOf(set, ip);
    if (range === undefined) throw new CniError(CniCode.invalidConfig, `requested ip ${text} is in no range`);
    if (!this.#take(text, attachment, index)) {
      throw new CniError(
        CniCode.tryAgainLater,
        `requested IP address ${text} is not available in range set ${formatSet(set)}`,
      );
    }
    return { address: ip, range };
  }

  /** The first free address after the one given out last, all ranges around. */
  #next(attachment: Attachment, set: RangeSet, index: number): Given {
    const names = new Set(this.#names());
    const last = this.#last(index);
    const start = last === undefined ? undefined : set.ranges.find((range) => inside(range, last));
    const from = start === undefined ? 0 : set.ranges.indexOf(start);
    const first = start === undefined ? undefined : indexIn(start.prefix, last as Ip) + 1n;
    const count = set.ranges.length;
    // The range that the search starts in comes once more at the end, from its beginning.
    for (let step = 0; step <= count; step++) {
      const range = set.ranges[(from + step) % count] as AddressRange;
      const begin = step === 0 && first !== undefined ? first : range.first;
      for (let at = begin; at <= range.last; at++) {
        const ip = addressAt(range.prefix, at);
        const text = formatIp(ip);
        if (compareIp(ip, range.gateway) === 0 || names.has(text)) continue;
        if (this.#take(text, attachment, index)) return { address: ip, range };
      }
    }
    throw new CniError(CniCode.tryAgainLater, `no IP addresses available in range set: ${formatSet(set)}`);
  }

  #take(address: string, attachment: Attachment, index: number): boolean {
    const owner = `${attachment.containerId}${LINE_END}${attachment.ifname}`;
    try {
      writeFileSync(join(this.#dir, address), owner, { flag: 'wx', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      rmSync(join(this.#dir, address), { force: true });
      throw ioError(this.#dir, error);
    }
    try {
      writeFileSync(join(this.#dir, `${LAST}${index}`), address, { mode: 0o600 });
    } catch (error) {
      this.#release(address);
      throw ioError(this.#dir, error);
    }
    return true;
  }

  #release(address: string): void {
    try {
      unlinkSync(join(this.#dir, address));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError(this.#dir, error);
    }
  }

  #names(): string[] {
    return readdirSync(this.#dir).filter((name) => parseIp(name) !== undefined);
  }

  #owner(address: string): Attachment | undefined {
    let text: string;
    try {
      text = readFileSync(join(this.#dir, address), 'utf8').trim();
    } catch {
      return undefined;
    }
    // Files of before 2018 have no interface.
    const [containerId = '', ifname = ''] = text.split(/\r?\n/);
    return { containerId, ifname };
  }

  #last(index: number): Ip | undefined {
    try {
      return parseIp(readFileSync(join(this.#dir, `${LAST}${index}`), 'utf8').trim());
    } catch {
      return undefined;
    }
  }
}

function owns(owner: Attachment, attachment: Attachment): boolean {
  return owner.containerId === attachment.containerId && (owner.ifname === '' || owner.ifname === attachment.ifname);
}

function inside(range: AddressRange, ip: Ip): boolean {
  if (!prefixContains(range.prefix, ip)) return false;
  const at = indexIn(range.prefix, ip);
  return at >= range.first && at <= range.last;
}

function formatSet(set: RangeSet): string {
  return set.ranges.map(formatRange).join(',');
}

function ioError(dir: string, error: unknown): CniError {
  return new CniError(CniCode.io, `${dir}: ${(error as Error).message}`, undefined, error);
}
