import type { ConfigMap, Container, Pod, Secret } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { expand } from './expand.ts';
import { fieldValue, type PodAddresses, resourceValue } from './fields.ts';
import { definitionOf, namespaceOf } from './pod.ts';

/** Reads the objects that pods refer to. Undefined when there is no such object. */
export interface ObjectReader {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
}

export interface EnvironmentInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly addresses: PodAddresses;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly objects: ObjectReader;
  /** Variables of Services; what the container sets itself goes first. */
  readonly services: ReadonlyMap<string, string>;
}

const fail = (message: string): WeftError => new WeftError({ code: 'BAD_ENVIRONMENT', message });

const decode = (data: Readonly<Record<string, string>> | undefined, name: string): string | undefined => {
  const value = data?.[name];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
};

async function fromReference(
  kind: 'ConfigMap' | 'Secret',
  input: EnvironmentInput,
  name: string,
  optional: boolean,
): Promise<{ names: string[]; get: (key: string) => string | undefined } | undefined> {
  const namespace = namespaceOf(input.pod);
  if (kind === 'ConfigMap') {
    const map = await input.objects.configMap(namespace, name);
    if (map !== undefined) return { names: Object.keys(map.data ?? {}), get: (key) => map.data?.[key] };
  } else {
    const secret = await input.objects.secret(namespace, name);
    if (secret !== undefined) {
      return { names: Object.keys(secret.data ?? {}), get: (key) => decode(secret.data, key) };
    }
  }
  if (optional) return undefined;
  throw fail(`${kind.toLowerCase()} "${name}" not found`);
}

/** An environment variable's name as Kubernetes ≥ 1.30 allows it: printable ASCII without `=`. */
const isEnvName = (name: string): boolean => /^[ -<>-~]+$/.test(name);

/** The environment of a container (kubelet's makeEnvironmentVariables). Throws WeftError in Kubernetes' words. */
export async function containerEnvironment(input: EnvironmentInput): Promise<Map<string, string>> {
  const { pod, container } = input;
  const out = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    const reference = source.configMapRef ?? source.secretRef;
    if (reference === undefined) continue;
    const kind = source.configMapRef === undefined ? 'Secret' : 'ConfigMap';
    const found = await fromReference(kind, input, reference.name ?? '', reference.optional === true);
    for (const key of found?.names.sort() ?? []) {
      const name = `${source.prefix ?? ''}${key}`;
      if (isEnvName(name)) out.set(name, found?.get(key) ?? '');
    }
  }
  for (const variable of container.env ?? []) {
    const from = variable.valueFrom;
    let value: string | undefined;
    if (from === undefined) {
      value = expand(variable.value ?? '', (name) => out.get(name) ?? input.services.get(name));
    } else if (from.fieldRef !== undefined) value = fieldValue(pod, from.fieldRef.fieldPath, input.addresses);
    else if (from.resourceFieldRef !== undefined) {
      const { containerName } = from.resourceFieldRef;
      const of = containerName ? definitionOf(pod, containerName) : container;
      if (of === undefined) throw fail(`container ${containerName} not found`);
      value = resourceValue(from.resourceFieldRef, of, input.allocatable);
    } else {
      const selector = from.configMapKeyRef ?? from.secretKeyRef;
      if (selector === undefined) continue;
      const kind = from.configMapKeyRef === undefined ? 'Secret' : 'ConfigMap';
      const optional = selector.optional === true;
      const found = await fromReference(kind, input, selector.name ?? '', optional);
      value = found?.get(selector.key);
      if (value === undefined) {
        if (optional) continue;
        throw fail(`couldn't find key ${selector.key} in ${kind} ${namespaceOf(pod)}/${selector.name}`);
      }
    }
    out.set(variable.name, value);
  }
  for (const [name, value] of input.services) if (!out.has(name)) out.set(name, value);
  return out;
}
