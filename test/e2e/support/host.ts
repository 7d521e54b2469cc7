import { type Dirent, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { pause, run } from './run.ts';

/** What a cluster may change on the machine it runs on, each as a set of lines. */
export interface HostState {
  readonly links: ReadonlySet<string>;
  readonly routes: ReadonlySet<string>;
  readonly rules: ReadonlySet<string>;
  readonly tables: ReadonlySet<string>;
  readonly settings: ReadonlySet<string>;
  readonly mounts: ReadonlySet<string>;
  readonly cgroups: ReadonlySet<string>;
  readonly files: ReadonlySet<string>;
}

const KINDS = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'];
/** Places that a runtime, a plugin or a careless tool would write to. */
const WATCHED = [
  '/run',
  '/run/netns',
  '/run/weft',
  '/var/lib',
  '/var/lib/weft',
  '/var/lib/cni',
  '/etc/cni',
  '/opt/cni',
  '/tmp',
  '/root/.kube',
];

function list(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch {
    return [];
  }
}

function* directories(dir: string): Generator<string> {
  for (const entry of list(dir)) {
    if (!entry.isDirectory()) continue;
    const at = path.join(dir, entry.name);
    yield at;
    yield* directories(at);
  }
}

function* allFiles(dir: string, skip: (at: string) => boolean): Generator<string> {
  for (const entry of list(dir)) {
    const at = path.join(dir, entry.name);
    if (skip(at)) continue;
    yield at;
    if (entry.isDirectory()) yield* allFiles(at, skip);
  }
}

async function lines(file: string, args: readonly string[]): Promise<string[]> {
  return (await run(file, args)).stdout.split('\n').filter(Boolean);
}

/**
 * Everything of the host that clusters might touch. `base` is where the tests' clusters live. Links named `weft-…` of
 * anybody else's clusters, and what belongs to them, are left out, so that a busy machine does not look like a leak.
 */
export async function hostState(base: string, own: readonly string[]): Promise<HostState> {
  const foreign = (line: string): boolean => {
    const name = /weft-([a-z0-9-]+)/.exec(line)?.[1];
    return name !== undefined && !own.includes(name);
  };
  const [links, routes, rules, tables, settings] = await Promise.all([
    lines('ip', ['-br', 'link']),
    lines('ip', ['route', 'show', 'table', 'all']),
    lines('ip', ['rule']),
    lines('nft', ['list', 'ruleset']),
    lines('sysctl', ['-a', '--pattern', '^(net|kernel|user|vm)\\.']),
  ]);
  const changing =
    /nf_conntrack_count|kernel\.random\.|kernel\.ns_last_pid|kernel\.pty\.nr|nr_open|\.(stat|epoch)|kernel\.(perf|sched)|vm\.stat/;
  const watched = WATCHED.flatMap((dir) => list(dir).map((e) => path.join(dir, e.name))).filter((f) =>
    /weft|runc|crun|conmon|netns|cni/.test(f),
  );
  const inBase = [...allFiles(base, (at) => at === path.join(base, 'state', 'images'))];
  return {
    links: new Set(links.map((l) => l.split(/[\s@]+/)[0] ?? '').filter((l) => !foreign(l))),
    routes: new Set(routes.filter((l) => !foreign(l)).map((l) => l.replace(/ (expires|cache)\b.*$/, '').trim())),
    rules: new Set(rules),
    tables: new Set(tables.filter((l) => !foreign(l))),
    settings: new Set(settings.filter((l) => !changing.test(l) && !foreign(l))),
    mounts: new Set(
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map((l) => l.split(' ').slice(3, 5).join(' '))
        .filter((l) => !foreign(l)),
    ),
    cgroups: new Set(directories('/sys/fs/cgroup')),
    files: new Set(
      [...watched, ...inBase].filter((f) => !foreign(f) && !/^\/tmp\/(bash_|we-|weft-(perf|test|failed))/.test(f)),
    ),
  };
}

/** What of `after` was not there before, and what is gone. */
export function differences(before: HostState, after: HostState): string[] {
  return (Object.keys(before) as (keyof HostState)[]).flatMap((kind) => [
    ...[...after[kind]].filter((x) => !before[kind].has(x)).map((x) => `${kind}: + ${x}`),
    ...[...before[kind]].filter((x) => !after[kind].has(x)).map((x) => `${kind}: - ${x}`),
  ]);
}

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since boot. */
  readonly started: number;
  readonly command: string;
  readonly namespaces: readonly string[];
  readonly environment: string;
}

function processInfo(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return undefined;
    const read = (name: string): string => {
      try {
        return readFileSync(`/proc/${pid}/${name}`, 'latin1').replaceAll('\0', ' ').trim();
      } catch {
        return '';
      }
    };
    const namespaces = KINDS.flatMap((kind) => {
      try {
        return [readlinkSync(`/proc/${pid}/ns/${kind}`)];
      } catch {
        return [];
      }
    });
    return {
      pid,
      parent: Number(fields[1]),
      started: Number(fields[19]),
      command: read('cmdline'),
      environment: read('environ'),
      namespaces,
    };
  } catch {
    return undefined;
  }
}

function processes(): ProcessInfo[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processInfo(Number(name)) ?? []);
}

/** A process and all that descends from it. */
export function descendants(root: number): ProcessInfo[] {
  const all = processes();
  const found = new Set([root]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const p of all) {
      if (!found.has(p.pid) && found.has(p.parent)) {
        found.add(p.pid);
        grew = true;
      }
    }
  }
  return all.filter((p) => found.has(p.pid));
}

/** What is known of a cluster's processes while it runs, to look for them afterwards. */
export interface Footprint {
  readonly namespaces: ReadonlySet<string>;
  readonly base: string;
}

/** Namespaces that a cluster has made: those of its processes that this process is not in. */
export function footprint(initPid: number, base: string): Footprint {
  const mine = new Set(processInfo(process.pid)?.namespaces ?? []);
  return { base, namespaces: new Set(descendants(initPid).flatMap((p) => p.namespaces.filter((n) => !mine.has(n)))) };
}

/**
 * Processes that belonged to a cluster and are still there: they carry its directories in their environment or command
 * line, or sit in one of its namespaces. Numbers of namespaces are used again, so only processes count that are older
 * than `asOf` (clock ticks since boot).
 */
export function leftovers(of: Footprint, asOf: number): ProcessInfo[] {
  const self = new Set([process.pid, process.ppid]);
  return processes().filter(
    (p) =>
      !self.has(p.pid) &&
      p.started <= asOf &&
      (p.environment.includes(of.base) ||
        p.command.includes(of.base) ||
        p.namespaces.some((n) => of.namespaces.has(n))),
  );
}

/** Clock ticks since boot, as `started` counts them. */
export function ticksNow(): number {
  return Math.floor(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100);
}

/** Looks until nothing differs any more; what still does after 5 s is returned. */
export async function settled(look: () => Promise<readonly string[]>): Promise<readonly string[]> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const found = await look();
    if (found.length === 0 || Date.now() > deadline) return found;
    await pause(100);
  }
}
