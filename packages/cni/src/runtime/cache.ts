import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, objectField, stringField } from '../spec/json.ts';
import type { Attachment } from '../spec/types.ts';

/** What is remembered of an attachment after its ADD (libcni's `cniCacheV1`). */
export interface CachedAttachment extends Attachment {
  readonly networkName: string;
  /** The list's text as it was at ADD. */
  readonly config: string;
  readonly netns: string;
  readonly cniArgs: readonly (readonly [string, string])[];
  readonly capabilityArgs: JsonObject;
  /** The final result of the chain, as printed. */
  readonly result: JsonObject | undefined;
}

const KIND = 'cniCacheV1';
/** Ends the name of a file that is being written. No interface name holds a colon, so no finished file ends so. */
const UNFINISHED = ':new';

/**
 * Results on disk, in libcni's layout: `<dir>/results/<network>-<container>-<ifname>`. The files are a kilobyte each and
 * the calls synchronous: a trip through the thread pool would cost more than they do.
 */
export class ResultCache {
  readonly #dir: string;

  /** `dir` is libcni's cache directory, by default /var/lib/cni. */
  constructor(dir: string) {
    this.#dir = join(dir, 'results');
  }

  write(entry: CachedAttachment): void {
    const value = {
      kind: KIND,
      containerId: entry.containerId,
      config: Buffer.from(entry.config).toString('base64'),
      ifName: entry.ifname,
      networkName: entry.networkName,
      netns: entry.netns,
      ...(entry.cniArgs.length === 0 ? {} : { cniArgs: entry.cniArgs }),
      ...(Object.keys(entry.capabilityArgs).length === 0 ? {} : { capabilityArgs: entry.capabilityArgs }),
      result: entry.result,
    };
    const file = this.#file(entry.networkName, entry);
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
      writeFileSync(`${file}${UNFINISHED}`, JSON.stringify(value), { mode: 0o600 });
      renameSync(`${file}${UNFINISHED}`, file);
    } catch (error) {
      // Half a file would take the room of a whole one.
      forget(`${file}${UNFINISHED}`);
      throw new CniError(CniCode.io, `cannot cache the result in ${file}: ${errorMessage(error)}`, undefined, error);
    }
  }

  /** What is cached; an unreadable or damaged entry counts as none, so that it cannot keep a container from going. */
  read(networkName: string, attachment: Attachment): CachedAttachment | undefined {
    try {
      return decode(readFileSync(this.#file(networkName, attachment), 'utf8'), networkName, attachment);
    } catch {
      return undefined;
    }
  }

  /** Forgets an attachment. What cannot be removed stays: the container is gone all the same. */
  remove(networkName: string, attachment: Attachment): void {
    forget(this.#file(networkName, attachment));
  }

  /**
   * All cached attachments, or those of a network or a container, in order of their file names; damaged entries are
   * left out.
   */
  list(networkName?: string, containerId?: string): readonly CachedAttachment[] {
    let names: string[] = [];
    try {
      names = readdirSync(this.#dir).sort();
    } catch {
      // Nothing was ever attached.
    }
    return names.flatMap((name) => {
      if (containerId !== undefined && !name.includes(`-${containerId}-`)) return [];
      const entry = name.endsWith(UNFINISHED) ? undefined : tryDecode(join(this.#dir, name));
      if (entry === undefined || entry.networkName === '' || entry.containerId === '' || entry.ifname === '') return [];
      if (containerId !== undefined && entry.containerId !== containerId) return [];
      return networkName === undefined || entry.networkName === networkName ? [entry] : [];
    });
  }

  /** Removes what a process was writing when it died; only for a directory that nobody else writes to. */
  removeUnfinished(): void {
    let names: readonly string[] = [];
    try {
      names = readdirSync(this.#dir);
    } catch {
      // Nothing was ever attached.
    }
    for (const name of names) if (name.endsWith(UNFINISHED)) forget(join(this.#dir, name));
  }

  #file(networkName: string, { containerId, ifname }: Attachment): string {
    return join(this.#dir, `${networkName}-${containerId}-${ifname}`);
  }
}

function forget(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // A read-only file system: nothing can be done, and nothing depends on it.
  }
}

function tryDecode(file: string): CachedAttachment | undefined {
  try {
    return decode(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function decode(text: string, networkName?: string, attachment?: Attachment): CachedAttachment | undefined {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) return undefined;
  if (stringField(value, 'kind') !== KIND) {
    // Older runtimes stored the bare result.
    if (networkName === undefined || attachment === undefined) return undefined;
    return { ...attachment, networkName, config: '', netns: '', cniArgs: [], capabilityArgs: {}, result: value };
  }
  const args = field(value, 'cniArgs');
  return {
    networkName: stringField(value, 'networkName') ?? networkName ?? '',
    containerId: stringField(value, 'containerId') ?? attachment?.containerId ?? '',
    ifname: stringField(value, 'ifName') ?? attachment?.ifname ?? '',
    config: Buffer.from(stringField(value, 'config') ?? '', 'base64').toString('utf8'),
    netns: stringField(value, 'netns') ?? '',
    cniArgs: Array.isArray(args) ? args.filter(isPair) : [],
    capabilityArgs: objectField(value, 'capabilityArgs') ?? {},
    result: objectField(value, 'result'),
  };
}

function isPair(value: unknown): value is readonly [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string');
}
