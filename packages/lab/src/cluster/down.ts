import { existsSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { detachHost } from '../host/link.ts';
import { removeNodeCgroups } from '../node/cgroup.ts';
import type { ClusterConfig } from './config.ts';
import { findCluster, type HostContext, readJson } from './find.ts';
import { type ClusterPaths, clusterPaths } from './paths.ts';
import { type ClusterPids, runProgram } from './processes.ts';
import { isRunning } from './units.ts';

export async function removeTree(dir: string, rootless: boolean): Promise<void> {
  if (!existsSync(dir)) return;
  try {
    rmSync(dir, { recursive: true, force: true });
  } catch (error) {
    if (!rootless) throw error;
    // Files of an image's other users can be removed only by someone who is all of them.
    await runProgram('unshare', ['--user', '--map-root-user', '--map-auto', 'rm', '-rf', dir]);
  }
}

function killAndWait(pids: ClusterPids | undefined): Promise<void> {
  if (pids === undefined || !isRunning(pids.init)) return Promise.resolve();
  process.kill(pids.init.pid, 'SIGKILL');
  return new Promise((resolve) => {
    const look = (): void => {
      if (isRunning(pids.init) || isRunning(pids.unshare)) setTimeout(look, 2);
      else resolve();
    };
    look();
  });
}

export async function clearRuntime(config: ClusterConfig, paths: ClusterPaths, host: HostContext): Promise<void> {
  if (host.uid === 0) await detachHost(config.name);
  await removeTree(paths.runDir, config.rootless);
}

export async function removeCluster(
  config: ClusterConfig,
  paths: ClusterPaths,
  host: HostContext,
  keepState: boolean,
): Promise<void> {
  const pids = readJson<ClusterPids>(paths.pidFile);
  await killAndWait(pids);
  if (host.uid === 0 && pids?.cgroup !== undefined) removeNodeCgroups(config.name, pids.cgroup);
  await clearRuntime(config, paths, host);
  if (!keepState) await removeTree(paths.stateDir, config.rootless);
  for (const dir of [path.dirname(paths.runDir), path.dirname(paths.stateDir)]) {
    try {
      rmdirSync(dir);
    } catch {
      // Other clusters, or the image store, are in it.
    }
  }
}

/** Takes a cluster down, whatever state it is in. False when there was none. */
export async function downCluster(name: string, host: HostContext): Promise<boolean> {
  const known = findCluster(name, host);
  const paths = clusterPaths(name, host.env, host.uid);
  if (known === undefined && !existsSync(paths.stateDir) && !existsSync(paths.runDir))
    return host.uid === 0 ? detachHost(name) : false;
  const config = known?.config ?? ({ name, rootless: host.uid !== 0 } as ClusterConfig);
  await removeCluster(config, paths, host, false);
  return true;
}
