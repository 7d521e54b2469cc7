import { readFileSync } from 'node:fs';
import { WeftError } from '@weft/plan';
import type { KubeAccess, KubeFactory, KubeSource } from './plugin.ts';

/**
 * A client as a `kubernetes` block asks for it: kubeconfig, endpoint (a `unix://` path included), or the pod's own
 * service account.
 */
export const defaultKube: KubeFactory = async (access: KubeAccess): Promise<KubeSource> => {
  const { KubeClient, inClusterTransport } = await import('@weft/kube');
  const { endpoint, kubeconfig, tls } = access;
  if (kubeconfig !== undefined) return KubeClient.fromKubeconfig(kubeconfig.path, kubeconfig.context);
  if (endpoint === undefined) return KubeClient.inCluster();
  if (endpoint.startsWith('unix://')) {
    return new KubeClient({ transport: { kind: 'unix', path: endpoint.slice('unix://'.length) } });
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined) {
    throw new WeftError({
      code: 'DNS_ENDPOINT',
      message: `plugin/kubernetes: endpoint is not a URL: ${endpoint}`,
      hint: 'write https://HOST:PORT or unix:///PATH',
    });
  }
  // The API server's own cluster name cannot be resolved before this server answers: the pod's environment has it.
  const own = /^kubernetes\.default(\.svc(\..*)?)?$/.test(url.hostname);
  if (own && tls === undefined && process.env['KUBERNETES_SERVICE_HOST']) {
    return new KubeClient({ transport: inClusterTransport() });
  }
  const file = (path: string | undefined): string | undefined => (path ? readFileSync(path, 'utf8') : undefined);
  const [cert, key, ca] = [file(tls?.cert), file(tls?.key), file(tls?.ca)];
  return new KubeClient({
    transport: {
      kind: 'http',
      url: endpoint,
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(ca ? { ca } : {}),
    },
  });
};
