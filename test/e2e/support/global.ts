import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { findKubectls, type Kubectl } from './kubectl.ts';

/** What all files of one run share. */
export interface E2eEnvironment {
  /** Holds state and run directories of every cluster of this run, and the image store. Short: socket paths end at 107 bytes. */
  readonly base: string;
  readonly kubectls: readonly Kubectl[];
}

declare module 'vitest' {
  interface ProvidedContext {
    e2e: E2eEnvironment;
  }
}

/** Builds once, finds kubectl, and makes the directory that every cluster of the run lives in. */
export default function setup(project: TestProject): () => void {
  const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
  if (process.getuid?.() !== 0) throw new Error('the e2e suite needs root: sudo ./weft test e2e');
  const built = spawnSync(path.join(checkout, 'weft'), ['version'], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`./weft version failed:\n${built.stdout}${built.stderr}`);
  const base = mkdtempSync(path.join(os.tmpdir(), 'we-'));
  mkdirSync(path.join(base, 'state'));
  mkdirSync(path.join(base, 'run'));
  const kubectls = findKubectls();
  process.stdout.write(`e2e: kubectl ${kubectls.map((k) => k.version).join(', ')}; clusters under ${base}\n`);
  project.provide('e2e', { base, kubectls });
  return () => {
    const env = {
      ...process.env,
      WEFT_STATE_DIR: path.join(base, 'state'),
      WEFT_RUN_DIR: path.join(base, 'run'),
      KUBECONFIG: path.join(base, 'none'),
    };
    // Whatever a broken test left behind.
    spawnSync(path.join(checkout, 'weft'), ['down', '--all'], { env, encoding: 'utf8' });
    if (process.env['WEFT_E2E_KEEP'] === undefined) rmSync(base, { recursive: true, force: true });
  };
}
