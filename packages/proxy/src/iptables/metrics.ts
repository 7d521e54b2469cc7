import type { Counter, Gauge, Metrics } from '@weft/plan';
import type { Family } from '@weft/net';

/** What kube-proxy counts in iptables mode only. */
export class IptablesMetrics {
  readonly #total: Gauge;
  readonly #last: Gauge;
  readonly #failures: Counter;
  readonly #partial: Counter;

  constructor(metrics: Metrics) {
    const p = 'kubeproxy_sync_proxy_rules_iptables_';
    this.#total = metrics.gauge(`${p}total`, 'Total number of iptables rules owned by kube-proxy');
    this.#last = metrics.gauge(`${p}last`, 'Number of iptables rules written by kube-proxy in last sync');
    this.#failures = metrics.counter(`${p}restore_failures_total`, 'Cumulative proxy iptables restore failures');
    this.#partial = metrics.counter(
      `${p}partial_restore_failures_total`,
      'Cumulative proxy iptables partial restore failures',
    );
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

  failed(family: Family, full: boolean): void {
    const labels = { ip_family: `IPv${family}` };
    this.#failures.inc(labels);
    if (!full) this.#partial.inc(labels);
  }
}
