import { isIP } from 'node:net';
import { parseYamlDocuments, formatYaml } from '@weft/kube';
import { WeftError } from '@weft/plan';
import {
  defaultConfiguration,
  type FieldKind,
  FIELDS,
  getField,
  type KubeProxyConfiguration,
  setField,
} from './configuration.ts';
import { formatDuration, parseDuration } from './duration.ts';

const API_VERSION = 'kubeproxy.config.k8s.io/v1alpha1';
const KIND = 'KubeProxyConfiguration';

/** What a file says, with what it says too much. */
export interface Decoded {
  readonly config: KubeProxyConfiguration;
  /** Fields that do not exist: kube-proxy falls back to lenient decoding and says so. */
  readonly unknown: readonly string[];
}

function bad(file: string, message: string, hint?: string): WeftError {
  return new WeftError({
    code: 'KUBE_PROXY_CONFIG',
    message: `${file}: ${message}`,
    hint: hint ?? `the fields of ${KIND} are listed by weft kube-proxy --write-config-to FILE`,
  });
}

/** Reads a KubeProxyConfiguration, YAML or JSON. Throws WeftError `KUBE_PROXY_CONFIG` that names file and field. */
export async function decodeConfiguration(text: string, file: string): Promise<Decoded> {
  let documents: unknown[];
  try {
    documents = await parseYamlDocuments(text);
  } catch (error) {
    throw bad(file, error instanceof Error ? error.message : String(error), 'check the indentation and quotes');
  }
  const [document] = documents;
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw bad(file, `no ${KIND} in it`, `it must begin with apiVersion: ${API_VERSION} and kind: ${KIND}`);
  }
  const { apiVersion, kind, ...fields } = document as Record<string, unknown>;
  if (apiVersion === undefined || kind === undefined) {
    throw bad(
      file,
      `Object '${kind === undefined ? 'Kind' : 'apiVersion'}' is missing`,
      `add apiVersion: ${API_VERSION} and kind: ${KIND}`,
    );
  }
  if (apiVersion !== API_VERSION || kind !== KIND) {
    throw bad(
      file,
      `no kind ${show(kind)} is registered for version ${show(apiVersion)}`,
      `only ${KIND} of ${API_VERSION} is known`,
    );
  }
  const config = defaultConfiguration();
  const unknown: string[] = [];
  take(config, fields, '', file, unknown);
  setDefaults(config);
  return { config, unknown };
}

/** Fields in which nothing, or zero, means the default: kubeadm writes them so. */
const ZERO_IS_DEFAULT = [
  'bindAddress',
  'healthzBindAddress',
  'metricsBindAddress',
  'clientConnection.contentType',
  'clientConnection.qps',
  'clientConnection.burst',
  'iptables.syncPeriod',
  'iptables.minSyncPeriod',
  'nftables.syncPeriod',
  'nftables.minSyncPeriod',
  'ipvs.syncPeriod',
  'configSyncPeriod',
  'logging.format',
];

/** Fields of `logging` that say how klog buffers its lines; there is no buffer here. */
const OF_KLOG = /^logging\.(flushFrequency|vmodule|options)$/;

function setDefaults(config: KubeProxyConfiguration): void {
  const defaults = defaultConfiguration();
  for (const path of ZERO_IS_DEFAULT) {
    const value = getField(config, path);
    if (value === '' || value === 0) setField(config, path, getField(defaults, path));
  }
  for (const [path, port] of [
    ['healthzBindAddress', 10_256],
    ['metricsBindAddress', 10_249],
  ] as const) {
    const family = isIP(config[path]);
    if (family !== 0) config[path] = family === 4 ? `${config[path]}:${port}` : `[${config[path]}]:${port}`;
  }
}

function take(
  config: KubeProxyConfiguration,
  fields: Record<string, unknown>,
  prefix: string,
  file: string,
  unknown: string[],
): void {
  for (const [name, value] of Object.entries(fields)) {
    const path = `${prefix}${name}`;
    // An empty field means its default, as in Go.
    if (value === null) continue;
    const kind = FIELDS.get(path);
    if (kind !== undefined) {
      setField(config, path, convert(kind, value, path, file));
    } else if ([...FIELDS.keys()].some((known) => known.startsWith(`${path}.`))) {
      if (typeof value !== 'object' || Array.isArray(value))
        throw bad(file, `${path}: must be an object, not ${show(value)}`);
      take(config, value as Record<string, unknown>, `${path}.`, file, unknown);
    } else if (!OF_KLOG.test(path)) unknown.push(path);
  }
}

const show = (value: unknown): string => JSON.stringify(value);

function convert(kind: FieldKind, value: unknown, path: string, file: string): unknown {
  switch (kind) {
    case 'string':
      if (typeof value === 'string') return value;
      break;
    case 'bool':
      if (typeof value === 'boolean') return value;
      break;
    case 'int':
      if (typeof value === 'number' && Number.isInteger(value)) return value;
      break;
    case 'float':
      if (typeof value === 'number') return value;
      break;
    case 'duration': {
      const ms = typeof value === 'string' ? parseDuration(value) : undefined;
      if (ms !== undefined) return ms;
      throw bad(file, `${path}: ${show(value)} is not a duration`, 'write it as 30s, 1m or 24h');
    }
    case 'strings':
      if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value;
      break;
    case 'gates':
      if (typeof value === 'object' && Object.values(value as object).every((v) => typeof v === 'boolean'))
        return value;
      break;
  }
  const wanted = {
    string: 'a string',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    strings: 'a list of strings',
    gates: 'names with true or false',
  };
  throw bad(file, `${path}: must be ${wanted[kind as keyof typeof wanted]}, not ${show(value)}`);
}

/** The configuration as a file that `decodeConfiguration` reads back. */
export function encodeConfiguration(config: KubeProxyConfiguration): Promise<string> {
  const out: Record<string, unknown> = { apiVersion: API_VERSION, kind: KIND };
  for (const [path, kind] of FIELDS) {
    const parts = path.split('.');
    let at = out;
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    const value = getField(config, path);
    at[parts.at(-1) as string] = kind === 'duration' ? formatDuration(value as number) : value;
  }
  return formatYaml(out);
}
