import { DhcpDaemon } from '@weft/cni';
import { processLogger } from '../context.ts';
import { DHCP_HELP, parseDhcpFlags } from '../dhcp-flags.ts';

/** Keeps DHCP leases until it is told to stop. */
export async function dhcpDaemon(args: readonly string[]): Promise<void> {
  const flags = parseDhcpFlags(args);
  if (flags === undefined) {
    process.stdout.write(DHCP_HELP);
    return;
  }
  const daemon = new DhcpDaemon({ log: processLogger('dhcp'), ...flags });
  await daemon.start();
  const stop = (): void => void daemon.stop();
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}
