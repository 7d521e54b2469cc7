// The launcher, in a checkout that is only what it looks at, with an npm that writes down how often it was asked.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '../../..');

describe('the launcher', () => {
  let home: string;
  let log: string;

  beforeEach(() => {
    home = mkdtempSync(path.join(tmpdir(), 'weft-launcher-'));
    log = path.join(home, 'log');
    writeFileSync(log, '');
    for (const dir of ['bin', 'packages', 'scripts', 'test/perf']) mkdirSync(path.join(home, dir), { recursive: true });
    copyFileSync(path.join(root, 'weft'), path.join(home, 'weft'));
    chmodSync(path.join(home, 'weft'), 0o755);
    writeFileSync(path.join(home, 'packages.debian'), '');
    writeFileSync(path.join(home, 'package-lock.json'), '{}');
    writeFileSync(path.join(home, 'packages/source.ts'), '');
    const npm = `#!/bin/sh
echo "npm $1" >>"${log}"
rm -rf node_modules && sleep 0.3 && mkdir node_modules && echo '{}' >node_modules/.package-lock.json
`;
    writeFileSync(path.join(home, 'bin/npm'), npm, { mode: 0o755 });
    writeFileSync(
      path.join(home, 'scripts/build.mjs'),
      `import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
appendFileSync(${JSON.stringify(log)}, 'build\\n');
await new Promise((resolve) => setTimeout(resolve, 300));
mkdirSync('dist', { recursive: true });
writeFileSync('dist/weft.mjs', 'console.log(process.argv.slice(2).join(" "), process.env.WEFT_COMMAND)');
`,
    );
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const launch = (command: string, ...args: string[]): Promise<{ code: number | null; stdout: string }> =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: home,
        env: { ...process.env, PATH: `${home}/bin:${process.env['PATH'] ?? ''}` },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let stdout = '';
      child.stdout.on('data', (chunk: Buffer) => {
        stdout += chunk.toString('utf8');
      });
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, stdout }));
    });

  it('prepares a checkout once, however many are started at the same time', async () => {
    const runs = await Promise.all([1, 2, 3].map((n) => launch('./weft', 'status', String(n))));
    expect(runs.map((r) => [r.code, r.stdout])).toEqual([1, 2, 3].map((n) => [0, `status ${n} ./weft\n`]));
    expect(readFileSync(log, 'utf8')).toBe('npm ci\nbuild\n');
  });

  it('does nothing on a warm start, and builds again when a source is newer', async () => {
    await launch('./weft', 'status');
    writeFileSync(log, '');
    await launch('./weft', 'status');
    expect(readFileSync(log, 'utf8')).toBe('');
    const later = Date.now() / 1000 + 5;
    utimesSync(path.join(home, 'packages/source.ts'), later, later);
    await launch('./weft', 'status');
    expect(readFileSync(log, 'utf8')).toBe('build\n');
  });

  it('lets nothing that it starts hold the lock', async () => {
    writeFileSync(
      path.join(home, 'scripts/build.mjs'),
      "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/weft.mjs', \"import { readdirSync, readlinkSync } from 'node:fs';\\nconst open = readdirSync('/proc/self/fd').flatMap((fd) => { try { return [readlinkSync('/proc/self/fd/' + fd)]; } catch { return []; } });\\nconsole.log(open.some((file) => file.endsWith('packages.debian')));\");\n",
    );
    expect((await launch('./weft', 'status')).stdout).toBe('false\n');
  });
});
