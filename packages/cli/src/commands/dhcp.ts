import { runDhcpDaemon } from '@weft/cni';
import { processLogger } from '../context.ts';

/** Keeps DHCP leases until it is told to stop. */
export function dhcpDaemon(args: readonly string[]): Promise<void> {
  return runDhcpDaemon(args, processLogger('dhcp'));
}
