import { readFileSync } from 'node:fs';
import { WeftError } from '@weft/plan';
import type { Transport } from './transport.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Token files are rotated in place; reading once a minute is what client-go does. */
const TOKEN_MAX_AGE_MS = 60_000;

/** Reads a token file, again when the last reading is a minute old or when the server refused it. */
export function tokenFile(path: string): (fresh: boolean) => string {
  let token = '';
  let readAt = Number.NEGATIVE_INFINITY;
  return (fresh) => {
    const now = performance.now();
    if (fresh || now - readAt > TOKEN_MAX_AGE_MS) {
      token = readFileSync(path, 'utf8').trim();
      readAt = now;
    }
    return token;
  };
}

/** The transport of a pod's own service account; `root` is where the account is mounted. */
export function inClusterTransport(root = SERVICE_ACCOUNT, env: NodeJS.ProcessEnv = process.env): Transport {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (!host || !port) {
    throw new WeftError({
      code: 'NOT_IN_CLUSTER',
      message: 'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this process does not run in a pod',
      hint: 'give a kubeconfig file instead',
    });
  }
  const address = host.includes(':') ? `[${host}]` : host;
  return {
    kind: 'http',
    url: `https://${address}:${port}`,
    ca: readFileSync(`${root}/ca.crt`, 'utf8'),
    token: tokenFile(`${root}/token`),
  };
}
