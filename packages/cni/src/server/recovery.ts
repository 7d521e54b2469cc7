import type { Link } from '@weft/kernel';
import type { Logger } from '@weft/plan';
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { parseAlias } from '../plugins/weft.ts';

/** What must be done so that journal and kernel say the same. */
export interface RecoveryPlan {
  /** Free: the kernel has let go of them already. */
  readonly release: readonly Allocation[];
  /** Take down: no runtime was told of them, or their removal had begun. */
  readonly takeDown: readonly Allocation[];
  /** Pairs that the journal has lost, to be kept: a running pod may use them. */
  readonly adopt: readonly Allocation[];
}

/**
 * Compares what the journal remembers with the pairs that exist (pure). This is the only time the agent looks at what
 * the kernel holds; afterwards it knows.
 */
export function planRecovery(records: readonly Allocation[], links: readonly Link[], now: number): RecoveryPlan {
  const byName = new Map(links.map((link) => [link.name, link]));
  const release: Allocation[] = [];
  const takeDown: Allocation[] = [];
  const known = new Set<string>();
  for (const record of records) {
    if (record.link !== undefined) known.add(record.link);
    if (record.kind === 'address') {
      // The main plugin that holds it is somebody else's: only a DEL or a list of valid attachments can tell.
      if (record.state !== 'ready') release.push(record);
    } else if (record.link === undefined || !byName.has(record.link)) release.push(record);
    else if (record.state !== 'ready') takeDown.push(record);
  }
  const adopt: Allocation[] = [];
  for (const link of links) {
    if (known.has(link.name) || link.alias === undefined) continue;
    const owner = parseAlias(link.alias);
    if (owner === undefined) continue;
    const { network, containerId, ifname, addresses } = owner;
    adopt.push({ network, containerId, ifname, addresses, kind: 'wired', state: 'ready', link: link.name, since: now });
  }
  return { release, takeDown, adopt };
}

/** Carries a recovery plan out. `takeDown` may go on after it resolves. */
export function recover(plan: RecoveryPlan, ipam: Ipam, takeDown: (a: Allocation) => void, log: Logger): void {
  for (const allocation of plan.release) ipam.release(allocation);
  for (const allocation of plan.adopt) {
    try {
      ipam.adopt(allocation);
    } catch (error) {
      log.warn('cannot journal an adopted attachment', { container: allocation.containerId, error });
    }
  }
  for (const allocation of plan.takeDown) takeDown(allocation);
  const counts = { released: plan.release.length, takenDown: plan.takeDown.length, adopted: plan.adopt.length };
  if (counts.released + counts.takenDown + counts.adopted > 0) log.info('recovered pod attachments', counts);
}
