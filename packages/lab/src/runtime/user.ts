import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { WeftError } from '@weft/plan';
import { resolveInRoot } from '../images/in-root.ts';
import type { ContainerUser } from './spec.ts';

export interface UserRequest {
  /** `securityContext.runAsUser` */
  readonly uid?: number;
  /** `securityContext.runAsGroup` */
  readonly gid?: number;
  /** `User` of the image: `name`, `uid`, `name:group` or `uid:gid`. */
  readonly imageUser?: string;
  readonly supplementalGroups?: readonly number[];
}

async function table(rootfs: string, path: string): Promise<string[][]> {
  const file = await resolveInRoot(rootfs, path);
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => undefined);
  if (handle === undefined) return [];
  try {
    const lines = (await handle.readFile('utf8')).split('\n');
    return lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.split(':'));
  } finally {
    await handle.close();
  }
}

const isNumber = (text: string): boolean => /^\d+$/.test(text);

/** Numbers of the user a container runs as, looked up in the image's own passwd and group files as containerd does. */
export async function resolveUser(rootfs: string, request: UserRequest): Promise<ContainerUser> {
  const [name = '', group = ''] = (request.uid === undefined ? (request.imageUser ?? '') : '').split(':');
  if (
    request.uid === undefined &&
    (name === '' || name === '0' || name === 'root') &&
    request.gid === undefined &&
    group === ''
  ) {
    return { uid: 0, gid: 0, additionalGids: [...new Set([0, ...(request.supplementalGroups ?? [])])] };
  }
  const passwd = await table(rootfs, 'etc/passwd');
  const groups = await table(rootfs, 'etc/group');
  let entry: string[] | undefined;
  let uid: number;
  if (request.uid !== undefined || isNumber(name)) {
    uid = request.uid ?? Number(name);
    entry = passwd.find((line) => line[2] === String(uid));
  } else {
    entry = passwd.find((line) => line[0] === (name === '' ? 'root' : name));
    if (entry === undefined && name !== '') {
      throw new WeftError({
        code: 'NO_SUCH_USER',
        message: `unable to find user ${name}: no matching entries in passwd file`,
      });
    }
    uid = Number(entry?.[2] ?? 0);
  }
  let gid = Number(entry?.[3] ?? 0);
  if (request.gid !== undefined) gid = request.gid;
  else if (isNumber(group)) gid = Number(group);
  else if (group !== '') {
    const found = groups.find((line) => line[0] === group);
    if (found === undefined) {
      throw new WeftError({
        code: 'NO_SUCH_GROUP',
        message: `unable to find group ${group}: no matching entries in group file`,
      });
    }
    gid = Number(found[2]);
  }
  const login = entry?.[0];
  const member = login === undefined ? [] : groups.filter((line) => (line[3] ?? '').split(',').includes(login));
  const additional = [gid, ...member.map((line) => Number(line[2])), ...(request.supplementalGroups ?? [])];
  return { uid, gid, additionalGids: [...new Set(additional)] };
}
