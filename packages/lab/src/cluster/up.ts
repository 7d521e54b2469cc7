import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { WeftError } from '@weft/plan';
import type { ClusterRequest } from './config.ts';
import { clearRuntime, removeCluster, removeTree } from './down.ts';
import { findCluster, type HostContext, type KnownCluster } from './find.ts';
import { aborted, follow, launch } from './launch.ts';
import { type ClusterPaths, clusterPaths } from './paths.ts';
import {
  checkSocketPaths,
  checkUserNamespace,
  describeMachine,
  planCluster,
  portIsFree,
  refuseOtherConfig,
} from './preflight.ts';
import { runProgram } from './processes.ts';
import type { ProgressEvent } from './progress.ts';

export interface UpResult {
  readonly cluster: KnownCluster;
  /** True when it ran already and nothing was done. */
  readonly wasRunning: boolean;
}

/** How often `up` plans again when another start has taken the blocks it had chosen. */
const PLANS = 3;

/**
 * Brings a cluster up, or finds it up; see startCluster. Two starts at once may choose the same default blocks: the one
 * that comes second chooses again.
 */
export async function upCluster(
  request: ClusterRequest,
  host: HostContext,
  onEvent: (event: ProgressEvent) => void,
  signal: AbortSignal,
): Promise<UpResult> {
  const chosen = request.podCidr ?? request.serviceCidr ?? request.underlayCidr;
  for (let plan = 1; ; plan++) {
    try {
      return await startCluster(request, host, onEvent, signal);
    } catch (error) {
      // An interrupt may reach a child before it has a process group of its own: its end is no failure then.
      if (signal.aborted) throw aborted();
      const lost = error instanceof WeftError && error.code === 'CIDR_OVERLAP' && chosen === undefined;
      if (!lost || plan === PLANS) throw error;
      onEvent({ type: 'note', text: `${error.message}; choosing other blocks` });
    }
  }
}

/**
 * Brings a cluster up, or finds it up. On failure or abort everything made is taken away again.
 *
 * @throws WeftError with the code of what stood in the way
 */
async function startCluster(
  request: ClusterRequest,
  host: HostContext,
  onEvent: (event: ProgressEvent) => void,
  signal: AbortSignal,
): Promise<UpResult> {
  const began = performance.now();
  const name = request.name ?? 'weft';
  const known = findCluster(name, host);
  if (known !== undefined) refuseOtherConfig(request, known.config);
  if (known?.pids !== undefined) {
    // It may be on its way up still, or have failed.
    await follow(known.paths, known.pids, () => {}, signal);
    return { cluster: known, wasRunning: true };
  }
  const space = host.uid === 0 ? { mapMany: true } : await checkUserNamespace(host);
  // A cluster that was not taken down comes back with its objects, as after a reboot.
  const config = known?.config ?? (await planCluster(request, host));
  if (known !== undefined && !(await portIsFree(config.apiPort))) {
    throw new WeftError({
      code: 'PORT_IN_USE',
      message: `TCP port ${config.apiPort} of 127.0.0.1, the API's port of cluster ${name}, is in use`,
      hint: 'free it, or remove the cluster with weft down',
    });
  }
  const paths = clusterPaths(config.name, host.env, host.uid);
  checkSocketPaths(config, paths);
  if (known !== undefined) {
    await clearRuntime(config, paths, host);
    onEvent({ type: 'note', text: `cluster ${name} was not taken down; its objects are kept` });
  }
  // Also without state of a former cluster: what it left here must not be taken for this one's.
  else await removeTree(paths.runDir, config.rootless);
  onEvent({
    type: 'phase',
    report: { phase: 'preflight', detail: await describeMachine(host), ms: performance.now() - began },
  });
  if (space.note !== undefined) onEvent({ type: 'note', text: space.note });
  try {
    mkdirSync(paths.logDir, { recursive: true });
    mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
    writeFileSync(paths.configFile, `${JSON.stringify(config, undefined, 2)}\n`);
    const pids = await launch(config, paths, host, space.mapMany);
    await follow(paths, pids, onEvent, signal);
    return { cluster: { config, paths, pids }, wasRunning: false };
  } catch (error) {
    const kept = known === undefined && !signal.aborted ? await keepLogs(paths) : undefined;
    await removeCluster(config, paths, host, known !== undefined);
    if (kept !== undefined && error instanceof WeftError && !signal.aborted)
      onEvent({ type: 'note', text: `logs of the failed start: ${kept}` });
    throw error;
  }
}

async function keepLogs(paths: ClusterPaths): Promise<string | undefined> {
  const kept = `/tmp/weft-failed-${path.basename(paths.stateDir)}-${process.pid}`;
  const copied = await runProgram('cp', ['-r', paths.logDir, kept]);
  return copied.code === 0 ? kept : undefined;
}
