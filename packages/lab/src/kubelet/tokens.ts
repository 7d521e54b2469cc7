import { type KubeClient, type Pod, resources, type TokenRequest } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { namespaceOf, uidOf } from './pod.ts';

interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly until: number;
}

const DAY_MS = 86_400_000;

/** Service-account tokens of pods (TokenRequest API), bound to the pod and fetched again in good time. */
export class Tokens {
  readonly #client: KubeClient;
  readonly #now: () => number;
  readonly #tokens = new Map<string, Token>();

  constructor(client: KubeClient, now: () => number = Date.now) {
    this.#client = client;
    this.#now = now;
  }

  /** A token with most of its life ahead of it. Throws when the API server does not give one. */
  async get(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<string> {
    const account = pod.spec.serviceAccountName || 'default';
    const key = `${uidOf(pod)}/${account}/${audience ?? ''}/${expirationSeconds}`;
    const now = this.#now();
    const known = this.#tokens.get(key);
    if (known !== undefined && now < renewAt(known)) return known.value;
    const request: TokenRequest = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account },
      spec: {
        ...(audience ? { audiences: [audience] } : {}),
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: uidOf(pod) },
      },
    };
    try {
      const namespace = namespaceOf(pod);
      const answer = await this.#client.subresource<TokenRequest>(
        resources.serviceaccounts,
        namespace,
        account,
        'token',
        'POST',
        request,
      );
      const value = answer.status?.token;
      if (value === undefined)
        throw new WeftError({ code: 'NO_TOKEN', message: 'failed to fetch token: empty answer' });
      const until = Date.parse(answer.status?.expirationTimestamp ?? '') || now + expirationSeconds * 1000;
      this.#tokens.set(key, { value, from: now, until });
      return value;
    } catch (error) {
      // An old token that still holds is better than none.
      if (known !== undefined && now < known.until) return known.value;
      throw error;
    }
  }

  /** When the first of a pod's tokens is due, in milliseconds since the epoch. */
  nextRenewal(uid: string): number | undefined {
    let next: number | undefined;
    for (const [key, token] of this.#tokens) {
      if (key.startsWith(`${uid}/`)) next = Math.min(next ?? Number.POSITIVE_INFINITY, renewAt(token));
    }
    return next;
  }

  forget(uid: string): void {
    for (const key of this.#tokens.keys()) if (key.startsWith(`${uid}/`)) this.#tokens.delete(key);
  }
}

/** At four fifths of its life, or after a day. */
function renewAt(token: Token): number {
  return Math.min(token.from + DAY_MS, token.from + (token.until - token.from) * 0.8);
}
