import { readFileSync } from 'node:fs';
import net from 'node:net';
import { WeftError } from '@weft/plan';
import { hostBlocks } from '../host/link.ts';
import { type ClusterConfig, type ClusterRequest, resolveConfig } from './config.ts';
import type { HostContext } from './find.ts';
import { type ClusterPaths, nodeDirs } from './paths.ts';
import { clusterNamespaceArgs, runProgram } from './processes.ts';

export function portIsFree(port: number): Promise<boolean> {
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

export async function checkUserNamespace(host: HostContext): Promise<{ mapMany: boolean; note?: string }> {
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

export async function planCluster(request: ClusterRequest, host: HostContext): Promise<ClusterConfig> {
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

/** A cluster keeps the shape it was made with: a flag that asks for another one must not be passed over in silence. */
export function refuseOtherConfig(request: ClusterRequest, config: ClusterConfig): void {
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

export function checkSocketPaths(config: ClusterConfig, paths: ClusterPaths): void {
  const longest = nodeDirs(paths, `n${config.nodes}`).kubeletSocket;
  if (Buffer.byteLength(longest) <= SOCKET_PATH_BYTES) return;
  throw new WeftError({
    code: 'RUN_DIR_TOO_LONG',
    message: `${longest} is longer than the ${SOCKET_PATH_BYTES} bytes that a unix socket's path may have`,
    hint: 'name a shorter directory with WEFT_RUN_DIR',
  });
}

export async function describeMachine(host: HostContext): Promise<string> {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return `kernel ${release} · ${host.uid === 0 ? 'root' : 'user namespace'} · Node ${process.version}`;
}
