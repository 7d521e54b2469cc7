import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { WeftError } from '@weft/plan';
import { netnsPath } from '../topology/addresses.ts';
import { wayOutCommand, wayOutObstacle } from '../topology/wayout.ts';
import { keepBuild } from './build.ts';
import type { ClusterConfig } from './config.ts';
import { followProgress } from './control.ts';
import type { HostContext } from './find.ts';
import type { ClusterPaths } from './paths.ts';
import { childrenOf, type ClusterPids, clusterNamespaceArgs, ownCgroup, recordOf } from './processes.ts';
import type { ProgressEvent } from './progress.ts';
import { clusterInitCommand, isRunning } from './units.ts';

export async function launch(
  config: ClusterConfig,
  paths: ClusterPaths,
  host: HostContext,
  mapMany: boolean,
): Promise<ClusterPids> {
  const log = openSync(path.join(paths.logDir, 'supervisor.log'), 'a');
  const self = keepBuild(host.self, host.home, paths.buildDir);
  const args = [...clusterNamespaceArgs(config.rootless, mapMany), ...clusterInitCommand(config.name, self)];
  const router = netnsPath(paths.netnsDir, 'lab');
  const child = spawn('unshare', args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: {
      ...host.env,
      WEFT_HOME: host.home,
      WEFT_STATE_DIR: path.dirname(paths.stateDir),
      WEFT_RUN_DIR: path.dirname(paths.runDir),
      WEFT_LOG_DIR: paths.logDir,
      // Long-running Node processes keep what glibc's per-thread arenas never give back.
      MALLOC_ARENA_MAX: '1',
      MALLOC_TRIM_THRESHOLD_: '65536',
      WEFT_OWN_NETWORK: config.rootless ? 'unshare --net' : '',
      WEFT_WAY_OUT: wayOutObstacle() === undefined ? wayOutCommand(router).join(' ') : '',
      WEFT_WAY_OUT_READY: path.join(paths.runDir, 'router.ready'),
    },
  });
  closeSync(log);
  child.unref();
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const found = (async (): Promise<ClusterPids> => {
    // Also when interrupted: what cannot be found cannot be taken away.
    for (let i = 0; i < 2000; i++) {
      const unshare = child.pid === undefined ? undefined : recordOf(child.pid);
      const [first] = child.pid === undefined ? [] : childrenOf(child.pid);
      const init = first === undefined ? undefined : recordOf(first);
      // newuidmap runs as a child as well, before the cluster's first process does.
      if (
        unshare !== undefined &&
        init !== undefined &&
        readFileSync(`/proc/${init.pid}/cmdline`, 'latin1').startsWith('sh\0')
      ) {
        const cgroup = ownCgroup();
        const pids = { unshare, init, ...(cgroup === undefined ? {} : { cgroup }) };
        writeFileSync(paths.pidFile, JSON.stringify(pids));
        return pids;
      }
      if (child.exitCode !== null || child.signalCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    throw new WeftError({
      code: 'START_FAILED',
      message: "the cluster's first process did not start",
      hint: readFileSync(path.join(paths.logDir, 'supervisor.log'), 'utf8').trim().split('\n').slice(-3).join(' | '),
    });
  })();
  return Promise.race([failed, found]);
}

/** What somebody who interrupts a start is told. */
export function aborted(): WeftError {
  return new WeftError({ code: 'INTERRUPTED', message: 'interrupted; everything made so far was taken away' });
}

/** Longest the supervisor may take to answer for the first time. */
const SUPERVISOR_START_MS = 20_000;

export async function follow(
  paths: ClusterPaths,
  pids: ClusterPids,
  onEvent: (event: ProgressEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let failure: WeftError | undefined;
  let ready = false;
  const began = Date.now();
  const take = (event: ProgressEvent): void => {
    if (event.type === 'failed')
      failure = new WeftError({
        code: event.error.code,
        message: event.error.message,
        ...(event.error.hint === undefined ? {} : { hint: event.error.hint }),
      });
    else if (event.type === 'ready') ready = true;
    onEvent(event);
  };
  while (!ready && failure === undefined) {
    if (signal.aborted) throw aborted();
    if (!isRunning(pids.init))
      throw new WeftError({
        code: 'START_FAILED',
        message: 'the supervisor ended',
        hint: `its log: ${path.join(paths.logDir, 'supervisor.log')}`,
      });
    if (Date.now() - began > SUPERVISOR_START_MS && !existsSync(paths.controlSocket)) {
      throw new WeftError({
        code: 'START_FAILED',
        message: 'the supervisor does not come up',
        hint: `its log: ${path.join(paths.logDir, 'supervisor.log')}`,
      });
    }
    if (existsSync(paths.controlSocket)) await followProgress(paths.controlSocket, take, signal).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, ready ? 0 : 5));
  }
  if (failure !== undefined) throw failure;
}
