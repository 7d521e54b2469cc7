import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hideApplet, wgetScript } from '../../src/images/applets.ts';

describe("the busybox image's wget", () => {
  let dir: string;
  const script = (): string => path.join(dir, 'wget');
  const env = (): NodeJS.ProcessEnv => ({ ...process.env, PATH: `${dir}:${process.env['PATH'] ?? ''}` });

  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'weft-applets-'));
    writeFileSync(script(), wgetScript('busybox wget'), { mode: 0o755 });
    // Tells what it was called with, one word a line; a URL with "slow" in it takes longer than any limit here.
    const busybox = `#!/bin/sh
if [ "$1" = timeout ]; then
  printf 'limit %s\\n' "$4"
  shift 4
  case "$*" in *slow*) sleep 1; exit 141 ;; *reader*) exit 141 ;; esac
  exec "$@"
fi
shift
printf '%s\\n' "$@"
case "$*" in *refused*) exit 1 ;; esac
`;
    writeFileSync(path.join(dir, 'busybox'), busybox, { mode: 0o755 });
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const called = (...args: string[]): string[] =>
    execFileSync('sh', [script(), ...args], { encoding: 'utf8', env: env() })
      .trimEnd()
      .split('\n');

  it('passes on what it need not change', () => {
    expect(called('-qO-', 'http://a b/')).toEqual(['-q', '-O', '-', 'http://a b/']);
    expect(called('--header', 'Host: x y', '--spider', '-S', 'http://a')).toEqual([
      '--header',
      'Host: x y',
      '--spider',
      '-S',
      'http://a',
    ]);
    expect(called('-q', '-O', '/dev/null', '-U', 'me', 'http://a')).toEqual([
      '-q',
      '-O',
      '/dev/null',
      '-U',
      'me',
      'http://a',
    ]);
  });

  it.each([
    [['-T', '3', '-qO-', 'http://a']],
    [['-qO-', '-T3', 'http://a']],
    [['-qT', '3', '-O-', 'http://a']],
    [['--timeout=3', '-qO-', 'http://a']],
    [['--timeout', '3', '-q', '-O', '-', '--tries=1', 'http://a']],
    [['-q', '-t', '1', '-T3', '-O-', 'http://a']],
  ])('takes the limit out of %j', (args) => {
    expect(called(...args)).toEqual(['limit 3', '-q', '-O', '-', 'http://a']);
  });

  it('says that the time was over, and otherwise what wget says', () => {
    const late = spawnSync('sh', [script(), '-T', '1', 'http://slow'], { encoding: 'utf8', env: env() });
    expect([late.status, late.stderr]).toEqual([1, 'wget: download timed out\n']);
    const left = spawnSync('sh', [script(), '-T', '9', 'http://reader'], { encoding: 'utf8', env: env() });
    expect([left.status, left.stderr]).toEqual([141, '']);
    expect(spawnSync('sh', [script(), '-T', '1', 'http://refused'], { env: env() }).status).toBe(1);
    expect(spawnSync('sh', [script(), 'http://refused'], { env: env() }).status).toBe(1);
  });
});

describe('an applet that is to make way for a script', () => {
  const binary = Buffer.from('code\0wc\0wget\0which\0wget: error\0who\0', 'latin1');

  it('gets another name, in order, and nothing else changes', () => {
    expect(hideApplet(binary, ['wc', 'wget', 'which'], 'wget')?.toString('latin1')).toBe(
      'code\0wc\0wgeT\0which\0wget: error\0who\0',
    );
  });

  it('is left alone when the table is not what it is thought to be', () => {
    expect(hideApplet(binary, ['wc', 'wget', 'who'], 'wget')).toBeUndefined();
    expect(hideApplet(binary, ['wc', 'which'], 'wget')).toBeUndefined();
    expect(hideApplet(Buffer.from('\0a\0ab\0b\0'), ['a', 'ab', 'b'], 'none')).toBeUndefined();
    // A capital would come before its neighbour.
    expect(hideApplet(Buffer.from('\0ba\0bb\0c\0'), ['ba', 'bb', 'c'], 'bb')).toBeUndefined();
  });
});
