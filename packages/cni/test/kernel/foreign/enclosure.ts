import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { installPlugins, type PodAttachment } from '../../../src/index.ts';

const MODULES = join(import.meta.dirname, '../../../../../node_modules');

/**
 * runc where it may make no cgroups, as the machine of the tests may not allow any. It is called crun, because podman
 * does without cgroups for that one only, and gets a flag of crun that runc does not know. containerd names a cgroup in
 * any case, and looks there for all processes of a container (--all).
 */
const RUNC = `#!/bin/sh
before=
for arg do
  shift
  case $before in
    --cgroup-manager) before=; continue ;;
    --bundle) sed -i -E 's/"cgroupsPath":"[^"]*",//; s/"shares":[0-9]+,?//' "$arg/config.json" ;;
  esac
  before=$arg
  case $arg in
    --cgroup-manager | --cgroup-manager=* | --all) ;;
    *) set -- "$@" "$arg" ;;
  esac
done
exec runc --rootless=true "$@"
`;

/** What other runtimes write to outside of their own directories becomes memory of the enclosure. */
const COVERED = ['/run', '/dev/shm', '/var/lib'];
/** The same where there is something that is needed: changes become memory. */
const OVERLAID = ['/etc', '/opt'];

/** What a command printed. */
export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A node for a foreign container runtime: network, mount and pid namespaces of its own, with an agent's CNI server in
 * it. Everything that was started in it ends with it, and nothing of it is seen by the machine.
 */
export class Enclosure {
  readonly dir: string;
  readonly binDir: string;
  readonly confDir: string;
  readonly socket: string;
  /** A file system with programs, for containers. */
  readonly rootfs: string;
  readonly runc: string;
  readonly #keeper: ChildProcess;
  readonly #pid: number;
  #agent: ChildProcess | undefined;

  private constructor(dir: string, keeper: ChildProcess, pid: number) {
    this.dir = dir;
    this.#keeper = keeper;
    this.#pid = pid;
    this.binDir = join(dir, 'bin');
    this.confDir = join(dir, 'net.d');
    this.socket = join(dir, 'agent.sock');
    this.rootfs = join(dir, 'rootfs');
    this.runc = join(dir, 'crun');
  }

  static async open(): Promise<Enclosure> {
    const dir = mkdtempSync(join(tmpdir(), 'weft-foreign-'));
    const data = join(dir, 'data');
    for (const name of ['bin', 'net.d', 'state', 'data', 'rootfs/bin', 'rootfs/proc'])
      mkdirSync(join(dir, name), { recursive: true });
    const script = [
      ...COVERED.map((path) => `mount -t tmpfs tmpfs ${path}`),
      'mkdir -p /run/lock /run/netns',
      `mount -t tmpfs tmpfs ${data}`,
      ...OVERLAID.map((path) => {
        const [upper, work] = [join(data, `upper${path}`), join(data, `work${path}`)];
        return `mkdir -p ${upper} ${work}; mount -t overlay -o lowerdir=${path},upperdir=${upper},workdir=${work} o ${path}`;
      }),
      // Where runtimes look that are not told.
      `mkdir -p /etc/cni/net.d /opt/cni/bin`,
      `mount --bind ${join(dir, 'net.d')} /etc/cni/net.d; mount --bind ${join(dir, 'bin')} /opt/cni/bin`,
      'mount -t cgroup2 -o ro cgroup2 /sys/fs/cgroup 2>/dev/null || true',
      'ip link set lo up',
      'ip link add out0 type veth peer name out1',
      'ip link set out0 up; ip link set out1 up; ip address add 192.0.2.10/24 dev out0',
      'ip route add default via 192.0.2.1',
      'echo ready',
      'exec sleep infinity',
    ].join('\n');
    const flags = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const keeper = spawn('unshare', [...flags, 'sh', '-ec', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [first] = await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'exit')]);
    if (String(first).trim() !== 'ready') throw new Error(`the enclosure ended at once: ${String(first)}`);
    const pid = Number(readFileSync(`/proc/${keeper.pid}/task/${keeper.pid}/children`, 'utf8').trim().split(' ')[0]);
    const enclosure = new Enclosure(dir, keeper, pid);
    enclosure.#fill();
    const cacheDir = join(tmpdir(), 'weft-cni-shim-cache');
    await installPlugins({ binDir: enclosure.binDir, agentSocket: enclosure.socket, cacheDir });
    return enclosure;
  }

  #fill(): void {
    writeFileSync(this.runc, RUNC);
    chmodSync(this.runc, 0o755);
    const bin = join(this.rootfs, 'bin');
    writeFileSync(join(bin, 'busybox'), readFileSync('/bin/busybox'));
    chmodSync(join(bin, 'busybox'), 0o755);
    for (const name of ['sh', 'ip', 'ping', 'httpd', 'sleep', 'wget', 'cat']) symlinkSync('busybox', join(bin, name));
    writeFileSync(join(this.rootfs, 'index.html'), 'hello from a container\n');
  }

  /** Starts the agent's CNI server; `definitions` are configurations of further networks, by NAMESPACE/NAME. */
  async startAgent(definitions: Readonly<Record<string, object>> = {}): Promise<void> {
    const outfile = join(this.dir, 'agent.mjs');
    await build({
      entryPoints: [join(import.meta.dirname, '../agent-process.ts')],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
      nodePaths: [MODULES],
      logLevel: 'error',
    });
    const known = join(this.dir, 'definitions.json');
    writeFileSync(known, JSON.stringify(definitions));
    const args = [...this.#enter(), process.execPath, outfile, this.socket, join(this.dir, 'state'), known];
    const env = { ...process.env, NODE_PATH: MODULES };
    const agent = spawn('nsenter', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env });
    this.#agent = agent;
    const [first] = await Promise.race([once(agent, 'message'), once(agent, 'exit')]);
    if (first !== 'ready') throw new Error(`the agent ended at once: ${first}`);
  }

  /** What the agent has attached, once it has finished what it had to do, or has looked for what others forgot. */
  async attachments(first: 'flush' | 'sweep' = 'flush'): Promise<readonly PodAttachment[]> {
    const agent = this.#agent as ChildProcess;
    const answer = once(agent, 'message');
    agent.send(first);
    return (await answer)[0] as PodAttachment[];
  }

  writeConflist(name: string, value: unknown): void {
    writeFileSync(join(this.confDir, name), JSON.stringify(value));
  }

  /** Runs a command inside. */
  run(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const options = {
      encoding: 'utf8',
      env: { ...process.env, ...env },
      maxBuffer: 16 << 20,
      timeout: 60_000,
    } as const;
    return new Promise((resolve) => {
      execFile('nsenter', [...this.#enter(), ...command], options, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ status, stdout, stderr: status === 255 ? `${stderr}${error?.message ?? ''}` : stderr });
      });
    });
  }

  /** Runs a command inside that must succeed; its stdout. */
  async must(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, env);
    if (status === 0) return stdout;
    throw new Error(`${command.join(' ')}: exit ${status}\n${stderr}${stdout}`);
  }

  /** Starts a daemon inside, which lives as long as the enclosure at most. */
  daemon(command: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    return spawn('nsenter', [...this.#enter(), ...command], { stdio: [...stdio], env: { ...process.env, ...env } });
  }

  async close(): Promise<void> {
    const gone = once(this.#keeper, 'exit');
    this.#keeper.kill('SIGKILL');
    await gone;
    rmSync(this.dir, { recursive: true, force: true });
  }

  #enter(): string[] {
    return ['-t', String(this.#pid), '--net', '--mount', '--pid', '--'];
  }
}
