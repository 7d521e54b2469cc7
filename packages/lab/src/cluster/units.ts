import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { NetNs, spawnInNetNs } from '@weft/kernel';

/**
 * Shell function that runs a command again whenever it ends, as a service manager does; it is ended by being killed. A
 * shell and not Node: it must outlive every Weft process, cost nothing, and, as the first process of a node, reap
 * what nobody else waits for.
 */
const KEEP_RUNNING = `
keep_running() {
  delay=0
  while :; do
    "$@" &
    child=$!
    began=$(date +%s)
    wait "$child"
    if [ $(($(date +%s) - began)) -ge 5 ]; then delay=0; fi
    case $delay in 0) sleep 0.05; delay=1 ;; 1) sleep 0.5; delay=2 ;; *) sleep 2 ;; esac
  done
}`;

/**
 * First process of a cluster. The API and the way out use the host's network with ordinary sockets; the supervisor of
 * a cluster without privileges needs a network namespace that its user namespace owns, because it could not come back
 * to the host's after a visit to another.
 */
const CLUSTER_INIT = `${KEEP_RUNNING}
cluster=$1
shift
keep_running "$@" api --cluster "$cluster" >>"$WEFT_LOG_DIR/api.log" 2>&1 &
if [ -n "$WEFT_WAY_OUT" ]; then
  until [ -s "$WEFT_WAY_OUT_READY" ]; do sleep 0.02; done && keep_running $WEFT_WAY_OUT >>"$WEFT_LOG_DIR/wayout.log" 2>&1 &
fi
keep_running $WEFT_OWN_NETWORK "$@" supervise --cluster "$cluster"`;

/** One long-running part of a cluster that the supervisor starts: a whole node. */
export interface UnitSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Network namespace to run in; the supervisor's own when absent. */
  readonly netns?: string;
  /** A node is a machine of its own: own processes, own mounts, own host name. */
  readonly machine?: boolean;
}

/** Where to find a unit again after the supervisor was restarted. */
export interface UnitRecord {
  readonly pid: number;
  /** Start time in clock ticks since boot; tells a pid from its successor. */
  readonly started: string;
}

/** Field 22 of /proc/PID/stat, or undefined when there is no such process. */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function isRunning(record: UnitRecord): boolean {
  return processStart(record.pid) === record.started;
}

/** Arguments of `sh` that run a command, and run it again when it ends. */
function keepRunning(command: readonly string[]): string[] {
  return ['sh', '-c', `${KEEP_RUNNING}\nkeep_running "$@"`, 'weft-loop', ...command];
}

/** The command of a cluster's first process; see CLUSTER_INIT for its environment. */
export function clusterInitCommand(cluster: string, self: readonly string[]): string[] {
  return ['sh', '-c', CLUSTER_INIT, 'weft-init', cluster, ...self];
}

/** Starts a unit so that it outlives its starter. */
export function startUnit(spec: UnitSpec): UnitRecord {
  mkdirSync(path.dirname(spec.logFile), { recursive: true });
  const log = openSync(spec.logFile, 'a');
  let argv = keepRunning(spec.command);
  if (spec.machine === true) {
    argv = [
      'unshare',
      '--mount',
      '--uts',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      'sh',
      '-c',
      `hostname "$0"; exec "$@"`,
      spec.name,
      ...argv,
    ];
  }
  const options = {
    detached: true,
    stdio: ['ignore', log, log] as ['ignore', number, number],
    env: { ...process.env, ...spec.env },
  };
  const [file, ...args] = argv as [string, ...string[]];
  let child: ChildProcess;
  if (spec.netns === undefined) child = spawn(file, args, options);
  else {
    const ns = NetNs.open(spec.netns);
    try {
      child = spawnInNetNs(ns, file, args, options);
    } finally {
      ns.close();
    }
  }
  closeSync(log);
  child.unref();
  if (child.pid === undefined) throw new Error(`cannot start ${spec.name}`);
  return { pid: child.pid, started: processStart(child.pid) ?? '' };
}

/** Ends a unit and everything under it at once. */
export function killUnit(record: UnitRecord): void {
  if (!isRunning(record)) return;
  for (const target of [-record.pid, record.pid]) {
    try {
      process.kill(target, 'SIGKILL');
    } catch {
      // Gone already, or not the leader of a group.
    }
  }
}
