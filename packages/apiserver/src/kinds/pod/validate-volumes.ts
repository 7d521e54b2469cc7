import type { DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { duplicate, forbidden, invalid, required } from '../validate/errors.ts';
import { dnsLabel } from '../validate/names.ts';
import { checkRule, inRange } from '../validate/values.ts';

const HOST_PATH_TYPES = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];

/** A path below its volume: relative, and without a step up. */
function checkInnerPath(field: string, path: string): FieldError[] {
  if (path.startsWith('/')) return [invalid(field, path, 'must be a relative path')];
  if (path.split('/').includes('..')) return [invalid(field, path, "must not contain '..'")];
  return path.startsWith('..') ? [invalid(field, path, "must not start with '..'")] : [];
}

function checkMode(field: string, mode: number | undefined): FieldError[] {
  return mode === undefined || inRange(mode, 0, 0o777)
    ? []
    : [invalid(field, mode, 'must be a number between 0 and 0777 (octal), both inclusive')];
}

function checkItems(field: string, items: readonly KeyToPath[] | undefined): FieldError[] {
  return (items ?? []).flatMap((item, i) => {
    const at = `${field}[${i}]`;
    return [
      ...(item.key ? [] : [required(`${at}.key`)]),
      ...(item.path ? checkInnerPath(`${at}.path`, item.path) : [required(`${at}.path`)]),
      ...checkMode(`${at}.mode`, item.mode),
    ];
  });
}

function checkDownward(field: string, items: readonly DownwardAPIVolumeFile[] | undefined): FieldError[] {
  return (items ?? []).flatMap((item, i) => {
    const at = `${field}[${i}]`;
    const errors = item.path ? checkInnerPath(`${at}.path`, item.path) : [required(`${at}.path`)];
    if (item.fieldRef && item.resourceFieldRef) {
      errors.push(invalid(at, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'));
    } else if (!item.fieldRef && !item.resourceFieldRef) {
      errors.push(required(at, 'one of fieldRef and resourceFieldRef is required'));
    }
    return [...errors, ...checkMode(`${at}.mode`, item.mode)];
  });
}

function checkProjection(field: string, source: VolumeProjection): FieldError[] {
  const kinds = Object.keys(source);
  if (kinds.length > 1) return [forbidden(field, 'may not specify more than 1 volume type per source')];
  if (kinds.length === 0) return [required(field, 'must specify one projected volume source')];
  const errors: FieldError[] = [];
  for (const kind of ['configMap', 'secret'] as const) {
    const named = source[kind];
    if (!named) continue;
    if (!named.name) errors.push(required(`${field}.${kind}.name`));
    errors.push(...checkItems(`${field}.${kind}.items`, named.items));
  }
  if (source.downwardAPI) errors.push(...checkDownward(`${field}.downwardAPI`, source.downwardAPI.items));
  const token = source.serviceAccountToken;
  if (token) {
    const at = `${field}.serviceAccountToken`;
    const seconds = token.expirationSeconds ?? 0;
    if (seconds < 600)
      errors.push(invalid(`${at}.expirationSeconds`, seconds, 'may not specify a duration less than 10 minutes'));
    errors.push(...(token.path ? checkInnerPath(`${at}.path`, token.path) : [required(`${at}.path`)]));
  }
  return errors;
}

function checkSource(field: string, volume: Volume): FieldError[] {
  const errors: FieldError[] = [];
  const { configMap, secret, hostPath, persistentVolumeClaim, nfs, downwardAPI, projected } = volume;
  if (configMap) {
    if (!configMap.name) errors.push(required(`${field}.configMap.name`));
    errors.push(...checkItems(`${field}.configMap.items`, configMap.items));
    errors.push(...checkMode(`${field}.configMap.defaultMode`, configMap.defaultMode));
  }
  if (secret) {
    if (!secret.secretName) errors.push(required(`${field}.secret.secretName`));
    errors.push(...checkItems(`${field}.secret.items`, secret.items));
    errors.push(...checkMode(`${field}.secret.defaultMode`, secret.defaultMode));
  }
  if (hostPath) {
    if (!hostPath.path) errors.push(required(`${field}.hostPath.path`));
    else if (hostPath.path.split('/').includes('..')) {
      errors.push(invalid(`${field}.hostPath.path`, hostPath.path, "must not contain '..'"));
    }
    if (hostPath.type !== undefined && !HOST_PATH_TYPES.includes(hostPath.type)) {
      errors.push(invalid(`${field}.hostPath.type`, hostPath.type, 'unknown type of host path'));
    }
  }
  if (persistentVolumeClaim && !persistentVolumeClaim.claimName) {
    errors.push(required(`${field}.persistentVolumeClaim.claimName`));
  }
  if (nfs) {
    if (!nfs.server) errors.push(required(`${field}.nfs.server`));
    if (!nfs.path) errors.push(required(`${field}.nfs.path`));
    else if (!nfs.path.startsWith('/')) errors.push(invalid(`${field}.nfs.path`, nfs.path, 'must be an absolute path'));
  }
  if (downwardAPI) errors.push(...checkDownward(`${field}.downwardAPI`, downwardAPI.items));
  projected?.sources?.forEach((source, i) => {
    errors.push(...checkProjection(`${field}.projected.sources[${i}]`, source));
  });
  return errors;
}

/** Volumes of a pod, and their names for those who mount them. */
export function checkVolumes(
  field: string,
  volumes: readonly Volume[] | undefined,
): { errors: FieldError[]; names: ReadonlySet<string> } {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [i, volume] of (volumes ?? []).entries()) {
    const at = `${field}[${i}]`;
    const sources = Object.keys(volume).filter((key) => key !== 'name');
    for (const extra of sources.slice(1)) {
      errors.push(forbidden(`${at}.${extra}`, 'may not specify more than 1 volume type'));
    }
    errors.push(...checkSource(at, volume));
    if (!volume.name) errors.push(required(`${at}.name`));
    else {
      errors.push(...checkRule(`${at}.name`, volume.name, dnsLabel));
      if (names.has(volume.name)) errors.push(duplicate(`${at}.name`, volume.name));
      names.add(volume.name);
    }
  }
  return { errors, names };
}
