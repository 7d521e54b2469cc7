import type { ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection } from '@weft/kube';
import { WeftError } from '@weft/plan';
import type { ObjectReader } from '../environment.ts';
import { fieldValue, type PodAddresses, resourceValue } from '../fields.ts';
import { allContainers, namespaceOf } from '../pod.ts';
import type { FileContent, Payload } from './atomic.ts';

export interface PayloadContext {
  readonly pod: Pod;
  readonly objects: ObjectReader;
  readonly addresses: PodAddresses;
  readonly allocatable: Readonly<Record<string, string>>;
  /** A token of the pod's service account. */
  readonly token: (audience: string | undefined, expirationSeconds: number) => Promise<string>;
}

type Files = Map<string, FileContent>;

const fail = (message: string): WeftError => new WeftError({ code: 'VOLUME_SOURCE', message });

function pick(
  what: string,
  all: ReadonlyMap<string, Buffer>,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional: boolean,
): Files {
  const out: Files = new Map();
  if (items === undefined || items.length === 0) {
    for (const [key, data] of all) out.set(key, { data, mode });
    return out;
  }
  for (const item of items) {
    const data = all.get(item.key);
    if (data !== undefined) out.set(item.path, { data, mode: item.mode ?? mode });
    else if (!optional) throw fail(`references non-existent ${what} key: ${item.key}`);
  }
  return out;
}

function configMapFiles(map: ConfigMap): Map<string, Buffer> {
  const out = new Map<string, Buffer>();
  for (const [key, text] of Object.entries(map.data ?? {})) out.set(key, Buffer.from(text));
  for (const [key, text] of Object.entries(map.binaryData ?? {})) out.set(key, Buffer.from(text, 'base64'));
  return out;
}

function secretFiles(secret: Secret): Map<string, Buffer> {
  return new Map(Object.entries(secret.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64')]));
}

async function fromConfigMap(
  context: PayloadContext,
  name: string,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional: boolean,
): Promise<Files> {
  const map = await context.objects.configMap(namespaceOf(context.pod), name);
  if (map !== undefined) return pick('config', configMapFiles(map), items, mode, optional);
  if (optional) return new Map();
  throw fail(`configmap "${name}" not found`);
}

async function fromSecret(
  context: PayloadContext,
  name: string,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional: boolean,
): Promise<Files> {
  const secret = await context.objects.secret(namespaceOf(context.pod), name);
  if (secret !== undefined) return pick('secret', secretFiles(secret), items, mode, optional);
  if (optional) return new Map();
  throw fail(`secret "${name}" not found`);
}

function fromDownwardApi(
  context: PayloadContext,
  items: readonly DownwardAPIVolumeFile[] | undefined,
  mode: number,
): Files {
  const out: Files = new Map();
  for (const item of items ?? []) {
    let text = '';
    if (item.fieldRef !== undefined) text = fieldValue(context.pod, item.fieldRef.fieldPath, context.addresses);
    else if (item.resourceFieldRef !== undefined) {
      const { containerName } = item.resourceFieldRef;
      const found = allContainers(context.pod).find((c) => c.container.name === containerName);
      if (found === undefined) throw fail(`container ${containerName} not found`);
      text = resourceValue(item.resourceFieldRef, found.container, context.allocatable);
    }
    out.set(item.path, { data: Buffer.from(text), mode: item.mode ?? mode });
  }
  return out;
}

async function fromProjection(context: PayloadContext, source: VolumeProjection, mode: number): Promise<Files> {
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  if (configMap !== undefined) {
    return fromConfigMap(context, configMap.name ?? '', configMap.items, mode, configMap.optional === true);
  }
  if (secret !== undefined) {
    return fromSecret(context, secret.name ?? '', secret.items, mode, secret.optional === true);
  }
  if (downwardAPI !== undefined) return fromDownwardApi(context, downwardAPI.items, mode);
  if (serviceAccountToken !== undefined) {
    const { audience, expirationSeconds = 3600, path } = serviceAccountToken;
    const token = await context.token(audience, expirationSeconds);
    return new Map([[path, { data: Buffer.from(token), mode }]]);
  }
  throw fail(`projected volume source ${Object.keys(source).join(', ')} is not supported`);
}

/** True for a volume whose files are made from API objects. */
export function hasPayload(volume: Volume): boolean {
  return [volume.configMap, volume.secret, volume.downwardAPI, volume.projected].some((source) => source !== undefined);
}

/** The files of such a volume. Throws WeftError in Kubernetes' words when something it needs is not there. */
export async function volumePayload(context: PayloadContext, volume: Volume): Promise<Payload> {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap !== undefined) {
    const mode = configMap.defaultMode ?? 0o644;
    return fromConfigMap(context, configMap.name ?? '', configMap.items, mode, configMap.optional === true);
  }
  if (secret !== undefined) {
    const mode = secret.defaultMode ?? 0o644;
    return fromSecret(context, secret.secretName ?? '', secret.items, mode, secret.optional === true);
  }
  if (downwardAPI !== undefined) return fromDownwardApi(context, downwardAPI.items, downwardAPI.defaultMode ?? 0o644);
  const out: Files = new Map();
  for (const source of projected?.sources ?? []) {
    const files = await fromProjection(context, source, projected?.defaultMode ?? 0o644);
    for (const [path, file] of files) out.set(path, file);
  }
  return out;
}

/** ConfigMaps and Secrets a pod refers to in volumes, as `configmaps/ns/name` and `secrets/ns/name`. */
export function referencedObjects(pod: Pod): Set<string> {
  const namespace = namespaceOf(pod);
  const out = new Set<string>();
  const map = (name: string | undefined): void => void (name && out.add(`configmaps/${namespace}/${name}`));
  const secret = (name: string | undefined): void => void (name && out.add(`secrets/${namespace}/${name}`));
  for (const volume of pod.spec.volumes ?? []) {
    map(volume.configMap?.name);
    secret(volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      map(source.configMap?.name);
      secret(source.secret?.name);
    }
  }
  return out;
}
