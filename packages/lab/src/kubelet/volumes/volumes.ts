import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isKernelError, MNT_DETACH, mount, umount2 } from '@weft/kernel';
import { type Pod, quantityUnits, type Volume } from '@weft/kube';
import { errorMessage, WeftError } from '@weft/plan';
import { writeAtomically } from './atomic.ts';
import { hasPayload, type PayloadContext, volumePayload } from './payload.ts';

/** A volume that could not be set up, in Kubernetes' words. */
class MountError extends WeftError {
  constructor(volume: string, cause: unknown) {
    super({
      code: 'MOUNT_FAILED',
      message: `MountVolume.SetUp failed for volume "${volume}" : ${errorMessage(cause)}`,
      cause,
    });
  }
}

const PLUGIN: readonly [keyof Volume, string][] = [
  ['configMap', 'configmap'],
  ['secret', 'secret'],
  ['downwardAPI', 'downward-api'],
  ['projected', 'projected'],
  ['emptyDir', 'empty-dir'],
];

/** Directory of a volume below the pod's, laid out as the kubelet does. */
function volumeDir(podDir: string, volume: Volume): string {
  const plugin = PLUGIN.find(([key]) => volume[key] !== undefined)?.[1] ?? 'unknown';
  return join(podDir, 'volumes', `kubernetes.io~${plugin}`, volume.name);
}

/** Where a volume is on the node. */
export function volumePath(podDir: string, volume: Volume): string {
  return volume.hostPath?.path ?? volumeDir(podDir, volume);
}

/** True for volumes that containers may never write to. */
export const isReadOnly = hasPayload;

function isMounted(path: string): boolean {
  try {
    return statSync(path).dev !== statSync(dirname(path)).dev;
  } catch {
    return false;
  }
}

function checkHostPath(path: string, type: string): void {
  const info = existsSync(path) ? statSync(path) : undefined;
  const fail = (text: string): WeftError =>
    new WeftError({ code: 'HOST_PATH', message: `hostPath type check failed: ${path} ${text}` });
  switch (type) {
    case '':
      return;
    case 'DirectoryOrCreate':
      if (info === undefined) mkdirSync(path, { recursive: true, mode: 0o755 });
      else if (!info.isDirectory()) throw fail('is not a directory');
      return;
    case 'Directory':
      if (info?.isDirectory() !== true) throw fail('is not a directory');
      return;
    case 'FileOrCreate':
      if (info === undefined) writeFileSync(path, '', { mode: 0o644, flag: 'wx' });
      else if (!info.isFile()) throw fail('is not a file');
      return;
    case 'File':
      if (info?.isFile() !== true) throw fail('is not a file');
      return;
    case 'Socket':
      if (info?.isSocket() !== true) throw fail('is not a socket file');
      return;
    case 'CharDevice':
      if (info?.isCharacterDevice() !== true) throw fail('is not a character device');
      return;
    case 'BlockDevice':
      if (info?.isBlockDevice() !== true) throw fail('is not a block device');
      return;
    default:
      throw fail(`has an unknown type ${type}`);
  }
}

/** Gives a directory to a group so that every member can write (securityContext.fsGroup). */
function giveToGroup(path: string, gid: number): void {
  const info = lstatSync(path);
  if (info.isSymbolicLink()) return;
  chownSync(path, info.uid, gid);
  chmodSync(path, (info.mode & 0o7777) | (info.isDirectory() ? 0o2770 : 0o660));
  if (info.isDirectory()) for (const name of readdirSync(path)) giveToGroup(join(path, name), gid);
}

function setUpEmptyDir(volume: Volume, dir: string, gid: number | undefined): void {
  const fresh = !existsSync(dir);
  mkdirSync(dir, { recursive: true });
  if (volume.emptyDir?.medium === 'Memory' && !isMounted(dir)) {
    const { sizeLimit } = volume.emptyDir;
    mount('tmpfs', dir, 'tmpfs', 0, `mode=0777${sizeLimit === undefined ? '' : `,size=${quantityUnits(sizeLimit)}`}`);
  } else if (volume.emptyDir?.medium?.startsWith('HugePages') === true) {
    throw new WeftError({ code: 'UNSUPPORTED_VOLUME', message: `medium ${volume.emptyDir.medium} is not supported` });
  }
  // mkdir's mode is subject to the umask; containers of any user write here.
  chmodSync(dir, 0o777);
  if (gid !== undefined && fresh) giveToGroup(dir, gid);
}

/** Sets up a volume, or brings its files up to date. Safe to repeat. Throws MountError. */
export async function setUpVolume(podDir: string, volume: Volume, context: PayloadContext): Promise<void> {
  const gid = context.pod.spec.securityContext?.fsGroup;
  const dir = volumeDir(podDir, volume);
  try {
    if (volume.emptyDir !== undefined) setUpEmptyDir(volume, dir, gid);
    else if (volume.hostPath !== undefined) checkHostPath(volume.hostPath.path, volume.hostPath.type ?? '');
    else if (hasPayload(volume)) writeAtomically(dir, await volumePayload(context, volume), gid);
    else {
      const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'no source';
      throw new WeftError({
        code: 'UNSUPPORTED_VOLUME',
        message: `volumes of type ${kind} are not supported on this node`,
        hint: 'emptyDir, hostPath, configMap, secret, downwardAPI and projected are',
      });
    }
  } catch (error) {
    throw new MountError(volume.name, error);
  }
}

/** Removes everything a pod had on the node's disk. */
export function tearDownVolumes(podDir: string, pod: Pod | undefined): void {
  const mounted = new Set(
    (pod?.spec.volumes ?? []).filter((v) => v.emptyDir?.medium === 'Memory').map((v) => volumeDir(podDir, v)),
  );
  // Of a pod that is known by its directory only, the mount table tells.
  if (pod === undefined) {
    for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
      const target = line.split(' ')[1];
      if (target?.startsWith(`${podDir}/volumes/`) === true) mounted.add(target);
    }
  }
  for (const dir of mounted) {
    try {
      umount2(dir, MNT_DETACH);
    } catch (error) {
      if (!isKernelError(error, 'EINVAL') && !isKernelError(error, 'ENOENT')) throw error;
    }
  }
  rmSync(podDir, { recursive: true, force: true });
}
