import { execFile } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import os from 'node:os';
import { promisify } from 'node:util';
import { type Node, type NodeCondition, type NodeStatus, timestamp } from '@weft/kube';
import type { ImageStore } from '../images/index.ts';
import { goArch } from '../images/oci.ts';

const run = promisify(execFile);

/** Kubernetes version whose behaviour the lab follows. */
const KUBELET_VERSION = 'v1.33.0+weft';
/** Not a limit of the lab; the scheduler counts no resources. */
const MAX_PODS = '500';

function firstLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().split('\n')[0] ?? '';
  } catch {
    return '';
  }
}

function osImage(): string {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}

/** `runc://1.1.5` */
export async function runtimeVersion(runc: string): Promise<string> {
  const text = await run(runc, ['--version'], { encoding: 'utf8' }).then(
    ({ stdout }) => stdout,
    () => '',
  );
  return `runc://${/version (\d+\.\d+\.\d+)/.exec(text)?.[1] ?? 'unknown'}`;
}

/** What this machine has; every node of a lab says it has all of it. */
export function nodeCapacity(dataDir: string): Record<string, string> {
  let disk = '0';
  try {
    const { blocks, bsize } = statfsSync(dataDir);
    disk = `${Math.floor((blocks * bsize) / 1024)}Ki`;
  } catch {}
  return {
    cpu: String(os.availableParallelism()),
    memory: `${Math.floor(os.totalmem() / 1024)}Ki`,
    'ephemeral-storage': disk,
    'hugepages-1Gi': '0',
    'hugepages-2Mi': '0',
    pods: MAX_PODS,
  };
}

export interface NodeStatusInput {
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly capacity: Readonly<Record<string, string>>;
  readonly runtimeVersion: string;
  readonly images: ImageStore;
  /** Why pods cannot be given a network, or undefined. */
  readonly networkProblem: string | undefined;
  /** What the API server has. */
  readonly before: Node | undefined;
}

function conditions(input: NodeStatusInput, now: number): NodeCondition[] {
  const old = input.before?.status?.conditions ?? [];
  const make = (type: string, status: 'True' | 'False', reason: string, message: string): NodeCondition => {
    const before = old.find((c) => c.type === type);
    const kept = before?.status === status ? before.lastTransitionTime : undefined;
    return {
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: timestamp(now),
      lastTransitionTime: kept ?? timestamp(now),
    };
  };
  const { networkProblem } = input;
  const own = [
    make('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
    make('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
    make('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
    networkProblem === undefined
      ? make('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status')
      : make(
          'Ready',
          'False',
          'KubeletNotReady',
          `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: ${networkProblem}`,
        ),
  ];
  const names = new Set(own.map((c) => c.type));
  return [...old.filter((c) => !names.has(c.type)), ...own];
}

/** The status of the Node object. Pure but for the machine's own files; `now` dates the heartbeat. */
export function nodeStatus(input: NodeStatusInput, now: number): NodeStatus {
  const images = new Map<string, { names: string[]; sizeBytes: number }>();
  for (const image of input.images.list()) {
    const entry = images.get(image.configDigest) ?? { names: [], sizeBytes: image.size };
    entry.names.push(image.ref);
    images.set(image.configDigest, entry);
  }
  const machineID = firstLine('/etc/machine-id');
  return {
    addresses: [
      ...input.nodeIPs.map((address) => ({ type: 'InternalIP' as const, address })),
      { type: 'Hostname', address: input.nodeName },
    ],
    capacity: { ...input.capacity },
    allocatable: { ...input.capacity },
    conditions: conditions(input, now),
    daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    images: [...images.values()],
    nodeInfo: {
      architecture: goArch(),
      bootID: firstLine('/proc/sys/kernel/random/boot_id'),
      containerRuntimeVersion: input.runtimeVersion,
      kernelVersion: os.release(),
      kubeProxyVersion: KUBELET_VERSION,
      kubeletVersion: KUBELET_VERSION,
      machineID,
      operatingSystem: 'linux',
      osImage: osImage(),
      systemUUID: machineID,
    },
  };
}
