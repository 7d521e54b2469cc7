import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger } from '@weft/plan';
import type { PodReference } from '../ipam/ipam.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { JsonObject } from '../spec/json.ts';
import type { Attachment } from '../spec/types.ts';

/** One network of a record: all that its DEL needs, whatever becomes of its definition. */
export interface RecordedNetwork {
  readonly name: string;
  readonly primary: boolean;
  readonly ifname: string;
  /** The network list's text, and the file or object it is from. */
  readonly config: string;
  readonly file: string;
  readonly capabilityArgs: JsonObject;
  readonly args: readonly (readonly [string, string])[];
}

/** What a container has been given, or was being given when the agent died. */
export interface NetworksRecord extends Attachment {
  /** Name of the outer network. */
  readonly network: string;
  readonly netns: string;
  /** Inode of the namespace; undefined when the agent does not see the runtime's namespaces. */
  readonly sandbox: string | undefined;
  /** CNI_PATH */
  readonly path: readonly string[];
  readonly pod: PodReference | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** In the order of ADD. */
  readonly networks: readonly RecordedNetwork[];
}

/** True in a record that was found: its ADD has succeeded. */
export type FoundRecord = NetworksRecord & { readonly ready: boolean };

const FORMAT = 1;
const BEGUN = '.begun';
const READY = '.json';
const UNFINISHED = '~';

/**
 * What containers have, on disk: a file is written before the first plugin is called, renamed when the last has
 * succeeded, and removed when all have let go. It is not flushed: a machine that crashed has no containers left.
 */
export class NetworkRecords {
  readonly #dir: string;
  readonly #log: Logger;

  constructor(dir: string, log: Logger) {
    this.#dir = dir;
    this.#log = log;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // What an agent was writing when it died: nothing had been made by then.
    for (const name of readdirSync(dir)) if (name.endsWith(UNFINISHED)) rmSync(join(dir, name), { force: true });
  }

  /** Throws CniError 5 when it cannot be written: nothing may be attached that would not be found again. */
  begin(record: NetworksRecord): void {
    const file = this.#file(record, BEGUN);
    try {
      writeFileSync(`${file}${UNFINISHED}`, JSON.stringify({ format: FORMAT, ...record }), { mode: 0o600 });
      renameSync(`${file}${UNFINISHED}`, file);
    } catch (error) {
      rmSync(`${file}${UNFINISHED}`, { force: true });
      throw new CniError(CniCode.io, `cannot write ${file}: ${errorMessage(error)}`, undefined, error);
    }
  }

  ready(attachment: Attachment): void {
    renameSync(this.#file(attachment, BEGUN), this.#file(attachment, READY));
  }

  remove(attachment: Attachment): void {
    for (const state of [BEGUN, READY]) {
      try {
        rmSync(this.#file(attachment, state), { force: true });
      } catch (error) {
        // On a read-only file system it is found again, and its DEL costs nothing.
        this.#log.warn('cannot remove a record of networks', { ...attachment, error: errorMessage(error) });
      }
    }
  }

  get(attachment: Attachment): FoundRecord | undefined {
    return this.#read(this.#file(attachment, READY), true) ?? this.#read(this.#file(attachment, BEGUN), false);
  }

  list(): readonly FoundRecord[] {
    return readdirSync(this.#dir)
      .sort()
      .flatMap((name) => {
        if (!name.endsWith(READY) && !name.endsWith(BEGUN)) return [];
        const record = this.#read(join(this.#dir, name), name.endsWith(READY));
        return record === undefined ? [] : [record];
      });
  }

  // No container id holds an @, so two attachments never share a file.
  #file({ containerId, ifname }: Attachment, state: string): string {
    return join(this.#dir, `${containerId}@${ifname}${state}`);
  }

  #read(file: string, ready: boolean): FoundRecord | undefined {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch {
      return undefined;
    }
    try {
      const { format, ...record } = JSON.parse(text) as NetworksRecord & { format: number };
      if (format !== FORMAT || !Array.isArray(record.networks)) throw new RangeError(`format ${format} is unknown`);
      return { ...record, ready };
    } catch (error) {
      this.#log.warn('cannot read a record of networks', { file, error: errorMessage(error) });
      return undefined;
    }
  }
}
