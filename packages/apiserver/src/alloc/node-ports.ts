import { WeftError } from '@weft/plan';
import { BandedRange } from './range.ts';

/** Size of the static band: min(max(16, size / 32), 128), none in ranges of 16 ports or less (KEP-3668). */
function staticBand(size: number): number {
  return size <= 16 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), 128);
}

/** NodePorts. A number is one Service's, whatever the protocol: another Service cannot have it for UDP either. */
export class NodePortRange {
  readonly #first: number;
  readonly #last: number;
  readonly #range: BandedRange;

  /** Throws WeftError `NODE_PORT_RANGE_INVALID`. */
  constructor([first, last]: readonly [number, number]) {
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 1 || last > 65535 || first > last) {
      throw new WeftError({
        code: 'NODE_PORT_RANGE_INVALID',
        message: `${first}-${last} is not a range of ports`,
        hint: 'the usual range is 30000-32767',
      });
    }
    this.#first = first;
    this.#last = last;
    const size = last - first + 1;
    this.#range = new BandedRange(size, staticBand(size));
  }

  /** Takes the port for `owner`, or says why not in Kubernetes' words. Taking one's own again is fine. */
  take(port: number, owner: string): string | undefined {
    const refusal = this.#check(port, owner);
    if (refusal === undefined) this.#range.take(port - this.#first, owner);
    return refusal;
  }

  #check(port: number, owner: string): string | undefined {
    if (port < this.#first || port > this.#last) {
      return `provided port is not in the valid range. The range of valid ports is ${this.#first}-${this.#last}`;
    }
    const holder = this.#range.ownerOf(port - this.#first);
    return holder === undefined || holder === owner ? undefined : 'provided port is already allocated';
  }

  /** Takes any free port; undefined when there is none. */
  next(owner: string): number | undefined {
    const n = this.#range.next(owner);
    return n === undefined ? undefined : n + this.#first;
  }

  release(port: number, owner: string): void {
    this.#range.release(port - this.#first, owner);
  }

  clear(): void {
    this.#range.clear();
  }
}
