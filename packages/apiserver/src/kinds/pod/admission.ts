import { createHash } from 'node:crypto';
import {
  type Container,
  type KubeObject,
  type Pod,
  type PodSpec,
  resources,
  type ServiceAccount,
  type StatusError,
  statusErrors,
  type Toleration,
} from '@weft/kube';
import type { StrategyContext } from '../../contract.ts';

/**
 * What kube-apiserver's admission plugins add to every new pod: ServiceAccount, DefaultTolerationSeconds, Priority.
 * https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
 */
const TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** An hour and seven seconds, which tells tokens made here from tokens that somebody asked for. */
const TOKEN_SECONDS = 3607;
const FILE_MODE = 0o644;
const TOLERATION_SECONDS = 300;
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** Five characters that look random and are the same for the same pod. */
function suffixOf(uid: string): string {
  const digest = createHash('sha256').update(uid).digest();
  return [...digest.subarray(0, 5)].map((byte) => ALPHABET[byte % ALPHABET.length]).join('');
}

function mountToken(spec: PodSpec, uid: string): void {
  const lacks = (c: Container): boolean => !c.volumeMounts?.some((m) => m.mountPath === TOKEN_PATH);
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])].filter(lacks);
  if (containers.length === 0) return;
  const present = spec.volumes?.find((v) => v.name.startsWith('kube-api-access-'));
  const name = present?.name ?? `kube-api-access-${suffixOf(uid)}`;
  for (const container of containers) {
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: TOKEN_PATH }];
  }
  if (present !== undefined) return;
  const sources = [
    { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    {
      downwardAPI: {
        items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
      },
    },
  ];
  spec.volumes = [...(spec.volumes ?? []), { name, projected: { defaultMode: FILE_MODE, sources } }];
}

const refuse = (pod: Pod, why: string): StatusError =>
  statusErrors.forbidden(resources.pods, pod.metadata.name || (pod.metadata.generateName ?? ''), why);

/**
 * Sets the account, its pull secrets and its token. Throws 403 when the account does not exist, but for `default`: a new
 * namespace gets it a moment after it is made, and until then its pods go without a token.
 */
export function admitServiceAccount(pod: Pod, ctx: StrategyContext): void {
  const { spec, metadata } = pod;
  const name = spec.serviceAccountName || 'default';
  spec.serviceAccountName = name;
  spec.serviceAccount = name;
  const account = ctx.get('/serviceaccounts', metadata.namespace, name) as ServiceAccount | undefined;
  if (account === undefined) {
    if (name === 'default') return;
    const key = `${metadata.namespace}/${name}`;
    throw refuse(pod, `error looking up service account ${key}: serviceaccount "${name}" not found`);
  }
  if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
    spec.imagePullSecrets = account.imagePullSecrets.map((secret) => ({ ...secret }));
  }
  if ((spec.automountServiceAccountToken ?? account.automountServiceAccountToken) === false) return;
  mountToken(spec, metadata.uid ?? metadata.name);
}

/** A pod stays for five minutes on a node that stopped answering, unless it says otherwise. */
export function admitTolerations(spec: PodSpec): void {
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const said = (t: Toleration): boolean => (!t.key || t.key === key) && (!t.effect || t.effect === 'NoExecute');
    if (spec.tolerations?.some(said)) continue;
    const toleration: Toleration = {
      key,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: TOLERATION_SECONDS,
    };
    spec.tolerations = [...(spec.tolerations ?? []), toleration];
  }
}

interface PriorityClass extends KubeObject {
  value?: number;
  globalDefault?: boolean;
  preemptionPolicy?: 'Never' | 'PreemptLowerPriority';
}

/** Classes that every cluster has. */
const SYSTEM_CLASSES: ReadonlyMap<string, number> = new Map([
  ['system-cluster-critical', 2_000_000_000],
  ['system-node-critical', 2_000_001_000],
]);

/** Priority by class name; 0 without one. Throws 403 when there is no such class. */
export function admitPriority(pod: Pod, ctx: StrategyContext): void {
  const { spec } = pod;
  const resource = 'scheduling.k8s.io/priorityclasses';
  const name = spec.priorityClassName ?? '';
  const chosen =
    name === ''
      ? (ctx.list(resource) as readonly PriorityClass[]).find((c) => c.globalDefault === true)
      : (ctx.get(resource, undefined, name) as PriorityClass | undefined);
  const system = SYSTEM_CLASSES.get(name);
  if (name !== '' && chosen === undefined && system === undefined) {
    throw refuse(pod, `no PriorityClass with name ${name} was found`);
  }
  if (chosen !== undefined) spec.priorityClassName = chosen.metadata.name;
  spec.priority = chosen?.value ?? system ?? 0;
  spec.preemptionPolicy ??= chosen?.preemptionPolicy ?? 'PreemptLowerPriority';
}
