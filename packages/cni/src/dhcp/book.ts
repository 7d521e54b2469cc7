import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Logger } from '@weft/plan';
import { isObject } from '../spec/json.ts';
import type { Granted } from './client.ts';
import type { DhcpRequest } from './protocol.ts';

/** What is needed to go on with a lease. */
export interface Entry {
  readonly request: DhcpRequest;
  readonly granted: Granted;
}

/** The leases in a file beside the socket, for the next daemon. Written anew at each change, by rename. */
export class LeaseBook {
  readonly #file: string;
  readonly #log: Logger;
  #entries = new Map<string, Entry>();

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
  }

  /** The leases of the daemon before. A file that cannot be read counts as none. */
  open(): readonly (readonly [string, Entry])[] {
    try {
      const value: unknown = JSON.parse(readFileSync(this.#file, 'utf8'));
      const rows = isObject(value) ? Object.entries(value) : [];
      this.#entries = new Map(rows.filter((row): row is [string, Entry] => isEntry(row[1])));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.warn('the DHCP leases of before cannot be read', { file: this.#file, error });
      }
    }
    return [...this.#entries];
  }

  put(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#write();
  }

  remove(key: string): void {
    if (this.#entries.delete(key)) this.#write();
  }

  #write(): void {
    const temporary = `${this.#file}.new`;
    try {
      writeFileSync(temporary, JSON.stringify(Object.fromEntries(this.#entries)), { mode: 0o600 });
      renameSync(temporary, this.#file);
    } catch (error) {
      // The leases that are held matter more than those that a next daemon would go on with.
      this.#log.warn('the DHCP leases cannot be written down', { file: this.#file, error });
    }
  }
}

function isEntry(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { request, granted } = value;
  if (!isObject(request) || !isObject(granted) || !isObject(granted['lease'])) return false;
  const texts = ['containerId', 'network', 'ifname', 'netns'].every((key) => typeof request[key] === 'string');
  const times = ['duration', 'renewAfter', 'rebindAfter'].every(
    (key) => typeof (granted['lease'] as never)[key] === 'number',
  );
  return (
    texts && times && isObject(request['args']) && isObject(request['ipam']) && typeof granted['leasedAt'] === 'number'
  );
}
