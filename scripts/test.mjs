// The whole suite, or the kinds named: ./weft test [check|unit|kernel|vm|e2e]... [-- vitest arguments]
// Every check and every test counts; the last line is `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const argv = process.argv.slice(2);
const split = argv.indexOf('--');
const kinds = split < 0 ? argv : argv.slice(0, split);
const extra = split < 0 ? [] : argv.slice(split + 1);
const ALL = ['check', 'unit', 'kernel', 'vm', 'e2e'];
const unknown = kinds.find((kind) => !ALL.includes(kind));
const wanted = kinds.length > 0 ? kinds : ALL;
const root_only = ['kernel', 'vm', 'e2e'];
let passed = 0;
let failed = 0;
let skipped = 0;
const failures = [];

function check(name, command, args) {
  const began = Date.now();
  const run = spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
  const ok = run.status === 0;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  if (ok) passed += 1;
  else {
    failed += 1;
    failures.push(name);
    console.log(`${run.stdout ?? ''}${run.stderr ?? ''}`.trimEnd());
  }
}

function vitest(project, scratch) {
  const report = path.join(scratch, `${project}.json`);
  const args = [
    'vitest',
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...extra,
  ];
  if (project === 'unit') args.push('--no-isolate');
  console.log(`--- ${project}`);
  const run = spawnSync('npx', args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  let counts;
  try {
    counts = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    failed += 1;
    failures.push(`${project} (no report)`);
    return;
  }
  passed += counts.numPassedTests;
  failed += counts.numFailedTests;
  skipped += counts.numPendingTests;
  for (const file of counts.testResults) {
    for (const test of file.assertionResults)
      if (test.status === 'failed') failures.push(`${project}: ${test.fullName}`);
    // A file that cannot be loaded holds no test that could fail.
    if (file.status === 'failed' && file.assertionResults.length === 0) {
      failed += 1;
      failures.push(`${project}: ${path.relative(root, file.name)}: ${file.message.split('\n')[0]}`);
    }
  }
  if (run.status !== 0 && counts.numFailedTests === 0 && !failures.some((f) => f.startsWith(project))) {
    failed += 1;
    failures.push(`${project} (exit ${run.status})`);
  }
}

function run() {
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'weft-test-'));
  if (wanted.includes('check')) {
    check('type check', 'npx', ['tsc', '--noEmit', '-p', 'tsconfig.json']);
    check('lint', 'npx', ['oxlint', '--type-aware', '--deny-warnings']);
    check('imports', 'node', ['scripts/check-imports.mjs']);
    check('format', 'npx', ['biome', 'format', '.']);
    check('dead code', 'npx', ['knip']);
  }
  for (const project of ALL.slice(1)) {
    if (!wanted.includes(project)) continue;
    if (root_only.includes(project) && process.getuid() !== 0) {
      console.log(`--- ${project}: needs root; skipped`);
      continue;
    }
    vitest(project, scratch);
  }
  rmSync(scratch, { recursive: true, force: true });
  for (const name of failures) console.log(`failed: ${name}`);
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

if (unknown === undefined) run();
else {
  console.error(`weft test: no kind "${unknown}"; choose from ${ALL.join(', ')}`);
  process.exitCode = 2;
}
