import { cni } from './cni.ts';
import { dns } from './dns.ts';
import { services } from './services.ts';
import { throughput } from './throughput.ts';
import { up } from './up.ts';

/** Benchmarks by name. Each prints a table with a peer or a floor measured in the same run. */
const BENCHMARKS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  up,
  cni,
  services,
  throughput,
  dns,
};

const [name, ...rest] = process.argv.slice(2);
if (name === undefined) {
  for (const [title, run] of Object.entries(BENCHMARKS)) {
    console.log(`\n== ${title}`);
    await run([]);
  }
} else {
  const run = BENCHMARKS[name];
  if (run === undefined) {
    console.error(`perf: no benchmark "${name}"; there are ${Object.keys(BENCHMARKS).join(', ')}`);
    process.exitCode = 2;
  } else await run(rest);
}
