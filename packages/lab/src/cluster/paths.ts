import path from 'node:path';

/** Where everything of one cluster lies on disk. */
export interface ClusterPaths {
  /** Durable: configuration, API data, logs. */
  readonly stateDir: string;
  /** Of no use after a reboot: sockets, mount points, pods. Short, because unix socket paths end at 107 bytes. */
  readonly runDir: string;
  /** Image store shared by all clusters of this user. */
  readonly imagesDir: string;
  readonly configFile: string;
  /** Pids of the cluster, for finding it again. */
  readonly pidFile: string;
  readonly controlSocket: string;
  readonly apiSocket: string;
  readonly apiTlsSocket: string;
  readonly apiDataDir: string;
  readonly kubeconfig: string;
  readonly logDir: string;
  readonly netnsDir: string;
  /** The build that the cluster runs. */
  readonly buildDir: string;
}

/** Directory of all clusters' state for this user. */
export function stateRoot(env: NodeJS.ProcessEnv, uid: number): string {
  if (env['WEFT_STATE_DIR'] !== undefined) return env['WEFT_STATE_DIR'];
  if (uid === 0) return '/var/lib/weft';
  return path.join(env['XDG_DATA_HOME'] ?? path.join(env['HOME'] ?? '/tmp', '.local/share'), 'weft');
}

/**
 * An ordinary user's is beside the state and not in `$XDG_RUNTIME_DIR`: that one is set in some sessions only, and is
 * taken away with the user's last session while the cluster runs on.
 */
function runRoot(env: NodeJS.ProcessEnv, uid: number): string {
  if (env['WEFT_RUN_DIR'] !== undefined) return env['WEFT_RUN_DIR'];
  return uid === 0 ? '/run/weft' : path.join(stateRoot(env, uid), 'run');
}

export function clusterPaths(name: string, env: NodeJS.ProcessEnv, uid: number): ClusterPaths {
  const stateDir = path.join(stateRoot(env, uid), name);
  const runDir = path.join(runRoot(env, uid), name);
  return {
    stateDir,
    runDir,
    imagesDir: path.join(stateRoot(env, uid), 'images'),
    configFile: path.join(stateDir, 'cluster.json'),
    pidFile: path.join(stateDir, 'pid.json'),
    controlSocket: path.join(runDir, 'control.sock'),
    apiSocket: path.join(runDir, 'api.sock'),
    apiTlsSocket: path.join(runDir, 'api-tls.sock'),
    apiDataDir: path.join(stateDir, 'api'),
    kubeconfig: path.join(stateDir, 'kubeconfig'),
    logDir: path.join(stateDir, 'logs'),
    netnsDir: path.join(runDir, 'netns'),
    buildDir: path.join(stateDir, 'build'),
  };
}

/** Files of one node. */
export function nodeDirs(
  paths: ClusterPaths,
  node: string,
): { readonly dataDir: string; readonly runDir: string; readonly kubeletSocket: string } {
  const runDir = path.join(paths.runDir, 'nodes', node);
  return {
    dataDir: path.join(paths.stateDir, 'nodes', node),
    runDir,
    kubeletSocket: path.join(runDir, 'kubelet.sock'),
  };
}

/** File with the pid, as the cluster numbers it, of the `unshare` whose child is a node's first process. */
export function machinePidFile(paths: ClusterPaths, node: string): string {
  return path.join(paths.runDir, 'nodes', node, 'machine.pid');
}
