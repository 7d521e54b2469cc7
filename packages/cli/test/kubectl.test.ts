import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cacheDir, fetchKubectl, kubectlOnPath, zipMember } from '../src/kubectl.ts';

const dir = mkdtempSync(path.join(os.tmpdir(), 'weft-cli-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('a zip archive', () => {
  const big = 'kubectl '.repeat(50_000);
  it.each([
    ['stored', 'ZIP_STORED'],
    ['deflated', 'ZIP_DEFLATED'],
  ])('gives up its members when they are %s', (_, method) => {
    const file = path.join(dir, `${method}.zip`);
    const script = `import zipfile,sys
z=zipfile.ZipFile(sys.argv[1],'w',zipfile.${method})
z.writestr('a/first','x'); z.writestr('kubectl/kubectl','kubectl '*50000); z.comment=b'made by a test'; z.close()`;
    execFileSync('python3', ['-c', script, file]);
    const zip = readFileSync(file);
    expect(zipMember(zip, 'kubectl/kubectl')?.toString()).toBe(big);
    expect(zipMember(zip, 'a/first')?.toString()).toBe('x');
    expect(zipMember(zip, 'kubectl')).toBeUndefined();
  });

  it('that is none has no members', () => {
    expect(zipMember(Buffer.alloc(0), 'x')).toBeUndefined();
    expect(zipMember(Buffer.from('not an archive, but long enough to be one'), 'x')).toBeUndefined();
  });
});

describe('kubectl', () => {
  it('is found on the PATH only where it can be run', () => {
    const file = path.join(dir, 'kubectl');
    writeFileSync(file, '#!/bin/sh\n');
    chmodSync(file, 0o644);
    expect(kubectlOnPath({ PATH: `/nonexistent:${dir}` })).toBeUndefined();
    chmodSync(file, 0o755);
    expect(kubectlOnPath({ PATH: `/nonexistent:${dir}` })).toBe(file);
    expect(kubectlOnPath({})).toBeUndefined();
  });

  it('that was fetched before is not fetched again', () => {
    const cache = cacheDir({ XDG_CACHE_HOME: dir });
    expect(cache).toBe(path.join(dir, 'weft'));
    execFileSync('mkdir', ['-p', cache]);
    const file = path.join(cache, 'kubectl-1.99');
    writeFileSync(file, '', { mode: 0o755 });
    const said: string[] = [];
    expect(fetchKubectl('1.99', cache, (text) => said.push(text))).toBe(file);
    expect(said).toEqual([]);
    expect(existsSync(file)).toBe(true);
  });
});
