import { spawn } from 'node:child_process';
import {
  askControl,
  enterClusterArgs,
  findCluster,
  type KnownCluster,
  machinePidFile,
  netnsPath,
  type SupervisorStatus,
  underlayAddresses,
} from '@weft/lab';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';

function running(name: string): KnownCluster & { readonly pids: NonNullable<KnownCluster['pids']> } {
  const cluster = findCluster(name, hostContext());
  if (cluster?.pids === undefined)
    throw new WeftError({
      code: 'NOT_RUNNING',
      message: `cluster ${name} is not running`,
      hint: 'start it with: weft up',
    });
  return { ...cluster, pids: cluster.pids };
}

/**
 * Enters the node as its own machine: the processes and mounts of its first process, its network, and a /sys that
 * shows its own links.
 */
const ENTER_NODE = `
machine=$(cat "$1") && pid=$(cat "/proc/$machine/task/$machine/children") || exit 1
netns=$2
shift 2
exec nsenter --target "\${pid% }" --mount --uts --pid --net="$netns" -- unshare --mount sh -c 'mount -t sysfs sysfs /sys 2>/dev/null; exec "$@"' sh "$@"`;

function enterNodeArgs(cluster: ReturnType<typeof running>, node: string, argv: readonly string[]): string[] {
  return [
    ...enterClusterArgs(cluster.pids.init.pid, cluster.config.rootless),
    '--',
    'sh',
    '-c',
    ENTER_NODE,
    'weft-node',
    machinePidFile(cluster.paths, node),
    netnsPath(cluster.paths.netnsDir, node),
    ...argv,
  ];
}

/** Nodes of a cluster of the lab with their addresses. */
export function nodeNames(name: string): readonly { readonly name: string; readonly address: string }[] {
  const { nodes } = underlayAddresses(running(name).config);
  return [...nodes].map(([node, { address }]) => ({ name: node, address }));
}

/** Runs a command on a node; what it printed and its exit status, null when it was killed. */
export async function captureOnNode(
  node: string,
  argv: readonly string[],
  options: { readonly name: string },
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn('nsenter', enterNodeArgs(running(options.name), node, argv), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (chunk: string) => {
      text[stream] += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, ...text };
}

/** Runs a command on a node with the caller's terminal; the exit status is the command's. */
export async function nodeExec(
  node: string,
  command: readonly string[],
  options: { readonly name: string },
): Promise<void> {
  // Everything behind the node's name is passed on, the customary separator included.
  const argv = command[0] === '--' ? command.slice(1) : command;
  if (argv.length === 0)
    throw new WeftError({
      code: 'NO_COMMAND',
      message: 'weft node exec: no command given',
      hint: 'weft node exec n1 -- ip addr',
    });
  const cluster = running(options.name);
  const { nodes } = cluster.config;
  const at = /^n(\d+)$/.exec(node);
  if (at === null || Number(at[1]) < 1 || Number(at[1]) > nodes) {
    throw new WeftError({
      code: 'NO_SUCH_NODE',
      message: `there is no node "${node}" in cluster ${options.name}`,
      hint: `nodes are n1 to n${nodes}`,
    });
  }
  // A supervisor that was killed does not answer for a moment; the node is there all the same.
  const known = await askControl<SupervisorStatus>(cluster.paths.controlSocket, 'GET', '/status').catch(
    () => undefined,
  );
  if (known?.units.some((unit) => unit.name === node && unit.stopped)) {
    const flag = options.name === 'weft' ? '' : ` --name ${options.name}`;
    throw new WeftError({
      code: 'NODE_OFF',
      message: `node ${node} is switched off`,
      hint: `switch it on with: weft node start${flag} ${node}`,
    });
  }
  const child = spawn('nsenter', enterNodeArgs(cluster, node, argv), { stdio: 'inherit' });
  // The terminal sends the signal to the child as well; this process waits for its end.
  process.on('SIGINT', () => {});
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(status ?? (signal === null ? 1 : 130)));
  });
  process.exitCode = code;
}

/** Switches a node off or on. */
export async function nodePower(
  node: string,
  action: 'stop' | 'start',
  options: { readonly name: string },
): Promise<void> {
  const cluster = running(options.name);
  await askControl(cluster.paths.controlSocket, 'POST', `/node/${action}?name=${encodeURIComponent(node)}`);
  process.stdout.write(action === 'stop' ? `Node ${node} is off.\n` : `Node ${node} is starting.\n`);
}
