// Kernel tests in a guest with another kernel: what this one lacks, and the data planes once more on Debian's own.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type GuestRun, inGuest } from './support/guest.ts';

/** The parts of vitest's JSON report that are looked at. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const CNI = 'packages/cni/test/kernel';
/**
 * Suites that pass on both kernels. What speaks to other programs only (BGP) is the same on every kernel.
 */
const BOTH_KERNELS = [
  'packages/kernel/test/kernel/rtnl.test.ts',
  'packages/fabric/test/kernel/compliance.test.ts',
  'packages/fabric/test/kernel/announce.test.ts',
  'packages/proxy/test/kernel/ebpf-sockets.test.ts',
];
const ALL = process.env['WEFT_GUEST'] === 'all';
/** With `WEFT_GUEST=all`, the suites of the CNI runtime and plugins, each line in a guest of its own: some twenty minutes. */
const MORE = ['runtime weft', 'bridge chained direct dhcp networks', 'interfaces meta ptp', 'portmap standalone'].map(
  (line) => line.split(' ').map((name) => `${CNI}/${name}`),
);
/** What a guest may take; it is emulated. */
const LIMIT_MS = 17 * 60_000;
/** Backends of the fabric that need what this kernel lacks; with `WEFT_GUEST=all` also the one that Debian's own must carry. */
const BACKENDS = `WEFT_BACKENDS=${ALL ? 'vxlan,' : ''}ipip,gre,geneve`;
const REPORT = 'report.json';

const flags = ['--no-file-parallelism', '--test-timeout=120000', '--hook-timeout=120000'];
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=/tmp/out/${REPORT}`];
const runs: GuestRun[] = [];
for (const files of [['test/vm/', ...BOTH_KERNELS], ...(ALL ? MORE : [])]) {
  const args = ['run', '--project', 'guest', '--project', 'kernel', ...files];
  const command = [BACKENDS, 'node', 'node_modules/vitest/vitest.mjs', ...args, ...flags, ...reporters].join(' ');
  runs.push(await inGuest(command, { checkout, timeoutMs: LIMIT_MS }));
}
const reports = runs.map((run) => JSON.parse(run.file(REPORT) ?? '{"testResults":[]}') as Report);

describe('the guest', () => {
  it('boots, runs the tests and reports', () => {
    for (const [i, { output, console }] of runs.entries())
      expect(reports[i]?.testResults.length, `${output}\n--- console\n${console}`).toBeGreaterThan(0);
  });
  for (const file of reports.flatMap((report) => report.testResults)) {
    describe(path.relative('/tmp/checkout', file.name), () => {
      if (file.assertionResults.length === 0)
        it('can be loaded', () => {
          throw new Error(file.message);
        });
      for (const test of file.assertionResults) {
        it.skipIf(test.status === 'pending' || test.status === 'skipped')(test.fullName, () => {
          expect(test.status, test.failureMessages.join('\n')).toBe('passed');
        });
      }
    });
  }
});
