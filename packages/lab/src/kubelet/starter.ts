import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container as ContainerDef, EphemeralContainer, Pod } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { ensureImage, ImageError, type ImageResult } from '../images/index.ts';
import type { Container, Sandbox } from '../runtime/index.ts';
import { containerSpec } from './container-spec.ts';
import { type NodeContext, podEvent } from './context.ts';
import { formatResolvConf, podHosts, podResolvConf } from './dns.ts';
import { containerEnvironment } from './environment.ts';
import { goDuration } from './backoff.ts';
import type { PodFiles } from './mounts.ts';
import { writePullSecrets } from './pull-secrets.ts';
import { namespaceOf, uidOf } from './pod.ts';
import { containersOf } from './pod-containers.ts';
import { serviceLinks } from './service-env.ts';

/** Why a container could not be started, as Kubernetes names it. */
export class StartError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'StartError';
    this.reason = reason;
  }
}

/** Go prints short times with a fraction: `1.234s`, `56ms`. */
const took = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)}ms` : ms < 60_000 ? `${(ms / 1000).toFixed(3)}s` : goDuration(ms);

/** Writes the files that all containers of a pod see: resolv.conf, hosts, hostname. */
export function writePodFiles(context: NodeContext, pod: Pod, sandbox: Sandbox, podDir: string): PodFiles {
  mkdirSync(podDir, { recursive: true });
  const files: PodFiles = {
    resolvConf: join(podDir, 'resolv.conf'),
    hosts: join(podDir, 'etc-hosts'),
    hostname: join(podDir, 'hostname'),
  };
  const ips = sandbox.hostNetwork ? context.nodeIPs : sandbox.ips;
  const omitted = (message: string): void => podEvent(context, pod, 'Warning', 'DNSConfigForming', message);
  writeFileSync(files.resolvConf, formatResolvConf(podResolvConf(pod, context.dns, context.resolvConf(), omitted)));
  writeFileSync(files.hosts, podHosts(pod, ips, context.dns.domain, context.hosts()));
  writeFileSync(files.hostname, `${sandbox.hostname}\n`);
  return files;
}

/** Finds or pulls the image of a container and says so in events. Throws StartError. */
export async function imageFor(
  context: NodeContext,
  pod: Pod,
  def: ContainerDef,
  signal: AbortSignal,
): Promise<ImageResult> {
  const name = def.image ?? '';
  const policy =
    def.imagePullPolicy ?? (/:latest$|^[^:]+$/.test(name.split('/').at(-1) ?? '') ? 'Always' : 'IfNotPresent');
  const event = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
    podEvent(context, pod, type, reason, message, def.name);
  const secrets = await writePullSecrets(context.objects, pod, join(context.dataDir, 'pull'));
  try {
    const result = await ensureImage(context.images, name, policy, {
      signal,
      ...(secrets === undefined ? {} : { authFile: secrets.path }),
      onPull: () => event('Normal', 'Pulling', `Pulling image "${name}"`),
    });
    if (result.pulled) {
      const time = took(result.durationMs);
      const size = result.image.size;
      event(
        'Normal',
        'Pulled',
        `Successfully pulled image "${name}" in ${time} (${time} including waiting). Image size: ${size} bytes.`,
      );
    } else event('Normal', 'Pulled', `Container image "${name}" already present on machine`);
    if (result.note !== undefined) event('Normal', 'ImageSubstituted', result.note);
    return result;
  } catch (error) {
    if (signal.aborted) throw new StartError('PodTerminating', 'the pod is ending');
    if (!(error instanceof ImageError)) throw error;
    if (error.reason === 'ErrImagePull') event('Warning', 'Failed', `Failed to pull image "${name}": ${error.message}`);
    else if (error.reason === 'InvalidImageName') event('Warning', 'InspectFailed', error.message);
    else event('Warning', 'ErrImageNeverPull', error.message);
    event('Warning', 'Failed', `Error: ${error.reason}`);
    throw new StartError(error.reason, error.message);
  } finally {
    secrets?.remove();
  }
}

async function serviceVariables(context: NodeContext, pod: Pod): Promise<ReadonlyMap<string, string>> {
  const own = context.kubernetesService;
  const kubernetes = own && {
    name: 'kubernetes',
    namespace: 'default',
    clusterIP: own.host,
    ports: [{ name: 'https', port: own.port }],
  };
  const services = pod.spec.enableServiceLinks === false ? [] : await context.objects.services(namespaceOf(pod));
  const others = services.filter((s) => !(s.name === 'kubernetes' && s.namespace === 'default'));
  const always = kubernetes === undefined ? [] : [kubernetes];
  const links = serviceLinks([...always, ...others]);
  if (links !== undefined) return links;
  const message = `${others.length} Services in the namespace are too many for environment variables; service links are left out`;
  podEvent(context, pod, 'Warning', 'ServiceLinksOmitted', message);
  return serviceLinks(always) ?? new Map();
}

/** The running container whose processes an ephemeral container is to see; undefined when it names none. */
function targetOf(context: NodeContext, pod: Pod, def: ContainerDef): string | undefined {
  const name = (def as EphemeralContainer).targetContainerName;
  if (!name) return undefined;
  const newest = containersOf(context.runtime, uidOf(pod)).get(name)?.at(-1);
  if (newest?.state !== 'running') throw new Error(`unable to find target container ${name}`);
  return newest.id;
}

export interface StartInput {
  readonly pod: Pod;
  readonly def: ContainerDef;
  readonly init: boolean;
  readonly attempt: number;
  readonly sandbox: Sandbox;
  readonly image: ImageResult;
  readonly podDir: string;
  readonly logDir: string;
  readonly files: PodFiles;
  /** Asked before anything is started. */
  readonly stopped: () => boolean;
}

/** Creates and starts a container. Throws StartError, with the events already written. */
export async function startContainer(context: NodeContext, input: StartInput): Promise<Container> {
  const { pod, def, sandbox } = input;
  const event = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
    podEvent(context, pod, type, reason, message, def.name);
  const failed = (reason: string, error: unknown): StartError => {
    const message = errorMessage(error);
    event('Warning', 'Failed', `Error: ${message}`);
    return new StartError(reason, message);
  };
  const podIPs = sandbox.hostNetwork ? context.nodeIPs : sandbox.ips;
  let spec: Awaited<ReturnType<typeof containerSpec>>;
  try {
    const env = await containerEnvironment({
      pod,
      container: def,
      addresses: { podIPs, hostIPs: context.nodeIPs },
      allocatable: context.allocatable,
      objects: context.objects,
      services: await serviceVariables(context, pod),
    });
    spec = await containerSpec({
      pod,
      container: def,
      init: input.init,
      attempt: input.attempt,
      image: input.image.image,
      env,
      podDir: input.podDir,
      logDir: input.logDir,
      files: input.files,
      processesOf: targetOf(context, pod, def),
    });
  } catch (error) {
    throw failed('CreateContainerConfigError', error);
  }
  let container: Container;
  try {
    container = await context.runtime.createContainer(sandbox, input.image.image, spec);
  } catch (error) {
    throw failed('CreateContainerError', error);
  }
  if (input.stopped()) {
    await context.runtime.containers.remove(container.id);
    throw new StartError('PodTerminating', 'the pod is ending');
  }
  event('Normal', 'Created', `Created container: ${def.name}`);
  try {
    const running = await context.runtime.startContainer(container.id);
    event('Normal', 'Started', `Started container ${def.name}`);
    return running;
  } catch (error) {
    throw failed('RunContainerError', error);
  }
}
