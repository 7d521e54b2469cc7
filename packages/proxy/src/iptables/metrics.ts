import type { Counter, Gauge, Metrics } from '@weft/plan';
import type { Family } from '@weft/net';
import { INVALID_DROPPED, LOCALHOST_ACCEPTED } from './names.ts';

/** What kube-proxy counts in iptables mode only. */
export class IptablesMetrics {
  readonly #total: Gauge;
  readonly #last: Gauge;
  readonly #failures: Counter;
  readonly #partial: Counter;
  readonly #counted: Readonly<Record<string, Counter>>;
  /** What the kernel's counters were when they were last read. */
  readonly #before = new Map<string, bigint>();

  constructor(metrics: Metrics) {
    const p = 'kubeproxy_sync_proxy_rules_iptables_';
    this.#total = metrics.gauge(`${p}total`, 'Total number of iptables rules owned by kube-proxy');
    this.#last = metrics.gauge(`${p}last`, 'Number of iptables rules written by kube-proxy in last sync');
    this.#failures = metrics.counter(`${p}restore_failures_total`, 'Cumulative proxy iptables restore failures');
    this.#partial = metrics.counter(
      `${p}partial_restore_failures_total`,
      'Cumulative proxy iptables partial restore failures',
    );
    this.#counted = {
      [INVALID_DROPPED]: metrics.counter(
        'kubeproxy_iptables_ct_state_invalid_dropped_packets_total',
        'packets dropped by iptables to work around conntrack problems',
      ),
      [LOCALHOST_ACCEPTED]: metrics.counter(
        'kubeproxy_iptables_localhost_nodeports_accepted_packets_total',
        'Number of packets accepted on nodeports of loopback interface',
      ),
    };
  }

  synced(
    family: Family,
    total: Readonly<Record<'filter' | 'nat', number>>,
    written: Readonly<Record<'filter' | 'nat', number>>,
  ): void {
    for (const table of ['filter', 'nat'] as const) {
      const labels = { ip_family: `IPv${family}`, table };
      this.#total.set(total[table], labels);
      this.#last.set(written[table], labels);
    }
  }

  /** Takes in what a counter of the kernel says; one that was made anew begins at 0. */
  counted(name: string, packets: bigint): void {
    const before = this.#before.get(name) ?? 0n;
    this.#before.set(name, packets);
    this.#counted[name]?.inc({}, Number(packets >= before ? packets - before : packets));
  }

  failed(family: Family, full: boolean): void {
    const labels = { ip_family: `IPv${family}` };
    this.#failures.inc(labels);
    if (!full) this.#partial.inc(labels);
  }
}
