import type { PodReference } from '@weft/cni';
import type { EventRecorder } from '@weft/kube';
import type { Counter, Gauge, Logger, Metrics } from '@weft/plan';

/** Part of the addresses in use from which exhaustion is announced. */
const NEARLY = 0.9;
/** After an announcement the part must fall below this before there is another. */
const RELAXED = 0.8;

/** Time from a change to the look at it, milliseconds. */
const LOOK_MS = 1000;

/** How full something that addresses come from is. */
export interface SourceUsage {
  readonly source: string;
  readonly used: number;
  readonly total: bigint;
  /** On all nodes together, where others have addresses of the same source: exhaustion is that of the whole. */
  readonly whole?: { readonly used: number; readonly total: bigint };
}

/** Announces that addresses run out before they have: metrics, and an event about the node. */
export class Alarms {
  readonly #options: { readonly nodeName: string; readonly events: EventRecorder; readonly log: Logger };
  readonly #used: Gauge;
  readonly #total: Gauge;
  readonly #leaked: Counter;
  readonly #announced = new Set<string>();
  #known = new Set<string>();
  #pending = false;

  constructor(options: {
    readonly nodeName: string;
    readonly events: EventRecorder;
    readonly metrics: Metrics;
    readonly log: Logger;
  }) {
    this.#options = options;
    const { metrics } = options;
    this.#used = metrics.gauge('weft_ipam_addresses_used', 'Addresses of this node in use or kept, by source.');
    this.#total = metrics.gauge('weft_ipam_addresses_total', 'Addresses that this node can give out, by source.');
    this.#leaked = metrics.counter('weft_ipam_leaked_total', 'Addresses freed whose pod had vanished without a DEL.');
  }

  /** Looks soon: a look costs time in proportion to the addresses in use, and an ADD has none to spare. */
  later(usages: () => readonly SourceUsage[]): void {
    if (this.#pending) return;
    this.#pending = true;
    setTimeout(() => {
      this.#pending = false;
      this.look(usages());
    }, LOOK_MS).unref();
  }

  leaked(pod: PodReference | undefined, containerId: string, addresses: readonly string[]): void {
    const { nodeName, events } = this.#options;
    this.#leaked.inc({}, addresses.length);
    const who = pod === undefined ? `container ${containerId}` : `pod ${pod.namespace}/${pod.name}`;
    const message = `freed ${addresses.join(', ')} of ${who}, whose sandbox on node ${nodeName} is gone`;
    events.event({ apiVersion: 'v1', kind: 'Node', name: nodeName }, 'Warning', 'LeakedAddressFreed', message);
  }

  look(usages: readonly SourceUsage[]): void {
    const { nodeName, events, log } = this.#options;
    const now = new Set(usages.map(({ source }) => source));
    for (const source of this.#known) {
      if (now.has(source)) continue;
      this.#used.set(0, { source });
      this.#total.set(0, { source });
      this.#announced.delete(source);
    }
    this.#known = now;
    for (const usage of usages) {
      const { source } = usage;
      this.#used.set(usage.used, { source });
      this.#total.set(Number(usage.total), { source });
      const { used, total } = usage.whole ?? usage;
      const part = used / Number(total);
      if (part < RELAXED) this.#announced.delete(source);
      if (part < NEARLY || this.#announced.has(source)) continue;
      this.#announced.add(source);
      const where = usage.whole === undefined ? ` on node ${nodeName}` : '';
      const message = `${used} of ${total} addresses of ${source} are in use${where}`;
      log.warn('addresses run out', { source, used, total: String(total) });
      events.event({ apiVersion: 'v1', kind: 'Node', name: nodeName }, 'Warning', 'AddressesRunningOut', message);
    }
  }
}
