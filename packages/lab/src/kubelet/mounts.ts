import { closeSync, existsSync, lstatSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, Pod, VolumeMount } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { resolveInRoot } from '../images/in-root.ts';
import type { ContainerMount } from '../runtime/index.ts';
import { expand } from './expand.ts';
import { isReadOnly, volumePath } from './volumes/volumes.ts';

const TERMINATION_LOG = '/dev/termination-log';

/** Files that a pod's containers share: made when its addresses are known. */
export interface PodFiles {
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
}

export interface MountInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly podDir: string;
  readonly files: PodFiles;
  readonly env: ReadonlyMap<string, string>;
  /** Where the container may leave its last words. */
  readonly terminationLog: string;
}

function invalid(field: string, detail: string): WeftError {
  return new WeftError({ code: 'BAD_MOUNT', message: `failed to prepare ${field} ${detail}` });
}

async function subPathOf(input: MountInput, mountSpec: VolumeMount, volume: string): Promise<string> {
  let sub = mountSpec.subPath ?? '';
  if (mountSpec.subPathExpr !== undefined && mountSpec.subPathExpr !== '') {
    let missing: string | undefined;
    sub = expand(mountSpec.subPathExpr, (name) => {
      const value = input.env.get(name);
      if (value === undefined) missing = name;
      return value;
    });
    if (missing !== undefined)
      throw invalid('subPathExpr', `for volumeMount "${mountSpec.name}": variable ${missing} is not set`);
  }
  if (sub === '') return volume;
  if (sub.startsWith('/') || sub.split('/').includes('..')) {
    throw invalid('subPath', `for volumeMount "${mountSpec.name}" of container "${input.container.name}"`);
  }
  // Whatever links the volume holds, the container gets nothing from outside of it.
  const path = await resolveInRoot(volume, sub);
  if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
}

/** The bind mounts of a container: volumes, the pod's network files, and the termination log. */
export async function containerMounts(input: MountInput): Promise<ContainerMount[]> {
  const { pod, container, files } = input;
  const out: ContainerMount[] = [];
  for (const mountSpec of container.volumeMounts ?? []) {
    const volume = pod.spec.volumes?.find((v) => v.name === mountSpec.name);
    if (volume === undefined) {
      throw new WeftError({
        code: 'NO_VOLUME',
        message: `volume "${mountSpec.name}" of container "${container.name}" is not defined`,
      });
    }
    const base = volumePath(input.podDir, volume);
    if (volume.hostPath !== undefined && (volume.hostPath.type ?? '') === '' && !existsSync(base)) {
      mkdirSync(base, { recursive: true, mode: 0o755 });
    }
    const source = await subPathOf(input, mountSpec, base);
    const destination = mountSpec.mountPath.startsWith('/') ? mountSpec.mountPath : join('/', mountSpec.mountPath);
    const propagation =
      mountSpec.mountPropagation === 'HostToContainer'
        ? 'rslave'
        : mountSpec.mountPropagation === 'Bidirectional'
          ? 'rshared'
          : 'rprivate';
    out.push({ source, destination, readOnly: mountSpec.readOnly === true || isReadOnly(volume), propagation });
  }
  const taken = new Set(out.map((m) => m.destination));
  const readOnly = container.securityContext?.readOnlyRootFilesystem === true;
  const add = (source: string, destination: string, ro = false): void => {
    if (!taken.has(destination)) out.push({ source, destination, readOnly: ro });
  };
  add(files.hosts, '/etc/hosts', readOnly);
  add(files.hostname, '/etc/hostname', readOnly);
  add(files.resolvConf, '/etc/resolv.conf', readOnly);
  const path = container.terminationMessagePath || TERMINATION_LOG;
  if (!taken.has(path)) {
    writeFileSync(input.terminationLog, '', { mode: 0o666 });
    add(input.terminationLog, path);
  }
  return out;
}

const MAX_MESSAGE = 4096;

/** The last words of a container, at most 4 KiB; undefined when it left none. */
export function readTerminationMessage(path: string): string | undefined {
  try {
    if (!lstatSync(path).isFile()) return undefined;
    const fd = openSync(path, 'r');
    try {
      const buffer = Buffer.alloc(MAX_MESSAGE);
      const size = readSync(fd, buffer, 0, MAX_MESSAGE, 0);
      return size === 0 ? undefined : buffer.toString('utf8', 0, size);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
