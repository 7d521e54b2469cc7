import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findCluster } from '@weft/lab';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';
import { cacheDir, fetchKubectl, KUBECTL_VERSION, kubectlOnPath } from '../kubectl.ts';

/** Runs kubectl against a cluster, whatever the current context is; fetches one where the machine has none. */
export async function kubectl(args: readonly string[], options: { readonly name: string }): Promise<void> {
  const cluster = findCluster(options.name, hostContext());
  if (cluster === undefined || !existsSync(cluster.paths.kubeconfig)) {
    throw new WeftError({
      code: 'NO_SUCH_CLUSTER',
      message: `there is no cluster "${options.name}"`,
      hint: 'weft status lists the clusters; weft up makes one',
    });
  }
  const program =
    kubectlOnPath() ?? fetchKubectl(KUBECTL_VERSION, cacheDir(), (text) => process.stderr.write(`weft: ${text}\n`));
  const child = spawn(program, [...args], {
    stdio: 'inherit',
    env: { ...process.env, KUBECONFIG: cluster.paths.kubeconfig },
  });
  // The terminal sends the signal to the child as well; this process waits for its end.
  process.on('SIGINT', () => {});
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(status ?? (signal === null ? 1 : 130)));
  });
}
