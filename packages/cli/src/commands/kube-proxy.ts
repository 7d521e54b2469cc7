import { kubeProxy as run } from '@weft/proxy/kube-proxy';

declare const WEFT_VERSION: string | undefined;

/** kube-proxy: the same flags, file, ports, metrics and log lines. */
export function kubeProxy(args: readonly string[]): Promise<void> {
  return run(args, typeof WEFT_VERSION === 'undefined' ? '0.0.0-dev' : WEFT_VERSION);
}
