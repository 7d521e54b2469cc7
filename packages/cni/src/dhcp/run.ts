import type { Logger } from '@weft/plan';
import { DhcpDaemon } from './daemon.ts';
import { DHCP_HELP, parseDhcpFlags } from './flags.ts';

/** The daemon as a program: starts it by its flags, and stops it at SIGTERM and SIGINT. Rejects with WeftError. */
export async function runDhcpDaemon(args: readonly string[], log: Logger): Promise<void> {
  const flags = parseDhcpFlags(args);
  if (flags === undefined) {
    process.stdout.write(DHCP_HELP);
    return;
  }
  const daemon = new DhcpDaemon({ log, ...flags });
  await daemon.start();
  const stop = (): void => void daemon.stop();
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}
