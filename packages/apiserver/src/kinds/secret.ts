import type { Secret } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { base64Size, checkFrozen, checkKeys, checkSize } from './config-map.ts';
import { type KindRules, rules } from './strategy.ts';
import { invalid, required } from './validate/errors.ts';
import { checkImmutable } from './validate/values.ts';

/** Keys that a type must have. */
const REQUIRED: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/dockercfg', ['.dockercfg']],
  ['kubernetes.io/dockerconfigjson', ['.dockerconfigjson']],
  ['kubernetes.io/ssh-auth', ['ssh-privatekey']],
  ['kubernetes.io/tls', ['tls.crt', 'tls.key']],
]);
const JSON_KEYS = ['.dockercfg', '.dockerconfigjson'];
const ACCOUNT = 'kubernetes.io/service-account.name';

function defaults(secret: Secret): void {
  secret.type ||= 'Opaque';
  // stringData is for writing only: it never comes back.
  if (secret.stringData) {
    const data = new Map(Object.entries(secret.data ?? {}));
    for (const [key, value] of Object.entries(secret.stringData)) data.set(key, Buffer.from(value).toString('base64'));
    secret.data = Object.fromEntries(data);
  }
  delete secret.stringData;
}

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

function validate(secret: Secret): FieldError[] {
  const { type = '', data = {}, metadata } = secret;
  const errors = [...checkKeys('data', data), ...checkSize('data', base64Size(data))];
  for (const key of REQUIRED.get(type) ?? []) {
    const value = data[key];
    if (value === undefined) errors.push(required(`data[${key}]`));
    else if (JSON_KEYS.includes(key) && !isJson(value)) {
      errors.push(invalid(`data[${key}]`, '<secret contents redacted>', 'invalid character in JSON'));
    }
  }
  if (type === 'kubernetes.io/basic-auth' && data.username === undefined && data.password === undefined) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  if (type === 'kubernetes.io/service-account-token' && !metadata.annotations?.[ACCOUNT]) {
    errors.push(required(`metadata.annotations[${ACCOUNT}]`));
  }
  return errors;
}

/** core/v1 Secret. */
export const secretRules: KindRules = rules<Secret>({
  defaults,
  prepareUpdate: (next, old) => {
    if (old.type !== undefined && next.type === 'Opaque' && next.type !== old.type) {
      // A client that leaves the type out means the one it has.
      next.type = old.type;
    }
  },
  validate,
  validateUpdate: (next, old) => [...checkImmutable('type', next.type, old.type), ...checkFrozen(next, old, 'data')],
  selectableFields: { type: (s) => s.type ?? '' },
});
