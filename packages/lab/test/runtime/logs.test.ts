import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logBytes, type LogOptions, readLog } from '../../src/runtime/index.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-logs-'));
  path = join(dir, '0.log');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const time = (second: number): string => `2026-01-02T03:04:${String(second).padStart(2, '0')}.123456789+00:00`;
const line = (second: number, text: string, tag = 'F', stream = 'stdout'): string =>
  `${time(second)} ${stream} ${tag} ${text}\n`;

async function text(options: LogOptions = {}): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of logBytes(path, options)) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

describe('logs', () => {
  it('join what was split and keep what has no newline', async () => {
    writeFileSync(
      path,
      line(0, 'one') + line(1, 'tw', 'P') + line(1, 'o') + line(2, 'err', 'F', 'stderr') + line(3, 'end', 'P'),
    );
    expect(await text()).toBe('one\ntwo\nerr\nend');
  });

  it('show times in UTC once per line', async () => {
    writeFileSync(path, line(1, 'tw', 'P') + line(2, 'o'));
    expect(await text({ timestamps: true })).toBe('2026-01-02T03:04:01.123456789Z two\n');
  });

  it('begin at a time', async () => {
    writeFileSync(path, line(1, 'a') + line(2, 'b') + line(3, 'c'));
    expect(await text({ sinceMs: Date.parse('2026-01-02T03:04:02Z') })).toBe('b\nc\n');
  });

  it('end after so many bytes', async () => {
    writeFileSync(path, line(1, 'abc') + line(2, 'def'));
    expect(await text({ limitBytes: 6 })).toBe('abc\nde');
    expect(await text({ limitBytes: 0 })).toBe('');
  });

  it.each([
    [0, ''],
    [1, 'c\n'],
    [2, 'two\nc\n'],
    [3, 'a\ntwo\nc\n'],
    [99, 'a\ntwo\nc\n'],
  ])('tail %i lines', async (tailLines, expected) => {
    writeFileSync(path, line(1, 'a') + line(2, 'tw', 'P') + line(2, 'o') + line(3, 'c'));
    expect(await text({ tailLines })).toBe(expected);
  });

  it('tail the same as cutting the whole, at any length', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.boolean()), { maxLength: 12 }),
        fc.integer({ min: 0, max: 14 }),
        async (lines, tail) => {
          const written = lines.map(([length, split], i) => {
            const body = String.fromCharCode(97 + i).repeat(length);
            return split ? line(0, body.slice(0, length / 2), 'P') + line(0, body.slice(length / 2)) : line(0, body);
          });
          writeFileSync(path, written.join(''));
          const whole = lines.map(([length], i) => `${String.fromCharCode(97 + i).repeat(length)}\n`);
          expect(await text({ tailLines: tail })).toBe(whole.slice(Math.max(0, whole.length - tail)).join(''));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('tail no more lines than asked for, whatever is written meanwhile', async () => {
    writeFileSync(path, '2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n');
    const records = readLog(path, { tailLines: 1 });
    expect((await records.next()).value?.text.toString()).toBe('two');
    appendFileSync(path, '2026-01-01T00:00:02Z stdout F three\n');
    expect((await records.next()).done).toBe(true);
  });

  it('go on while the container runs, over a rotation, and end with it', async () => {
    writeFileSync(path, line(1, 'a'));
    let running = true;
    const seen: string[] = [];
    const steps: Record<string, () => void> = {
      a: () => appendFileSync(path, line(2, 'b')),
      b: () => {
        renameSync(path, join(dir, 'old'));
        writeFileSync(path, line(3, 'c'));
      },
      c: () => {
        appendFileSync(path, line(4, 'd'));
        running = false;
      },
    };
    for await (const record of readLog(path, { follow: true, running: () => running })) {
      seen.push(record.text.toString());
      const next = steps[record.text.toString()];
      if (next !== undefined) setTimeout(next, 5);
    }
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
  });

  it('end when the reader goes away', async () => {
    writeFileSync(path, line(1, 'a'));
    const abort = new AbortController();
    const seen: string[] = [];
    for await (const record of readLog(path, { follow: true, signal: abort.signal })) {
      seen.push(record.text.toString());
      setTimeout(() => abort.abort(), 5);
    }
    expect(seen).toEqual(['a']);
  });

  it('hold a line back until it is whole', async () => {
    writeFileSync(path, line(1, 'whole').slice(0, -3));
    expect(await text()).toBe('');
  });
});
