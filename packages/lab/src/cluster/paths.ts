import path from 'node:path';

/** Where everything of one cluster lies on disk. */
export interface ClusterPaths {
  /** Durable: configuration, API data, logs. */
  readonly stateDir: string;
  /** Gone with a reboot: sockets, mount points, pods. Short, because unix socket paths end at 107 bytes. */
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
}

/** Directory of all clusters' state for this user. */
export function stateRoot(env: NodeJS.ProcessEnv, uid: number): string {
  if (env['WEFT_STATE_DIR'] !== undefined) return env['WEFT_STATE_DIR'];
  if (uid === 0) return '/var/lib/weft';
  return path.join(env['XDG_DATA_HOME'] ?? path.join(env['HOME'] ?? '/tmp', '.local/share'), 'weft');
}

function runRoot(env: NodeJS.ProcessEnv, uid: number): string {
  if (env['WEFT_RUN_DIR'] !== undefined) return env['WEFT_RUN_DIR'];
  if (uid === 0) return '/run/weft';
  return env['XDG_RUNTIME_DIR'] !== undefined ? path.join(env['XDG_RUNTIME_DIR'], 'weft') : `/tmp/weft-${uid}`;
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
