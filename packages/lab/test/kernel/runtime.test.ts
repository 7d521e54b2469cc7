import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Container, ExecResult, Sandbox } from '../../src/runtime/index.ts';
import { bundle, Enclosure, Host } from './host.ts';

let dir: string;
let script: string;
let enclosure: Enclosure;
let host: Host;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'weft-rt-'));
  script = await bundle('runtime-host.ts');
  enclosure = await Enclosure.open();
  host = await Host.start(enclosure, script, dir);
});
afterAll(async () => {
  await host.call('removeAll').catch(() => {});
  await host.kill();
  enclosure.close();
  rmSync(dir, { recursive: true, force: true });
  rmSync(script, { force: true });
});

afterEach(() => host.call('removeAll'));

const restart = async (): Promise<void> => {
  await host.kill();
  host = await Host.start(enclosure, script, dir);
};
const exec = (id: string, ...command: string[]): Promise<ExecResult> => host.call('exec', id, command);

describe('a pod', () => {
  it('shares namespaces among its containers, serves, logs and ends', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'web');
    expect(sandbox.id).toMatch(/^[0-9a-f]{64}$/);
    const nginx = await host.call<Container>('run', sandbox.id, 'nginx', 'nginx', []);
    const side = await host.call<Container>('run', sandbox.id, 'side', 'busybox', ['sleep', '1000']);
    const page = await exec(side.id, 'wget', '-qO-', 'http://127.0.0.1/');
    expect(page.stdout).toContain('Welcome to nginx!');
    expect((await exec(side.id, 'hostname')).stdout).toBe('web\n');
    const ids = await Promise.all(
      [nginx, side].map(
        async (c) =>
          (await exec(c.id, 'sh', '-c', 'readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts')).stdout,
      ),
    );
    expect(ids[0]).toBe(ids[1]);
    const pids = await Promise.all(
      [nginx, side].map(async (c) => (await exec(c.id, 'readlink', '/proc/self/ns/pid')).stdout),
    );
    expect(pids[0]).not.toBe(pids[1]);
    expect((await exec(nginx.id, 'ping', '-c', '1', '127.0.0.1')).code).toBe(0);
    expect(await host.call('logs', 'nginx')).toContain('"GET / HTTP/1.1" 200');
    const stopped = await host.call<Container>('stop', nginx.id, 10_000);
    expect(stopped).toMatchObject({ state: 'exited', exitCode: 0 });
    await host.call('removeSandbox', sandbox.id);
    expect(await host.call('sandboxes')).toEqual([]);
    expect(await host.call('containers')).toEqual([]);
    expect(await host.call<string[]>('calls')).toEqual(['setup web', 'teardown web']);
    expect(enclosure.run('cat', '/proc/mounts')).not.toContain(sandbox.id);
  });

  it('reports exit codes, output without a newline, and commands that are not there', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'codes');
    const seven = await host.call<Container>('run', sandbox.id, 'seven', 'busybox', [
      'sh',
      '-c',
      'echo -n out; echo err >&2; exit 7',
    ]);
    expect(await host.call<Container>('wait', seven.id)).toMatchObject({ exitCode: 7, state: 'exited' });
    expect(await host.call('logs', 'seven')).toContain('out');
    await expect(host.call('run', sandbox.id, 'none', 'busybox', ['/no/such'])).rejects.toThrow(
      /OCI runtime create failed: runc create failed: unable to start container process: exec: "\/no\/such": stat \/no\/such: no such file or directory: unknown/,
    );
    const none = (await host.call<Container[]>('containers')).find((c) => c.name === 'none');
    expect(none).toMatchObject({ state: 'exited', exitCode: 128, reason: 'StartError' });
    await host.call('removeSandbox', sandbox.id);
  });

  it('runs commands on request: output, exit code, time limit, terminal', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'exec');
    const c = await host.call<Container>('run', sandbox.id, 'main', 'busybox', ['sleep', '1000'], { env: ['WHO=me'] });
    expect(await exec(c.id, 'sh', '-c', 'echo $WHO; echo no >&2; exit 3')).toEqual({
      code: 3,
      stdout: 'me\n',
      stderr: 'no\n',
      timedOut: false,
    });
    expect(await host.call('exec', c.id, ['sleep', '100'], 100)).toMatchObject({ timedOut: true, code: 137 });
    await expect(exec(c.id, 'nope')).rejects.toThrow(
      'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown',
    );
    const input = 'stty size; tty; until stty size | grep "30 100"; do sleep 0.1; done; exit 5\n';
    const tty = await host.call<{ code: number; output: string }>('execTty', c.id, input, '43 132');
    expect(tty.code).toBe(5);
    expect(tty.output).toMatch(/^43 132\r$/m);
    expect(tty.output).toMatch(/^30 100\r$/m);
    expect(tty.output).toContain('/dev/pts/');
    await host.call('removeSandbox', sandbox.id);
  });

  it('moves a long log aside and goes on in a new one', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'long');
    const command = ['sh', '-c', 'seq 1 500; while [ ! -e /go ]; do sleep 0.05; done; echo after; sleep 1000'];
    const c = await host.call<Container>('run', sandbox.id, 'long', 'busybox', command);
    await expect.poll(() => host.call('logs', 'long')).toContain('\n500\n');
    await host.call('rotate', 1_000_000);
    expect(readdirSync(join(dir, 'logs')).filter((name) => name.startsWith('long.log'))).toEqual(['long.log']);
    await host.call('rotate', 1000);
    await exec(c.id, 'touch', '/go');
    await expect.poll(() => host.call('logs', 'long').catch(() => '')).toBe('after\n');
    expect(readdirSync(join(dir, 'logs')).filter((name) => name.startsWith('long.log'))).toHaveLength(2);
  });

  it('can share one process namespace, whose first process is the pause process', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'shared', { shareProcessNamespace: true });
    const one = await host.call<Container>('run', sandbox.id, 'one', 'busybox', [
      'sh',
      '-c',
      'sleep 901 & exec sleep 902',
    ]);
    const two = await host.call<Container>('run', sandbox.id, 'two', 'busybox', ['sleep', '903']);
    const seen = (await exec(two.id, 'ps')).stdout;
    expect(seen).toMatch(/\n +1 root +.*pause/);
    expect(seen).toContain('sleep 902');
    // The child that container one left behind goes with it.
    await host.call('stop', one.id, 0);
    await expect.poll(async () => (await exec(two.id, 'ps')).stdout).not.toContain('sleep 901');
    expect((await exec(two.id, 'ps')).stdout).toContain('sleep 903');
    await host.call('removeSandbox', sandbox.id);
  });

  it('leaves nothing when its network cannot be set up', async () => {
    await host.call('failSetup', true);
    await expect(host.call('sandbox', 'broken')).rejects.toThrow('no address is free');
    await host.call('failSetup', false);
    expect(await host.call('sandboxes')).toEqual([]);
    expect(readdirSync(join(dir, 'run/netns'))).toEqual([]);
    expect((await host.call<string[]>('calls')).slice(-2)).toEqual(['setup broken', 'teardown broken']);
  });
});

