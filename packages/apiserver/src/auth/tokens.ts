import { createPublicKey, createHash, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import type { UserInfo } from '@weft/kube';
import type { Env } from '../registry/context.ts';

export interface TokenClaims {
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly iss: string;
  readonly jti: string;
  readonly nbf: number;
  readonly sub: string;
  readonly 'kubernetes.io': {
    readonly namespace: string;
    readonly serviceaccount: { readonly name: string; readonly uid: string };
    readonly pod?: { readonly name: string; readonly uid: string };
    readonly secret?: { readonly name: string; readonly uid: string };
    readonly node?: { readonly name: string; readonly uid?: string };
  };
}

export interface TokenUser {
  readonly user: UserInfo;
  readonly audiences: readonly string[];
}

const MAX_CACHED = 4096;

/** Issues and checks service-account tokens: ES256 JWTs with Kubernetes' claims (KEP-1205). */
export class Tokens {
  readonly issuer: string;
  readonly #env: Env;
  readonly #key: KeyObject;
  readonly #public: KeyObject;
  readonly #keyId: string;
  /** Tokens whose signature was checked; the claims' objects are looked up every time. */
  readonly #checked = new Map<string, TokenClaims>();

  constructor(env: Env, key: KeyObject, issuer: string) {
    this.#env = env;
    this.#key = key;
    this.#public = createPublicKey(key);
    this.issuer = issuer;
    this.#keyId = createHash('sha256')
      .update(this.#public.export({ type: 'spki', format: 'der' }))
      .digest('base64url');
  }

  issue(
    claims: Omit<TokenClaims, 'iss' | 'jti' | 'iat' | 'nbf' | 'exp'>,
    seconds: number,
  ): { token: string; expires: Date } {
    const now = Math.floor(this.#env.now().getTime() / 1000);
    const whole: TokenClaims = {
      ...claims,
      exp: now + seconds,
      iat: now,
      nbf: now,
      iss: this.issuer,
      jti: randomUUID(),
    };
    const text = `${encode({ alg: 'ES256', kid: this.#keyId, typ: 'JWT' })}.${encode(whole)}`;
    const signature = sign('sha256', Buffer.from(text), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    return { token: `${text}.${signature.toString('base64url')}`, expires: new Date((now + seconds) * 1000) };
  }

  /** Who a token speaks for; an error text when it is not valid now. */
  check(token: string): TokenUser | string {
    const claims = this.#verified(token);
    if (claims === undefined) return 'invalid bearer token';
    const now = this.#env.now().getTime() / 1000;
    if (claims.exp <= now) return 'service account token has expired';
    if (claims.nbf > now + 60) return 'service account token is not valid yet';
    const { namespace, serviceaccount, pod, secret } = claims['kubernetes.io'];
    const lookUp = (collection: string, ref: { name: string; uid: string }): boolean =>
      this.#env.store.collection(collection).get(`${namespace}/${ref.name}`)?.object.metadata.uid === ref.uid;
    if (!lookUp('/serviceaccounts', serviceaccount)) return 'service account token has been invalidated';
    if (pod !== undefined && !lookUp('/pods', pod)) return 'service account token has been invalidated';
    if (secret !== undefined && !lookUp('/secrets', secret)) return 'service account token has been invalidated';
    return {
      user: {
        username: `system:serviceaccount:${namespace}:${serviceaccount.name}`,
        uid: serviceaccount.uid,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
        extra: {
          'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`],
          ...(pod === undefined
            ? {}
            : {
                'authentication.kubernetes.io/pod-name': [pod.name],
                'authentication.kubernetes.io/pod-uid': [pod.uid],
              }),
        },
      },
      audiences: claims.aud,
    };
  }

  /** The public key as a JSON Web Key Set, for those who check tokens themselves. */
  jwks(): object {
    const jwk = this.#public.export({ format: 'jwk' });
    return { keys: [{ use: 'sig', alg: 'ES256', kid: this.#keyId, ...jwk }] };
  }

  #verified(token: string): TokenClaims | undefined {
    const known = this.#checked.get(token);
    if (known !== undefined) return known;
    const [header, payload, signature, more] = token.split('.');
    if (header === undefined || payload === undefined || signature === undefined || more !== undefined)
      return undefined;
    try {
      if ((decode(header) as { alg?: unknown }).alg !== 'ES256') return undefined;
      const good = verify(
        'sha256',
        Buffer.from(`${header}.${payload}`),
        { key: this.#public, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature, 'base64url'),
      );
      const claims = good ? (decode(payload) as TokenClaims) : undefined;
      if (claims === undefined || claims.iss !== this.issuer) return undefined;
      if (this.#checked.size >= MAX_CACHED) this.#checked.clear();
      this.#checked.set(token, claims);
      return claims;
    } catch {
      return undefined;
    }
  }
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (text: string): unknown => JSON.parse(Buffer.from(text, 'base64url').toString());
