import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { checkout, environment } from './environment.ts';
import { describeRun, type Ran, run, type RunOptions, Running, Terminal } from './run.ts';

/** The parts of `weft status -o json` that tests look at. */
export interface StatusReport {
  readonly name: string;
  readonly running: boolean;
  readonly api: string;
  readonly kubeconfig: string;
  readonly logs: string;
  readonly config: {
    readonly name: string;
    readonly nodes: number;
    readonly backend: string;
    readonly podCidr: string;
    readonly serviceCidr: string;
    readonly underlayCidr: string;
    readonly apiPort: number;
    readonly rootless: boolean;
  };
  readonly nodes: readonly {
    readonly name: string;
    readonly status: string;
    readonly address: string;
    readonly podCidr: string;
    readonly pods: number;
  }[];
  readonly units: readonly { readonly name: string; readonly running: boolean; readonly stopped: boolean }[];
}

export interface UpReport extends StatusReport {
  readonly wasRunning: boolean;
  readonly seconds: number;
  readonly phases: readonly { readonly phase: string; readonly detail: string; readonly ms: number }[];
}

export interface ClusterOptions {
  /** At most 7 characters; the run adds 3 of its own, because links of the host are named after clusters. */
  readonly name: string;
  readonly flags?: readonly string[];
  /** Another home for state and run directories than the run's shared one. */
  readonly base?: string;
  /** Put before every command of this cluster, as `['runuser', '-u', 'someone', '--']`. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A TCP port of the loopback that nobody uses now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject()));
    });
  });
}

/** Flags that keep a cluster off blocks that somebody else's cluster uses on this machine; none when nobody does. */
async function blockFlags(flags: readonly string[]): Promise<string[]> {
  const { stdout } = await run('ip', ['-4', 'route', 'show', 'table', 'all']);
  const taken = (cidr: string): boolean => stdout.includes(cidr.replace(/(\.0)+\/\d+$/, '.'));
  const defaults = ['10.244.0.0/16', '10.96.0.0/12', '10.89.0.0/21'];
  if (!defaults.some(taken) || flags.includes('--pod-cidr')) return [];
  for (let i = 0; i < 20; i++) {
    const blocks = [`10.${200 + i}.0.0/16`, `10.${160 + i}.0.0/16`, `10.${130 + i}.0.0/21`] as const;
    if (blocks.some(taken)) continue;
    return ['--pod-cidr', blocks[0], '--service-cidr', blocks[1], '--underlay-cidr', blocks[2]];
  }
  throw new Error(`no free blocks:\n${stdout}`);
}

/** One cluster of a test, and everything a person does with it. */
export class Cluster {
  readonly name: string;
  readonly base: string;
  readonly kubeconfig: string;
  readonly #options: ClusterOptions;
  #report: UpReport | undefined;
  /** What the last `up` said beside its report. */
  notes = '';

  constructor(options: ClusterOptions) {
    this.name = `${options.name}${path.basename(environment().base).slice(-3).toLowerCase()}`;
    this.#options = options;
    this.base = options.base ?? environment().base;
    this.kubeconfig = path.join(this.base, `kubeconfig-${this.name}`);
  }

  get env(): Record<string, string | undefined> {
    return {
      WEFT_STATE_DIR: path.join(this.base, 'state'),
      WEFT_RUN_DIR: path.join(this.base, 'run'),
      KUBECONFIG: this.kubeconfig,
      NO_COLOR: '1',
      ...this.#options.env,
    };
  }

  /** Path of the launcher. */
  get command(): string {
    return path.join(checkout, 'weft');
  }

  get stateDir(): string {
    return path.join(this.base, 'state', this.name);
  }

  get runDir(): string {
    return path.join(this.base, 'run', this.name);
  }

