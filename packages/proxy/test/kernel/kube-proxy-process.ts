// The command as a process of its own, for tests to start in a namespace.
import { errorMessage } from '@weft/plan';
import { kubeProxy } from '../../src/kube-proxy/index.ts';

try {
  await kubeProxy(process.argv.slice(2), '1.2.3');
} catch (error) {
  process.stderr.write(`${errorMessage(error)}\n`);
  process.exitCode = 1;
}
