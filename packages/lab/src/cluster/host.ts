import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { WeftError } from '@weft/plan';
import { detachHost, hostBlocks } from '../host/link.ts';
import { checkClusterName, type ClusterConfig, type ClusterRequest, isClusterName, resolveConfig } from './config.ts';
import { followProgress } from './control.ts';
import { type ClusterPaths, clusterPaths, nodeDirs, stateRoot } from './paths.ts';
import { childrenOf, type ClusterPids, clusterNamespaceArgs, recordOf, runProgram } from './processes.ts';
import type { ProgressEvent } from './progress.ts';
import { netnsPath } from '../topology/addresses.ts';
import { wayOutCommand, wayOutObstacle } from '../topology/wayout.ts';
import { clusterInitCommand, isRunning } from './units.ts';

/** Who asks, and from where. */
export interface HostContext {
  readonly uid: number;
  readonly env: NodeJS.ProcessEnv;
  /** Command line of Weft itself, to which a subcommand is appended. */
  readonly self: readonly string[];
}

/** A cluster found on this machine. */
export interface KnownCluster {
  readonly config: ClusterConfig;
  readonly paths: ClusterPaths;
  /** Undefined when the cluster is not running. */
  readonly pids: ClusterPids | undefined;
}

function readJson<T>(file: string): T | undefined {
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

function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)));
  });
}

async function chooseApiPort(wanted: number | undefined): Promise<number> {
  if (wanted !== undefined) {
    // What is no port at all is refused with the rest of the request.
    if (!(wanted >= 1 && wanted <= 65_535) || (await portIsFree(wanted))) return wanted;
    throw new WeftError({
      code: 'PORT_IN_USE',
      message: `--api-port: TCP port ${wanted} of 127.0.0.1 is in use`,
      hint: 'choose another port; ss -ltnp shows who uses it',
    });
  }
  for (let port = 6443; port < 6543; port++) if (await portIsFree(port)) return port;
  throw new WeftError({
    code: 'PORT_IN_USE',
    message: 'no TCP port from 6443 to 6542 of 127.0.0.1 is free',
    hint: 'name one with --api-port',
  });
}

async function checkUserNamespace(host: HostContext): Promise<{ mapMany: boolean; note?: string }> {
  const many = await runProgram('unshare', [...clusterNamespaceArgs(true, true), 'true']);
  if (many.code === 0) return { mapMany: true };
  const one = await runProgram('unshare', [...clusterNamespaceArgs(true, false), 'true']);
  if (one.code === 0) {
    return {
      mapMany: false,
      note: `images run as one user only: ${many.output.trim()} (as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${host.env['USER'] ?? 'USER'})`,
    };
  }
  throw new WeftError({
    code: 'NO_USER_NAMESPACE',
    message: `an ordinary user cannot make a user namespace here: ${one.output.trim()}`,
    hint: 'run weft up as root, or allow it: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns',
  });
}

/** How many sets of default blocks there are; see resolveConfig. */
const DEFAULT_BLOCKS = 8;

async function planCluster(request: ClusterRequest, host: HostContext): Promise<ClusterConfig> {
  const rootless = host.uid !== 0;
  // Clusters of an ordinary user share no network, with each other or with the host.
  const taken = rootless ? [] : await hostBlocks(request.name ?? 'weft');
  const apiPort = await chooseApiPort(request.apiPort);
  let first: unknown;
  // Defaults give way to what is there already; what was asked for does not.
  for (let index = 0; index < DEFAULT_BLOCKS; index++) {
    try {
      return resolveConfig(request, { index, rootless, apiPort, taken });
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'CIDR_OVERLAP' || taken.length === 0) throw error;
      first ??= error;
    }
  }
  throw first;
}

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
      const lost = error instanceof WeftError && error.code === 'CIDR_OVERLAP' && chosen === undefined;
      if (!lost || plan === PLANS || signal.aborted) throw error;
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
  onEvent({
    type: 'phase',
    report: { phase: 'preflight', detail: await describeMachine(host), ms: performance.now() - began },
  });
  if (space.note !== undefined) onEvent({ type: 'note', text: space.note });
  try {
    mkdirSync(paths.logDir, { recursive: true });
    mkdirSync(paths.runDir, { recursive: true });
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

/** A cluster keeps the shape it was made with: a flag that asks for another one must not be passed over in silence. */
function refuseOtherConfig(request: ClusterRequest, config: ClusterConfig): void {
  const fixed = [
    'nodes',
    'subnets',
    'backend',
    'podCidr',
    'nodeCidrMaskSize',
    'serviceCidr',
    'underlayCidr',
    'apiPort',
  ] as const;
  for (const field of fixed) {
    const wanted = request[field];
    if (wanted === undefined || wanted === config[field]) continue;
    throw new WeftError({
      code: 'CONFIG_DIFFERS',
      message: `cluster ${config.name} exists with ${field} ${config[field]}, not ${wanted}`,
      hint: 'take it away first (weft down), or give the new one another --name',
    });
  }
}

/** The kernel takes 107 bytes for the path of a unix socket. */
const SOCKET_PATH_BYTES = 107;

function checkSocketPaths(config: ClusterConfig, paths: ClusterPaths): void {
  const longest = nodeDirs(paths, `n${config.nodes}`).kubeletSocket;
  if (Buffer.byteLength(longest) <= SOCKET_PATH_BYTES) return;
  throw new WeftError({
    code: 'RUN_DIR_TOO_LONG',
    message: `${longest} is longer than the ${SOCKET_PATH_BYTES} bytes that a unix socket's path may have`,
    hint: 'name a shorter directory with WEFT_RUN_DIR',
  });
}

async function describeMachine(host: HostContext): Promise<string> {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return `kernel ${release} · ${host.uid === 0 ? 'root' : 'user namespace'} · Node ${process.version}`;
}

async function launch(
  config: ClusterConfig,
  paths: ClusterPaths,
  host: HostContext,
  mapMany: boolean,
): Promise<ClusterPids> {
  const log = openSync(path.join(paths.logDir, 'supervisor.log'), 'a');
  const args = [...clusterNamespaceArgs(config.rootless, mapMany), ...clusterInitCommand(config.name, host.self)];
  const router = netnsPath(paths.netnsDir, 'lab');
  const child = spawn('unshare', args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: {
      ...host.env,
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
        const pids = { unshare, init };
        writeFileSync(paths.pidFile, JSON.stringify(pids));
        return pids;
      }
      if (child.exitCode !== null) break;
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

function aborted(): WeftError {
  return new WeftError({ code: 'INTERRUPTED', message: 'interrupted; everything made so far was taken away' });
}

/** Longest the supervisor may take to answer for the first time. */
const SUPERVISOR_START_MS = 20_000;

async function follow(
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

async function keepLogs(paths: ClusterPaths): Promise<string | undefined> {
  const kept = `/tmp/weft-failed-${path.basename(paths.stateDir)}-${process.pid}`;
  const copied = await runProgram('cp', ['-r', paths.logDir, kept]);
  return copied.code === 0 ? kept : undefined;
}

async function removeTree(dir: string, rootless: boolean): Promise<void> {
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

async function clearRuntime(config: ClusterConfig, paths: ClusterPaths, host: HostContext): Promise<void> {
  if (host.uid === 0) await detachHost(config.name);
  await removeTree(paths.runDir, config.rootless);
}

async function removeCluster(
  config: ClusterConfig,
  paths: ClusterPaths,
  host: HostContext,
  keepState: boolean,
): Promise<void> {
  await killAndWait(readJson<ClusterPids>(paths.pidFile));
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