  /** What `weft up` reported. */
  get report(): UpReport {
    if (this.#report === undefined) throw new Error(`cluster ${this.name} is not up`);
    return this.#report;
  }

  /** ClusterIP of cluster DNS. */
  get dnsIp(): string {
    return this.report.config.serviceCidr.replace(/\.0\/\d+$/, '.10');
  }

  nodeAddress(node: string): string {
    const found = this.report.nodes.find((n) => n.name === node);
    if (found === undefined) throw new Error(`no node ${node} in ${JSON.stringify(this.report.nodes)}`);
    return found.address;
  }

  #argv(argv: readonly string[]): [string, string[]] {
    const [file, ...args] = [...(this.#options.prefix ?? []), ...argv];
    return [file as string, args];
  }

  /** Runs any program with this cluster's environment. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const [file, args] = this.#argv(argv);
    return run(file, args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** `./weft …`; the cluster's name is added by the caller where the command takes one. */
  weft(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.exec([this.command, ...args], options);
  }

  background(argv: readonly string[]): Running {
    const [file, args] = this.#argv(argv);
    return new Running(file, args, { env: this.env });
  }

  /** A program on a terminal. */
  terminal(argv: readonly string[]): Terminal {
    return new Terminal([...(this.#options.prefix ?? []), ...argv], { env: this.env });
  }

  /** A command line of the shell, word for word as an article has it. `kubectl` is the one under test. */
  shell(script: string, options: RunOptions & { kubectl?: string } = {}): Promise<Ran> {
    const bin = path.join(this.base, `bin-${path.basename(this.#kubectl(options.kubectl))}`);
    mkdirSync(bin, { recursive: true });
    writeFileSync(path.join(bin, 'kubectl'), `#!/bin/sh\nexec ${this.#kubectl(options.kubectl)} "$@"\n`, {
      mode: 0o755,
    });
    writeFileSync(path.join(bin, 'weft'), `#!/bin/sh\nexec ${this.command} "$@"\n`, { mode: 0o755 });
    return this.exec(['sh', '-c', script], {
      ...options,
      env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, ...options.env },
    });
  }

  #kubectl(file: string | undefined): string {
    const { kubectls } = environment();
    return file ?? kubectls.at(-1)?.file ?? 'kubectl';
  }

  kubectlArgv(args: readonly string[], file?: string): string[] {
    return [this.#kubectl(file), ...args];
  }

  /** Stock kubectl, the newest found unless another is named. */
  kubectl(args: readonly string[], options: RunOptions & { kubectl?: string } = {}): Promise<Ran> {
    return this.exec(this.kubectlArgv(args, options.kubectl), options);
  }

  /** Standard output of a successful kubectl, without the blank at its end. */
  async ask(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return (await this.kubectl(args, options)).stdout.trim();
  }

  async json<T>(args: readonly string[]): Promise<T> {
    return JSON.parse((await this.kubectl([...args, '-o', 'json'])).stdout) as T;
  }

  apply(
    manifest: string | readonly object[] | object,
    options: RunOptions & { namespace?: string } = {},
  ): Promise<Ran> {
    const text =
      typeof manifest === 'string'
        ? manifest
        : JSON.stringify(Array.isArray(manifest) ? { apiVersion: 'v1', kind: 'List', items: manifest } : manifest);
    const where = options.namespace === undefined ? [] : ['-n', options.namespace];
    return this.kubectl([...where, 'apply', '-f', '-'], { ...options, input: text });
  }

  /** A command on a node, which is what `ssh NODE COMMAND` is elsewhere. */
  node(node: string, command: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.weft(['node', 'exec', '--name', this.name, node, '--', ...command], options);
  }

  async up(flags: readonly string[] = this.#options.flags ?? [], options: RunOptions = {}): Promise<UpReport> {
    const ports = flags.includes('--api-port') ? [] : ['--api-port', String(await freePort())];
    const blocks = this.#options.prefix === undefined ? await blockFlags(flags) : [];
    const args = ['up', '--name', this.name, ...ports, ...blocks, ...flags, '-o', 'json'];
    const ran = await this.weft(args, { timeoutMs: 120_000, ...options }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.logs()}`);
    });
    this.notes = ran.stderr;
    this.#report = JSON.parse(ran.stdout) as UpReport;
    return this.#report;
  }

  async status(): Promise<StatusReport> {
    return JSON.parse((await this.weft(['status', '--name', this.name, '-o', 'json'])).stdout) as StatusReport;
  }

  async down(): Promise<void> {
    await this.weft(['down', '--name', this.name], { timeoutMs: 60_000 });
    rmSync(this.kubeconfig, { force: true });
    this.#report = undefined;
  }

  /** Tails of every log of the cluster. */
  logs(lines = 15): string {
    const dir = path.join(this.stateDir, 'logs');
    let names: string[] = [];
    try {
      names = readdirSync(dir).sort();
    } catch {
      return `(no logs in ${dir})`;
    }
    return names
      .map((name) => {
        const text = readFileSync(path.join(dir, name), 'utf8').trimEnd().split('\n').slice(-lines);
        return `--- ${name}\n${text.map((l) => l.slice(0, 600)).join('\n')}`;
      })
      .join('\n');
  }

  /** What a person would look at first. */
  async diagnosis(): Promise<string> {
    const asked = await Promise.all(
      [
        ['get', 'nodes,pods,svc,endpointslices', '-A', '-o', 'wide'],
        ['get', 'events', '-A', '--sort-by=.metadata.creationTimestamp'],
      ].map((args) =>
        this.kubectl(args, { check: false, timeoutMs: 10_000 }).then(describeRun, (error: Error) => error.message),
      ),
    );
    return `${asked.join('\n')}\n${this.logs()}`;
  }
}

/**
 * A cluster for all tests of a file or of a describe block: up before the first, down after the last. When a test
 * fails, the state of the cluster and the tails of its logs are printed with it.
 */
export function useCluster(options: ClusterOptions): Cluster {
  // Known only once the tests run: the environment is not there while they are collected.
  let made: Cluster | undefined;
  const handle = new Proxy({} as Cluster, {
    get: (_, key) => {
      made ??= new Cluster(options);
      const value: unknown = Reflect.get(made, key, made);
      return typeof value === 'function' ? (value.bind(made) as unknown) : value;
    },
  });
  beforeAll(async () => {
    await handle.up();
  });
  afterEach(async (context) => {
    if (context.task.result?.state === 'fail')
      process.stdout.write(
        `\n=== ${context.task.name}: the cluster when it failed\n${await handle.diagnosis()}\n===\n`,
      );
  });
  afterAll(async () => {
    await handle.down();
  });
  return handle;
}
