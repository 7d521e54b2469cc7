import { downCluster, type ClusterRequest, type ProgressEvent, upCluster } from '@weft/lab';
import { errorMessage, WeftError } from '@weft/plan';
import { commandName, hostContext } from '../context.ts';
import { kubectlOnPath } from '../kubectl.ts';
import { createOutput, formatMs } from '../output.ts';
import { mergeKubeconfig } from './kubeconfig.ts';
import { clusterReport, nodeTable } from './status.ts';

export interface UpOptions extends ClusterRequest {
  readonly output?: string;
}

const FLAGS: Readonly<Record<string, string>> = {
  nodes: '--nodes',
  subnets: '--subnets',
  nodeCidrMaskSize: '--node-cidr-mask-size',
  apiPort: '--api-port',
};

export async function up(options: UpOptions): Promise<void> {
  const out = createOutput(options.output);
  for (const [key, flag] of Object.entries(FLAGS)) {
    if (Number.isNaN((options as Record<string, unknown>)[key]))
      throw new WeftError({
        code: 'BAD_NUMBER',
        message: `${flag} takes a whole number`,
        hint: `${commandName} up --help lists the flags`,
      });
  }
  const host = hostContext();
  const began = performance.now();
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  // A second Ctrl-C must not stop the taking back.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, interrupt);
  const phases: unknown[] = [];
  const onEvent = (event: ProgressEvent): void => {
    if (event.type === 'phase') {
      const { phase, detail, ms } = event.report;
      phases.push({ phase, detail, ms: Math.round(ms) });
      const mark = out.tty ? '\u001b[32m✓\u001b[0m' : '-';
      out.line(` ${mark} ${phase.padEnd(10)} ${detail}  ${formatMs(ms)}`);
    } else if (event.type === 'note') out.note(event.text);
  };
  const { cluster, wasRunning } = await upCluster(options, host, onEvent, controller.signal);
  const seconds = (performance.now() - began) / 1000;
  const merged = wasRunning
    ? undefined
    : await mergeKubeconfig(cluster, undefined).catch((error: unknown) => {
        out.note(`cannot write your kubeconfig (${errorMessage(error)}); use ${cluster.paths.kubeconfig}`);
        return undefined;
      });
  const report = await clusterReport(cluster, host);
  out.line(wasRunning ? ` Cluster ${cluster.config.name} is up already.` : ` Up in ${seconds.toFixed(2)} s.`);
  if (merged !== undefined) {
    const was = merged.previous === undefined ? '' : ` (was: ${merged.previous})`;
    out.line(` Context "${merged.context}" is current in ${merged.file}${was}.`);
  }
  out.line('');
  for (const line of nodeTable(report)) out.line(` ${line}`);
  out.line('');
  for (const line of suggestions(cluster.config)) out.line(line);
  out.result({ ...report, wasRunning, seconds: Number(seconds.toFixed(3)), phases });
}

function suggestions(config: { readonly name: string; readonly demo: boolean; readonly rootless: boolean }): string[] {
  const flag = config.name === 'weft' ? '' : ` --name ${config.name}`;
  const kubectl = kubectlOnPath() === undefined ? `${commandName} kubectl${flag}` : 'kubectl';
  const lines = [` Try:  ${kubectl} get pods -A -o wide`, `       ${commandName} node exec${flag} n1 -- ip route`];
  if (config.demo) {
    lines.push(`       ${kubectl} run box --image=busybox --restart=Never -it --rm -- wget -qO- http://web`);
    if (!config.rootless) lines.push(`       curl http://$(${kubectl} get svc web -o jsonpath='{.spec.clusterIP}')`);
  }
  lines.push(`       ${commandName} down${flag}`);
  return lines;
}

export { downCluster };
