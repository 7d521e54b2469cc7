// The command in a process of its own, bundled as the build bundles it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
let script: string;
let child: ChildProcess | undefined;

beforeAll(async () => {
  // Within the checkout, so that it finds the FFI library.
  folder = mkdtempSync(path.resolve(import.meta.dirname, '../../../node_modules/.weft-dns-command-'));
  script = path.join(folder, 'dns.mjs');
  const command = path.resolve(import.meta.dirname, '../src/commands/dns.ts');
  await build({
    stdin: {
      contents: `import { dns } from ${JSON.stringify(command)};\nawait dns(process.argv.slice(2));\n`,
      resolveDir: import.meta.dirname,
    },
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['koffi'],
    logLevel: 'error',
    // CommonJS dependencies ask for require().
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
  });
});
afterEach(() => child?.kill('SIGKILL'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Starts the command and waits for what it prints once it serves. */
async function start(corefile: string, ...args: string[]): Promise<{ process: ChildProcess; errors: () => string }> {
  const started = spawn(process.execPath, [script, '-conf', 'stdin', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  child = started;
  started.stdin.end(corefile);
  let out = '';
  let errors = '';
  started.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  started.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  await expect.poll(() => out, { timeout: 15_000 }).toContain('node v');
  expect(out.split('\n')[0]).toBe('.:0 on 127.0.0.1');
  return { process: started, errors: () => errors };
}

const PLAIN = '.:0 {\n bind 127.0.0.1\n whoami\n}\n';
const SLOW = '.:0 {\n bind 127.0.0.1\n health 127.0.0.1:0 {\n lameduck 60s\n }\n whoami\n}\n';

describe('weft dns', { timeout: 30_000 }, () => {
  it('writes its pid, reloads on SIGUSR1, ignores SIGHUP and SIGUSR2, and ends on SIGTERM', async () => {
    const pidfile = path.join(folder, 'pid');
    const { process: running, errors } = await start(PLAIN, '-pidfile', pidfile);
    expect(readFileSync(pidfile, 'utf8')).toBe(`${running.pid}\n`);
    running.kill('SIGHUP');
    running.kill('SIGUSR2');
    running.kill('SIGUSR1');
    await expect.poll(errors, { timeout: 15_000 }).toContain('Reloading complete');
    const ended = once(running, 'exit');
    running.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(pidfile)).toBe(false);
  });

  it('SIGINT waits for the lameduck time, and a second one does not', async () => {
    const { process: running, errors } = await start(SLOW);
    running.kill('SIGINT');
    await expect.poll(errors, { timeout: 15_000 }).toContain('Going into lameduck mode for 1m0s');
    const ended = once(running, 'exit');
    running.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGKILL']);
  });

  it('SIGQUIT ends at once', async () => {
    const { process: running } = await start(SLOW);
    const ended = once(running, 'exit');
    running.kill('SIGQUIT');
    expect(await ended).toEqual([null, 'SIGKILL']);
  });

  it('a pid file that cannot be written stops the start', async () => {
    writeFileSync(path.join(folder, 'file'), '');
    const started = spawn(process.execPath, [script, '-conf', 'stdin', '-pidfile', path.join(folder, 'file/pid')]);
    child = started;
    started.stdin.end(PLAIN);
    let errors = '';
    started.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const [code] = (await once(started, 'close')) as [number];
    expect(code).not.toBe(0);
    expect(errors).toContain('-pidfile');
  });
});
