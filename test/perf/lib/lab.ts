import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { KubeClient, type Pod, resources } from '@weft/kube';

const root = path.resolve(
  path.dirname(process.argv[1] ?? '.'),
  process.argv[1]?.endsWith('.ts') === true ? '../..' : '..',
);
/** The launcher, as users start it. */
const weft: string = path.join(root, 'weft');

/** The parts of `weft up -o json` that are used here. */
interface UpReport {
  readonly config: { readonly podCidr: string; readonly serviceCidr: string; readonly underlayCidr: string };
  readonly seconds: number;
  readonly phases: readonly { readonly phase: string; readonly ms: number }[];
}

export interface Memory {
  /** Proportional set size of everything the cluster runs, in MB: shared pages are counted once. */
  readonly pssMb: number;
  /** Resident set size of each Weft process, in MB, by what it is. */
  readonly weftMb: Readonly<Record<string, number>>;
  readonly processes: number;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject()));
    });
  });
}

/** Blocks that no route of this machine uses. */
function freeBlocks(): { pod: string; service: string; underlay: string } {
  const routes = spawnSync('ip', ['-4', 'route', 'show', 'table', 'all'], { encoding: 'utf8' }).stdout;
  for (let i = 0; i < 20; i++) {
    const blocks = { pod: `10.${180 + i}.0.0/16`, service: `10.${140 + i}.0.0/16`, underlay: `10.${120 + i}.0.0/21` };
    const used = Object.values(blocks).some((b) => routes.includes(b.replace(/0\.0\/\d+$/, '')));
    if (!used) return blocks;
  }
  throw new Error('no free blocks of addresses');
}

/** State and run directories that live as long as the benchmark. */
export class Workspace {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    this.dir = mkdtempSync(path.join(tmpdir(), 'wp-'));
    for (const name of ['state', 'run']) mkdirSync(path.join(this.dir, name));
    this.env = {
      ...process.env,
      WEFT_STATE_DIR: path.join(this.dir, 'state'),
      WEFT_RUN_DIR: path.join(this.dir, 'run'),
      KUBECONFIG: path.join(this.dir, 'kubeconfig'),
    };
  }

  remove(): void {
    spawnSync(weft, ['down', '--all'], { env: this.env });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One cluster under measurement. */
export class PerfCluster {
  readonly name: string;
  readonly blocks = freeBlocks();
  readonly #space: Workspace;
  #client: KubeClient | undefined;

  constructor(space: Workspace, name: string) {
    this.#space = space;
    this.name = name;
  }

  get client(): KubeClient {
    this.#client ??= new KubeClient({
      transport: { kind: 'unix', path: path.join(this.#space.dir, 'run', this.name, 'api.sock') },
      userAgent: 'weft-perf',
    });
    return this.#client;
  }

  /** Starts `weft up`; resolves when the command ends. */
  async up(flags: readonly string[]): Promise<UpReport> {
    const { pod, service, underlay } = this.blocks;
    const blocks = ['--pod-cidr', pod, '--service-cidr', service, '--underlay-cidr', underlay];
    const args = ['up', '--name', this.name, '--api-port', String(await freePort()), ...blocks, ...flags, '-o', 'json'];
    const child = spawn(weft, args, { env: this.#space.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    if (code !== 0) throw new Error(`weft up failed:\n${out}\n${err}`);
    return JSON.parse(out) as UpReport;
  }

  down(): void {
    this.#client?.close();
    this.#client = undefined;
    spawnSync(weft, ['down', '--name', this.name], { env: this.#space.env });
  }

  /** Pids of everything the cluster runs, as the host numbers them. */
  pids(): number[] {
    const file = path.join(this.#space.dir, 'state', this.name, 'pid.json');
    const { unshare } = JSON.parse(readFileSync(file, 'utf8')) as { unshare: { pid: number } };
    const children = new Map<number, number[]>();
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
      } catch {
        // Ended meanwhile.
      }
    }
    const found = [unshare.pid];
    for (const pid of found) found.push(...(children.get(pid) ?? []));
    return found;
  }

  memory(): Memory {
    let pssKb = 0;
    const weftMb: Record<string, number> = {};
    const pids = this.pids();
    for (const pid of pids) {
      try {
        pssKb += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        const what = /weft\.mjs (api|supervise|dns|node run \S+)/.exec(command)?.[1];
        const rss = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
        if (what !== undefined && !command.startsWith('sh ') && rss > 10_000) weftMb[what] = rss / 1024;
      } catch {
        // Ended meanwhile.
      }
    }
    return { pssMb: pssKb / 1024, weftMb, processes: pids.length };
  }

  /** Waits until this many pods of the default namespace are Ready; resolves to them. */
  async readyPods(count: number, limitMs = 300_000): Promise<Pod[]> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const { items } = await this.client.list<Pod>(resources.pods, 'default');
      const ready = items.filter((p) => p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'));
      if (ready.length >= count) return ready;
      if (Date.now() > deadline)
        throw new Error(`${ready.length} of ${count} pods are Ready after ${limitMs / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** A process in the network namespace that has this address. */
  pidWithAddress(address: string): number {
    const seen = new Set<string>();
    for (const pid of this.pids()) {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      if (!command.startsWith('sleep')) continue;
      const shown = spawnSync('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', '-4', 'addr', 'show', 'eth0'], {
        encoding: 'utf8',
      }).stdout;
      if (shown.includes(` ${address}/`)) return pid;
      seen.add(shown);
    }
    throw new Error(`no namespace has ${address}: ${[...seen].join('; ')}`);
  }
}
