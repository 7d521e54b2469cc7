import { readdirSync, readFileSync } from 'node:fs';
import { WeftError } from '@weft/plan';
import { checkClusterName, type ClusterConfig, isClusterName } from './config.ts';
import { type ClusterPaths, clusterPaths, stateRoot } from './paths.ts';
import type { ClusterPids } from './processes.ts';
import { isRunning } from './units.ts';

/** Who asks, and from where. */
export interface HostContext {
  readonly uid: number;
  readonly env: NodeJS.ProcessEnv;
  /** Command line of Weft itself, to which a subcommand is appended. */
  readonly self: readonly string[];
  /** Directory of the checkout or installation. */
  readonly home: string;
}

/** A cluster found on this machine. */
export interface KnownCluster {
  readonly config: ClusterConfig;
  readonly paths: ClusterPaths;
  /** Undefined when the cluster is not running. */
  readonly pids: ClusterPids | undefined;
}

/** A file of the state directory; undefined when it is missing or not whole. */
export function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

/** The named cluster as the disk and /proc know it, or undefined when there never was one. */
export function findCluster(name: string, host: HostContext): KnownCluster | undefined {
  checkClusterName(name);
  const paths = clusterPaths(name, host.env, host.uid);
  const config = readJson<ClusterConfig>(paths.configFile);
  if (config === undefined) return undefined;
  const pids = readJson<ClusterPids>(paths.pidFile);
  return { config, paths, pids: pids !== undefined && isRunning(pids.init) ? pids : undefined };
}

/** Every cluster of this user. */
export function listClusters(host: HostContext): KnownCluster[] {
  let names: string[] = [];
  try {
    names = readdirSync(stateRoot(host.env, host.uid));
  } catch {
    // No cluster has ever been made.
  }
  return names.filter(isClusterName).flatMap((name) => findCluster(name, host) ?? []);
}

/** Configuration of a cluster, for the processes that belong to it. */
export function loadCluster(
  name: string,
  host: HostContext,
): { readonly config: ClusterConfig; readonly paths: ClusterPaths } {
  const paths = clusterPaths(name, host.env, host.uid);
  const config = readJson<ClusterConfig>(paths.configFile);
  if (config === undefined)
    throw new WeftError({
      code: 'NO_SUCH_CLUSTER',
      message: `there is no cluster "${name}": ${paths.configFile} is missing or unreadable`,
    });
  return { config, paths };
}
