import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, Pod } from '@weft/kube';
import { WeftError } from '@weft/plan';
import type { StoredImage } from '../images/index.ts';
import type { ContainerSpec } from '../runtime/index.ts';
import { expand } from './expand.ts';
import { containerMounts, type PodFiles } from './mounts.ts';
import { containerHash, namespaceOf, podText, uidOf } from './pod.ts';

export interface ContainerSpecInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly init: boolean;
  readonly attempt: number;
  readonly image: StoredImage;
  readonly env: ReadonlyMap<string, string>;
  readonly podDir: string;
  readonly logDir: string;
  readonly files: PodFiles;
  /** Id of the container whose processes this one sees. */
  readonly processesOf?: string | undefined;
}

/** Refuses what `runAsNonRoot` forbids, in Kubernetes' words. */
function checkNonRoot({ pod, container, image }: ContainerSpecInput): void {
  const own = container.securityContext;
  const wanted = own?.runAsNonRoot ?? pod.spec.securityContext?.runAsNonRoot;
  if (wanted !== true) return;
  const where = `(pod: "${podText(pod)}", container: ${container.name})`;
  const uid = own?.runAsUser ?? pod.spec.securityContext?.runAsUser;
  const fail = (text: string): WeftError => new WeftError({ code: 'RUN_AS_NON_ROOT', message: `${text} ${where}` });
  if (uid === 0) throw fail("container's runAsUser breaks non-root policy");
  if (uid !== undefined) return;
  const user = (image.config.config?.User ?? '').split(':')[0] ?? '';
  if (user === '' || user === '0') throw fail('container has runAsNonRoot and image will run as root');
  if (!/^\d+$/.test(user)) {
    throw fail(`container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root`);
  }
}

/** File for the last words of a container. */
export function terminationLog(podDir: string, name: string, attempt: number): string {
  return join(podDir, 'containers', name, `${attempt}.termination`);
}

function logPath(logDir: string, name: string, attempt: number): string {
  return join(logDir, name, `${attempt}.log`);
}

/** What the runtime has to make for a container of a pod. Throws WeftError for what its definition gets wrong. */
export async function containerSpec(input: ContainerSpecInput): Promise<ContainerSpec> {
  const { pod, container, env, podDir, attempt } = input;
  checkNonRoot(input);
  const security = container.securityContext ?? {};
  const podSecurity = pod.spec.securityContext ?? {};
  const valueOf = (name: string): string | undefined => env.get(name);
  const words = join(podDir, 'containers', container.name);
  mkdirSync(words, { recursive: true });
  const mounts = await containerMounts({
    pod,
    container,
    podDir,
    files: input.files,
    env,
    terminationLog: terminationLog(podDir, container.name, attempt),
  });
  const uid = security.runAsUser ?? podSecurity.runAsUser;
  const gid = security.runAsGroup ?? podSecurity.runAsGroup;
  const { fsGroup } = podSecurity;
  const groups = [...(podSecurity.supplementalGroups ?? []), ...(fsGroup === undefined ? [] : [fsGroup])];
  return {
    name: container.name,
    attempt,
    ...(container.command === undefined ? {} : { command: container.command.map((word) => expand(word, valueOf)) }),
    ...(container.args === undefined ? {} : { args: container.args.map((word) => expand(word, valueOf)) }),
    env: [...env].map(([name, value]) => `${name}=${value}`),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    user: {
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(groups.length === 0 ? {} : { supplementalGroups: groups }),
    },
    mounts,
    ...(input.processesOf === undefined ? {} : { processesOf: input.processesOf }),
    tty: container.tty === true,
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    privileged: security.privileged === true,
    readOnlyRootfs: security.readOnlyRootFilesystem === true,
    noNewPrivileges: security.allowPrivilegeEscalation === false,
    ...(security.capabilities === undefined ? {} : { capabilities: security.capabilities }),
    ...(security.procMount === 'Unmasked' ? { unmasked: true } : {}),
    logPath: logPath(input.logDir, container.name, attempt),
    labels: {
      uid: uidOf(pod),
      namespace: namespaceOf(pod),
      pod: pod.metadata.name,
      hash: containerHash(container),
      ...(input.init ? { init: 'true' } : {}),
    },
  };
}