describe('after kill -9 of the node process', () => {
  it('pods run on, and the next process has them as they are', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'kept');
    const lives = await host.call<Container>('run', sandbox.id, 'lives', 'nginx', []);
    const dies = await host.call<Container>('run', sandbox.id, 'dies', 'busybox', ['sh', '-c', 'sleep 1; exit 9']);
    await host.kill();
    expect(readFileSync(`/proc/${lives.process?.pid}/comm`, 'utf8')).toBe('nginx\n');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    host = await Host.start(enclosure, script, dir);
    expect(await host.call<Container>('get', lives.id)).toEqual(lives);
    expect(await host.call<Container>('get', dies.id)).toMatchObject({ state: 'exited', exitCode: 9 });
    expect(await host.call<(Sandbox & { ready: boolean })[]>('sandboxes')).toEqual([{ ...sandbox, ready: true }]);
    expect((await exec(lives.id, 'wget', '-qO-', 'http://127.0.0.1/')).stdout).toContain('Welcome');
    expect(await host.call<Container>('stop', lives.id, 5000)).toMatchObject({ exitCode: 0 });
    await host.call('removeSandbox', sandbox.id);
  });

  it('what was half made is cleared', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'half');
    await host.call('create', sandbox.id, 'half', ['sleep', '1000']);
    const running = await host.call<Container>('run', sandbox.id, 'whole', 'busybox', ['sleep', '1000']);
    await restart();
    expect((await host.call<Container[]>('containers')).map((c) => c.name)).toEqual(['whole']);
    // A sandbox cut off while its network was set up: its pause process may be there or not.
    const record = join(dir, 'data/runtime/sandboxes', sandbox.id, 'sandbox.json');
    const half = { ...JSON.parse(readFileSync(record, 'utf8')), state: 'creating' };
    const { writeFileSync } = await import('node:fs');
    await host.kill();
    writeFileSync(record, JSON.stringify(half));
    host = await Host.start(enclosure, script, dir);
    expect(await host.call('sandboxes')).toEqual([]);
    expect(await host.call<string[]>('calls')).toEqual(['teardown half']);
    expect(() => readFileSync(`/proc/${running.process?.pid}/comm`)).toThrow();
  });

  it('a monitor that was killed too is noticed', async () => {
    const sandbox = await host.call<Sandbox>('sandbox', 'lost');
    const c = await host.call<Container>('run', sandbox.id, 'lost', 'busybox', ['sleep', '1000']);
    const monitor = Number(readFileSync(join(dir, 'data/runtime/containers', c.id, 'conmon.pid'), 'utf8'));
    await host.kill();
    process.kill(monitor, 'SIGKILL');
    process.kill(c.process?.pid as number, 'SIGKILL');
    host = await Host.start(enclosure, script, dir);
    expect(await host.call<Container>('wait', c.id)).toMatchObject({ exitCode: 255, reason: 'Unknown' });
    await host.call('removeSandbox', sandbox.id);
  });
});
