// Bundles the command and the plugins' fallback into dist/. One file per entry point, split so that a process loads
// only what it runs.
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const staging = path.join(root, `dist.${process.pid}`);
const out = path.join(root, 'dist');
const entries = {
  weft: 'packages/cli/src/main.ts',
  'cni-plugin': 'packages/cni/src/standalone/main.ts',
  'dns-worker': 'packages/dns/src/fast/worker.ts',
};
if (existsSync(path.join(root, 'test/perf/main.ts'))) entries.perf = 'test/perf/main.ts';

await build({
  absWorkingDir: root,
  entryPoints: entries,
  outdir: staging,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // The yaml package gives Node a CommonJS file, whose names an `import()` within a bundle does not see.
  alias: { yaml: path.join(root, 'node_modules/yaml/browser/index.js') },
  external: ['koffi', 'bufferutil', 'utf-8-validate'],
  define: { WEFT_VERSION: JSON.stringify(JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).version) },
  // CommonJS dependencies ask for require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  sourcemap: false,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
});
// The CNI plugin executable, where there is a compiler; without it plugins are built, or run as scripts, where they are installed.
try {
  execFileSync('/bin/sh', [path.join(root, 'native/cni-shim/build.sh'), path.join(staging, 'cni-shim')], {
    stdio: 'pipe',
  });
} catch (error) {
  process.stderr.write(`build: no CNI shim: ${String(error.stderr).trim().split('\n').at(-1)}\n`);
}
// Swapped by rename, so that a running cluster never reads half a build.
rmSync(`${out}.old`, { recursive: true, force: true });
if (existsSync(out)) renameSync(out, `${out}.old`);
renameSync(staging, out);
rmSync(`${out}.old`, { recursive: true, force: true });
