import { WeftError } from '@weft/plan';

const NEWLINE = 0x0a;

/**
 * Cuts a byte stream into lines and parses each as JSON.
 *
 * Bytes are decoded a whole line at a time, so a chunk may end in the middle of a character or of a token. A line that
 * lies within one chunk is decoded in place; only a line that spans chunks is copied, once, when its end arrives.
 */
export class JsonLines {
  readonly #onValue: (value: unknown) => void;
  readonly #maxLine: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  /** `maxLineBytes` bounds what a broken server can make us hold. */
  constructor(onValue: (value: unknown) => void, maxLineBytes = 256 * 1024 * 1024) {
    this.#onValue = onValue;
    this.#maxLine = maxLineBytes;
  }

  /** Throws WeftError `WATCH_STREAM_BROKEN` on a line that is not JSON or too long. */
  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#pendingBytes === 0) {
        this.#emit(chunk, start, end);
      } else {
        this.#pending.push(chunk.subarray(start, end));
        this.#flush();
      }
      start = end + 1;
    }
    if (start < chunk.length) {
      this.#pending.push(start === 0 ? chunk : chunk.subarray(start));
      this.#pendingBytes += chunk.length - start;
      if (this.#pendingBytes > this.#maxLine) throw broken(`a line is longer than ${this.#maxLine} bytes`);
    }
  }

  /** The end of the stream: a last line may lack its newline. */
  end(): void {
    if (this.#pendingBytes > 0) this.#flush();
  }

  #flush(): void {
    const line = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#emit(line, 0, line.length);
  }

  #emit(bytes: Buffer, start: number, end: number): void {
    if (end === start) return;
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString('utf8', start, end));
    } catch (error) {
      throw broken('a line is not JSON', error);
    }
    this.#onValue(value);
  }
}

function broken(why: string, cause?: unknown): WeftError {
  return new WeftError({ code: 'WATCH_STREAM_BROKEN', message: `the watch stream is broken: ${why}`, cause });
}
