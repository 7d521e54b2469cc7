import { capabilitySet } from './capabilities.ts';

/** A bind mount into a container. */
export interface ContainerMount {
  readonly source: string;
  readonly destination: string;
  readonly readOnly?: boolean;
  /** `private` unless the pod asks for HostToContainer (`rslave`) or Bidirectional (`rshared`). */
  readonly propagation?: 'rprivate' | 'rslave' | 'rshared';
}

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/** Everything that shapes the OCI runtime configuration of one container. */
export interface SpecInput {
  readonly args: readonly string[];
  /** `NAME=value`, in order; of two with one name the later wins. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: ContainerUser;
  readonly tty: boolean;
  readonly privileged: boolean;
  readonly readOnlyRootfs: boolean;
  readonly noNewPrivileges: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  /** What there is to give; everything when absent. */
  readonly availableCapabilities?: ReadonlySet<string> | undefined;
  readonly unmasked?: boolean;
  readonly mounts: readonly ContainerMount[];
  readonly rootfs: string;
  /** Namespaces to join by path; `pid` absent means a new one, `false` the node's own. */
  readonly join: {
    readonly network?: string;
    readonly ipc?: string;
    readonly uts?: string;
    readonly pid?: string | false;
  };
  readonly oomScoreAdj?: number;
}

type Json = Record<string, unknown>;

const MASKED = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Of several settings of one variable the last stays, at its first place. */
export function dedupeEnv(env: readonly string[]): string[] {
  const out = new Map<string, string>();
  for (const entry of env) {
    const at = entry.indexOf('=');
    out.set(at < 0 ? entry : entry.slice(0, at), entry);
  }
  return [...out.values()];
}

function baseMounts(input: SpecInput): Json[] {
  const mounts: Json[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/sys',
      type: 'sysfs',
      source: 'sysfs',
      options: ['nosuid', 'noexec', 'nodev', input.privileged ? 'rw' : 'ro'],
    },
  ];
  return mounts;
}

/**
 * The OCI runtime configuration (config.json of runtime-spec 1.0.2) of a container: containerd's defaults for
 * Kubernetes, without cgroups.
 */
export function runtimeSpec(input: SpecInput): Json {
  const capabilities = capabilitySet({
    ...input.capabilities,
    privileged: input.privileged,
    available: input.availableCapabilities,
  });
  const namespaces: Json[] = [{ type: 'mount' }];
  const { network, ipc, uts, pid } = input.join;
  if (network !== undefined) namespaces.push({ type: 'network', path: network });
  if (ipc !== undefined) namespaces.push({ type: 'ipc', path: ipc });
  if (uts !== undefined) namespaces.push({ type: 'uts', path: uts });
  if (pid === undefined) namespaces.push({ type: 'pid' });
  else if (pid !== false) namespaces.push({ type: 'pid', path: pid });
  const masks = !input.privileged && input.unmasked !== true;
  const root = input.user.uid === 0;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: input.tty,
      user: {
        uid: input.user.uid,
        gid: input.user.gid,
        ...(input.user.additionalGids.length === 0 ? {} : { additionalGids: input.user.additionalGids }),
      },
      args: input.args,
      env: dedupeEnv(input.env),
      cwd: input.cwd,
      capabilities: {
        bounding: capabilities,
        permitted: root ? capabilities : [],
        effective: root ? capabilities : [],
      },
      ...(input.noNewPrivileges ? { noNewPrivileges: true } : {}),
      ...(input.oomScoreAdj === undefined ? {} : { oomScoreAdj: input.oomScoreAdj }),
    },
    root: { path: input.rootfs, readonly: input.readOnlyRootfs },
    mounts: [
      ...baseMounts(input),
      // A parent must be mounted before what lies in it.
      ...[...input.mounts]
        .sort((a, b) => a.destination.split('/').length - b.destination.split('/').length)
        .map((m) => ({
          destination: m.destination,
          type: 'bind',
          source: m.source,
          options: ['rbind', m.propagation ?? 'rprivate', m.readOnly === true ? 'ro' : 'rw'],
        })),
    ],
    linux: {
      namespaces,
      ...(masks ? { maskedPaths: MASKED, readonlyPaths: READONLY } : {}),
    },
  };
}
