import type { KeyedCert } from './pki.ts';

export interface KubeconfigOptions {
  /** Name of the cluster, user and context. */
  readonly name: string;
  /** `https://HOST:PORT`. */
  readonly server: string;
  readonly namespace?: string;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const quoted = (text: string): string => JSON.stringify(text);

/** A kubeconfig file (YAML) with everything embedded. */
export function formatKubeconfig(options: KubeconfigOptions, caPem: string, client: KeyedCert): string {
  const name = quoted(options.name);
  return `apiVersion: v1
kind: Config
clusters:
- name: ${name}
  cluster:
    server: ${quoted(options.server)}
    certificate-authority-data: ${base64(caPem)}
users:
- name: ${name}
  user:
    client-certificate-data: ${base64(client.cert)}
    client-key-data: ${base64(client.key)}
contexts:
- name: ${name}
  context:
    cluster: ${name}
    user: ${name}
${options.namespace === undefined ? '' : `    namespace: ${quoted(options.namespace)}\n`}current-context: ${name}
preferences: {}
`;
}
