import { setMaxListeners } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HostContext } from '@weft/lab';
import { type Logger, jsonLogger, type LogLevel } from '@weft/plan';

/** Directory of the bundle that is running. */
export const distDir: string = path.dirname(fileURLToPath(import.meta.url));

/** Directory of the checkout or installation. */
export const homeDir: string = process.env['WEFT_HOME'] ?? path.dirname(distDir);

/** How the user calls Weft: `weft`, or `./weft` from the checkout. For messages that tell what to type. */
export const commandName: string = process.env['WEFT_COMMAND'] ?? 'weft';

/** Flags of our own processes: small young generation, and no compiler that can deadlock at exit. */
export function runtimeFlags(): string[] {
  const flags = ['--max-semi-space-size=1', '--optimize-for-size'];
  return process.versions.node.startsWith('20.') ? flags : [...flags, '--no-maglev'];
}

/** The command line that starts Weft again. */
export function selfCommand(): string[] {
  return [process.execPath, ...runtimeFlags(), path.join(distDir, 'weft.mjs')];
}

/** The caller, as far as clusters are concerned. Inside a cluster's user namespace the ids are the namespace's. */
export function hostContext(): HostContext {
  return { uid: process.getuid?.() ?? 0, env: process.env, self: selfCommand(), home: homeDir };
}

/** Logger of a long-running process: JSON lines on standard error, which its keeper sends to a file. */
export function processLogger(component: string): Logger {
  const level = (process.env['WEFT_LOG_LEVEL'] ?? 'info') as LogLevel;
  return jsonLogger((line) => process.stderr.write(line), { level, fields: { component } });
}

/** Longest a daemon that cannot start may take to close what it had opened. */
const GIVE_UP_MS = 3000;

/**
 * Runs a daemon until it is asked to end. One that cannot start ends, so that its keeper starts it again, instead of
 * staying half alive with open handles.
 */
export async function runDaemon(
  component: string,
  start: (signal: AbortSignal, log: Logger) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  // Every watch and loop of the process listens.
  setMaxListeners(0, controller.signal);
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort());
  const log = processLogger(component);
  try {
    await start(controller.signal, log);
  } catch (error) {
    log.error('cannot start', { error });
    process.exitCode = 1;
    controller.abort();
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), GIVE_UP_MS).unref();
  }
}
