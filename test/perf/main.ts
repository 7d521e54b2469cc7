// Benchmarks: node dist/perf.mjs [NAME…] [flags of the benchmark] [-o json]. Without a name all of them run.
import { machine } from './lib/report.ts';

type Benchmark = (args: readonly string[]) => Promise<void>;

/** Each prints a table with a peer or a floor measured in the same run. */
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  up: async () => (await import('./up.ts')).up,
  cni: async () => (await import('./cni/main.ts')).cni,
  throughput: async () => (await import('./throughput.ts')).throughput,
  services: async () => (await import('./services.ts')).services,
  'services-path': async () => (await import('./services-path.ts')).servicesPath,
  'services-churn': async () => (await import('./services-churn.ts')).servicesChurn,
  'services-iptables': async () => (await import('./services-iptables.ts')).servicesIptables,
  memory: async () => (await import('./memory.ts')).memory,
  dns: async () => (await import('./dns/main.ts')).dns,
  'dns-kernel': async () => (await import('./dns-kernel.ts')).dnsKernel,
};

const argv = process.argv.slice(2);
const firstFlag = argv.findIndex((word) => !(word in BENCHMARKS));
const names = firstFlag < 0 ? argv : argv.slice(0, firstFlag);
const flags = firstFlag < 0 ? [] : argv.slice(firstFlag);
const [stray] = flags;
if (stray !== undefined && !stray.startsWith('-')) {
  process.stderr.write(`perf: no benchmark "${stray}"; there are ${Object.keys(BENCHMARKS).join(', ')}\n`);
  process.exitCode = 2;
} else {
  const wanted = names.length > 0 ? names : Object.keys(BENCHMARKS);
  // One name alone may be the second process of a benchmark, whose output the first one reads.
  if (wanted.length > 1) process.stdout.write(`${machine()}\n`);
  for (const name of wanted) {
    if (wanted.length > 1) process.stdout.write(`\n== ${name}\n`);
    await (await BENCHMARKS[name]?.())?.(flags);
  }
}
