import {
  chmod,
  type FileHandle,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  readdir,
  rm,
  symlink,
} from 'node:fs/promises';
import { join } from 'node:path';
import { isKernelError, mknod } from '@weft/kernel';
import { WeftError } from '@weft/plan';
import { resolveInRoot } from './in-root.ts';

interface Member {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  type: string;
  target: string;
  major: number;
  minor: number;
}

const BLOCK = 512;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** Reads exact amounts from a stream of chunks. */
class Source {
  readonly #iterator: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>) {
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  /** The next bytes, at least one and at most `max`; undefined at the end. */
  async some(max: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const part = this.#chunk.subarray(0, max);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }

  async exactly(size: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let have = 0;
    while (have < size) {
      const part = await this.some(size - have);
      if (part === undefined) {
        if (have === 0) return undefined;
        throw new WeftError({ code: 'BAD_LAYER', message: 'the layer ends in the middle of a tar record' });
      }
      parts.push(part);
      have += part.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  async skip(size: number): Promise<void> {
    let left = size;
    while (left > 0) {
      const part = await this.some(left);
      if (part === undefined) return;
      left -= part.length;
    }
  }
}

function text(block: Buffer, at: number, size: number): string {
  const end = block.indexOf(0, at);
  return block.toString('utf8', at, end < 0 || end > at + size ? at + size : end);
}

function number(block: Buffer, at: number, size: number): number {
  // GNU's base-256 form, for what does not fit into octal digits.
  if (((block[at] as number) & 0x80) !== 0) {
    let value = BigInt((block[at] as number) & 0x7f);
    for (let i = 1; i < size; i++) value = (value << 8n) | BigInt(block[at + i] as number);
    return Number(value);
  }
  const digits = text(block, at, size).trim();
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function paxRecords(data: Buffer): Map<string, string> {
  const out = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = Number.parseInt(data.toString('ascii', at, space), 10);
    if (space < 0 || !(length > 0)) break;
    const record = data.toString('utf8', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    out.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return out;
}

async function* members(source: Source): AsyncGenerator<Member> {
  let pax: Map<string, string> | undefined;
  let longPath: string | undefined;
  let longTarget: string | undefined;
  for (;;) {
    const block = await source.exactly(BLOCK);
    if (block === undefined) return;
    if (block.every((byte) => byte === 0)) continue;
    const size = number(block, 124, 12);
    const type = String.fromCharCode(block[156] as number);
    const padded = Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      const data = ((await source.exactly(padded)) ?? Buffer.alloc(0)).subarray(0, size);
      if (type === 'x') pax = paxRecords(data);
      else if (type === 'L') longPath = text(data, 0, data.length);
      else if (type === 'K') longTarget = text(data, 0, data.length);
      continue;
    }
    const prefix = text(block, 257, 5) === 'ustar' ? text(block, 345, 155) : '';
    const name = text(block, 0, 100);
    const paxSize = pax?.get('size');
    yield {
      path: pax?.get('path') ?? longPath ?? (prefix === '' ? name : `${prefix}/${name}`),
      mode: number(block, 100, 8) & 0o7777,
      uid: Number(pax?.get('uid') ?? number(block, 108, 8)),
      gid: Number(pax?.get('gid') ?? number(block, 116, 8)),
      size: paxSize === undefined ? size : Number(paxSize),
      mtime: Number(pax?.get('mtime') ?? number(block, 136, 12)),
      type: type === '\0' ? '0' : type,
      target: pax?.get('linkpath') ?? longTarget ?? text(block, 157, 100),
      major: number(block, 329, 8),
      minor: number(block, 337, 8),
    };
    pax = undefined;
    longPath = undefined;
    longTarget = undefined;
  }
}

async function writeFile(handle: FileHandle, source: Source, size: number): Promise<void> {
  let left = size;
  while (left > 0) {
    const part = await source.some(left);
    if (part === undefined)
      throw new WeftError({ code: 'BAD_LAYER', message: 'the layer ends in the middle of a file' });
    await handle.write(part);
    left -= part.length;
  }
}

async function own(path: string, member: Member): Promise<void> {
  try {
    await lchown(path, member.uid, member.gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    throw new WeftError({
      code: 'UNMAPPED_USER',
      message: `the image has a file of user ${member.uid}:${member.gid} (${member.path}), which is not mapped here`,
      hint: 'give your user subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER',
    });
  }
}

/** Applies one layer (an uncompressed tar stream, with OCI whiteouts) to the directory `root`. */
export async function applyLayer(stream: AsyncIterable<Buffer>, root: string): Promise<void> {
  const source = new Source(stream);
  const dirTimes: [string, number][] = [];
  const made = new Set<string>();
  for await (const member of members(source)) {
    const padding = (BLOCK - (member.size % BLOCK)) % BLOCK;
    const clean = member.path.split('/').filter((part) => part !== '' && part !== '.');
    const base = clean.pop();
    if (base === undefined) {
      await source.skip(member.size + padding);
      continue;
    }
    if (base === '..') throw new WeftError({ code: 'BAD_LAYER', message: `the layer has a bad path: ${member.path}` });
    const parent = await resolveInRoot(root, clean.join('/'), { create: true });
    if (base.startsWith('.wh.')) {
      await source.skip(member.size + padding);
      if (base === '.wh..wh..opq') {
        for (const name of await readdir(parent)) {
          if (!made.has(join(parent, name))) await rm(join(parent, name), { recursive: true, force: true });
        }
      } else if (!base.startsWith('.wh..wh.')) await rm(join(parent, base.slice(4)), { recursive: true, force: true });
      continue;
    }
    const path = join(parent, base);
    made.add(path);
    const before = await lstat(path).catch(() => undefined);
    if (before !== undefined && !(before.isDirectory() && member.type === '5')) await rm(path, { recursive: true });
    switch (member.type) {
      case '0':
      case '7': {
        const handle = await open(path, 'wx', 0o600);
        try {
          await writeFile(handle, source, member.size);
        } finally {
          await handle.close();
        }
        await source.skip(padding);
        break;
      }
      case '1': {
        const target = member.target.split('/').filter((part) => part !== '' && part !== '.');
        const last = target.pop() ?? '';
        await link(join(await resolveInRoot(root, target.join('/')), last), path);
        continue;
      }
      case '2':
        await symlink(member.target, path);
        break;
      case '3':
      case '4':
        try {
          mknod(path, (member.type === '3' ? S_IFCHR : S_IFBLK) | member.mode, member.major, member.minor);
        } catch (error) {
          // A user namespace may not make devices; the runtime provides the ones containers need.
          if (isKernelError(error, 'EPERM')) continue;
          throw error;
        }
        break;
      case '5':
        await mkdir(path, { recursive: true });
        break;
      case '6':
        mknod(path, 0o010000 | member.mode, 0, 0);
        break;
      default:
        await source.skip(member.size + padding);
        continue;
    }
    await own(path, member);
    if (member.type === '2') continue;
    // After chown, which clears the set-user-id bit.
    await chmod(path, member.mode);
    if (member.type === '5') dirTimes.push([path, member.mtime]);
    else await lutimes(path, member.mtime, member.mtime);
  }
  for (const [path, time] of dirTimes) await lutimes(path, time, time).catch(() => {});
}
