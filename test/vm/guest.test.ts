// Kernel tests in a guest with another kernel: what this one lacks, and the data planes once more on Debian's own.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { inGuest } from './support/guest.ts';

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
 * Suites that pass on both kernels: those of every run, and those that `WEFT_GUEST=all` adds, some twenty minutes. What
 * speaks to other programs only (BGP) is the same on every kernel.
 */
const BOTH_KERNELS = [
  'packages/kernel/test/kernel/rtnl.test.ts',
  'packages/fabric/test/kernel/compliance.test.ts',
  'packages/fabric/test/kernel/announce.test.ts',
  'packages/proxy/test/kernel/ebpf-sockets.test.ts',
  `${CNI}/runtime.test.ts`,
  `${CNI}/weft.test.ts`,
];
const MORE =
  'bridge bridges chained dhcp direct interfaces meta networks portmap portmap-options ptp standalone standalone-interfaces'
    .split(' ')
    .map((name) => `${CNI}/${name}.test.ts`);
const all = process.env['WEFT_GUEST'] === 'all';
/** What the guest may take; it is emulated. */
const LIMIT_MS = (all ? 45 : 17) * 60_000;
/** Backends of the fabric that need what this kernel lacks, and the one that Debian's own must carry. */
const BACKENDS = 'WEFT_BACKENDS=vxlan,ipip,gre,geneve';
const REPORT = 'report.json';

const args = ['run', '--project', 'guest', '--project', 'kernel', 'test/vm/', ...BOTH_KERNELS, ...(all ? MORE : [])];
const flags = ['--no-file-parallelism', '--test-timeout=120000', '--hook-timeout=120000'];
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=/tmp/out/${REPORT}`];
const command = [BACKENDS, 'node', 'node_modules/vitest/vitest.mjs', ...args, ...flags, ...reporters].join(' ');
const run = await inGuest(command, { checkout, timeoutMs: LIMIT_MS });
const report = JSON.parse(run.file(REPORT) ?? '{"testResults":[]}') as Report;

describe('the guest', () => {
  it('boots, runs the tests and reports', () => {
    expect(report.testResults.length, `${run.output}\n--- console\n${run.console}`).toBeGreaterThan(0);
  });
  for (const file of report.testResults) {
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
