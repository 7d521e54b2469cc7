import { readFileSync, statSync } from 'node:fs';
import { errorMessage, type Logger } from '@weft/plan';
import { keyToText, type NameKey } from '../wire/index.ts';
import { parseMaster } from './master.ts';
import type { ServedZones } from './served.ts';
import { Zone } from './zone.ts';

/** Reads a zone from a master file, included files too. @throws WeftError, or what reading the file throws. */
function readZone(path: string, origin: NameKey): Zone {
  const include = (file: string): string => readFileSync(file, 'utf8');
  return new Zone(origin, parseMaster(include(path), { file: path, origin: keyToText(origin), include }));
}

/**
 * Reads a zone again if its file changed, and serves it if its serial changed, as CoreDNS does. A file that cannot be
 * read leaves what is served.
 */
export class ZoneFile {
  readonly path: string;
  readonly origin: NameKey;
  readonly #by: string;
  readonly #zones: ServedZones;
  readonly #log: Logger;
  #stamp = '';

  constructor(by: string, path: string, origin: NameKey, zones: ServedZones, log: Logger) {
    this.#by = by;
    this.path = path;
    this.origin = origin;
    this.#zones = zones;
    this.#log = log;
    zones.expect(origin);
  }

  look(): void {
    try {
      const { mtimeMs, size, ino } = statSync(this.path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      const fresh = readZone(this.path, this.origin);
      const before = this.#zones.get(this.origin);
      if (before?.serial === fresh.serial) return;
      this.#zones.put(this.origin, fresh);
      if (before !== undefined) {
        this.#log.info(`plugin/${this.#by}: reloaded zone ${keyToText(this.origin)}, serial ${fresh.serial}`);
      }
    } catch (error) {
      this.#log.error(`plugin/${this.#by}: zone ${keyToText(this.origin)} stays as it is: ${errorMessage(error)}`);
    }
  }
}
