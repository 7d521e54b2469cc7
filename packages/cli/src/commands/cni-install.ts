import path from 'node:path';
import { installPlugins } from '@weft/cni';
import { distDir, runtimeFlags } from '../context.ts';
import { createOutput } from '../output.ts';

export interface CniInstallFlags {
  readonly binDir: string;
  readonly agentSocket?: string;
  readonly replace?: boolean;
  readonly output?: string;
}

/** Installs the plugin executables of this build, so that they answer with and without an agent. */
export async function cniInstall(flags: CniInstallFlags): Promise<void> {
  const out = createOutput(flags.output);
  const binDir = path.resolve(flags.binDir);
  const installed = await installPlugins({
    binDir,
    standalone: [process.execPath, ...runtimeFlags(), path.join(distDir, 'cni-plugin.mjs')],
    ...(flags.agentSocket === undefined ? {} : { agentSocket: path.resolve(flags.agentSocket) }),
    ...(flags.replace === undefined ? {} : { replace: flags.replace }),
  });
  out.result({ binDir, ...installed });
  out.line(`${binDir}: ${installed.plugins.join(', ')}`);
  if (installed.why !== undefined) out.note(`the plugins start as Node scripts, which is slower: ${installed.why}`);
  if (installed.kept.length > 0) {
    out.note(`left alone, as they are other makers' (--replace takes their place): ${installed.kept.join(', ')}`);
  }
}
