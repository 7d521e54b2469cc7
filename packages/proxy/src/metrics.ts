import type { Counter, Gauge, Histogram, Labels, Metrics } from '@weft/plan';
import type { Family } from '@weft/net';

const SYNC_BUCKETS = Array.from({ length: 15 }, (_, n) => 0.001 * 2 ** n);

/** Buckets of network_programming_duration_seconds as kube-proxy has them. */
const PROGRAMMING_BUCKETS = [
  0,
  0.25,
  0.5,
  ...Array.from({ length: 59 }, (_, i) => i + 1),
  ...Array.from({ length: 12 }, (_, i) => 60 + 5 * i),
  ...Array.from({ length: 7 }, (_, i) => 120 + 30 * i),
];

/** kube-proxy's metrics, by its names and labels, so that its dashboards and alerts go on working. */
export class ProxyMetrics {
  readonly #families: readonly Labels[];
  readonly #sync: Histogram;
  readonly #full: Histogram;
  readonly #partial: Histogram;
  readonly #programming: Histogram;
  readonly #lastSync: Gauge;
  readonly #lastQueued: Gauge;
  readonly #servicePending: Gauge;
  readonly #serviceTotal: Counter;
  readonly #endpointPending: Gauge;
  readonly #endpointTotal: Counter;
  readonly #noLocal: Gauge;
  readonly #failures: Counter | undefined;
  readonly #conntrack: Histogram;
  readonly #conntrackDeleted: Counter;

  constructor(metrics: Metrics, families: readonly Family[], mode: string) {
    this.#families = families.map((family) => ({ ip_family: `IPv${family}` }));
    const p = 'kubeproxy_';
    this.#sync = metrics.histogram(
      `${p}sync_proxy_rules_duration_seconds`,
      'SyncProxyRules latency in seconds',
      SYNC_BUCKETS,
    );
    this.#full = metrics.histogram(
      `${p}sync_full_proxy_rules_duration_seconds`,
      'SyncProxyRules latency in seconds for full resyncs',
      SYNC_BUCKETS,
    );
    this.#partial = metrics.histogram(
      `${p}sync_partial_proxy_rules_duration_seconds`,
      'SyncProxyRules latency in seconds for partial resyncs',
      SYNC_BUCKETS,
    );
    this.#programming = metrics.histogram(
      `${p}network_programming_duration_seconds`,
      'In Cluster Network Programming Latency in seconds',
      PROGRAMMING_BUCKETS,
    );
    this.#lastSync = metrics.gauge(
      `${p}sync_proxy_rules_last_timestamp_seconds`,
      'The last time proxy rules were successfully synced',
    );
    this.#lastQueued = metrics.gauge(
      `${p}sync_proxy_rules_last_queued_timestamp_seconds`,
      'The last time a sync of proxy rules was queued',
    );
    this.#servicePending = metrics.gauge(
      `${p}sync_proxy_rules_service_changes_pending`,
      'Pending proxy rules Service changes',
    );
    this.#serviceTotal = metrics.counter(
      `${p}sync_proxy_rules_service_changes_total`,
      'Cumulative proxy rules Service changes',
    );
    this.#endpointPending = metrics.gauge(
      `${p}sync_proxy_rules_endpoint_changes_pending`,
      'Pending proxy rules Endpoint changes',
    );
    this.#endpointTotal = metrics.counter(
      `${p}sync_proxy_rules_endpoint_changes_total`,
      'Cumulative proxy rules Endpoint changes',
    );
    this.#noLocal = metrics.gauge(
      `${p}sync_proxy_rules_no_local_endpoints_total`,
      'Number of services with a Local traffic policy and no endpoints',
    );
    // The iptables data plane counts its own failures, by kind of restore.
    if (mode === 'nftables' || mode === 'ebpf') {
      this.#failures = metrics.counter(
        `${p}sync_proxy_rules_nftables_sync_failures_total`,
        'Cumulative proxy nftables sync failures',
      );
    }
    this.#conntrack = metrics.histogram(
      `${p}conntrack_reconciler_sync_duration_seconds`,
      'ReconcileConntrackFlowsLatency latency in seconds',
      SYNC_BUCKETS,
    );
    this.#conntrackDeleted = metrics.counter(
      `${p}conntrack_reconciler_deleted_entries_total`,
      'Cumulative conntrack flows deleted by conntrack reconciler',
    );
  }

  serviceChanged(pending: number): void {
    this.#serviceTotal.inc();
    this.#servicePending.set(pending);
    this.#queued();
  }

  endpointsChanged(pending: number): void {
    this.#endpointTotal.inc();
    this.#endpointPending.set(pending);
    this.#queued();
  }

  #queued(): void {
    for (const labels of this.#families) this.#lastQueued.set(Date.now() / 1000, labels);
  }

  synced(seconds: number, full: boolean): void {
    this.#servicePending.set(0);
    this.#endpointPending.set(0);
    for (const labels of this.#families) {
      this.#sync.observe(seconds, labels);
      (full ? this.#full : this.#partial).observe(seconds, labels);
      this.#lastSync.set(Date.now() / 1000, labels);
    }
  }

  syncFailed(): void {
    for (const labels of this.#families) this.#failures?.inc(labels);
  }

  /** Seconds from the change of an endpoint (slice annotation) to its effect here. */
  programmed(seconds: number): void {
    for (const labels of this.#families) this.#programming.observe(seconds, labels);
  }

  noLocalEndpoints(internal: number, external: number): void {
    for (const labels of this.#families) {
      this.#noLocal.set(internal, { ...labels, traffic_policy: 'internal' });
      this.#noLocal.set(external, { ...labels, traffic_policy: 'external' });
    }
  }

  conntrackCleaned(seconds: number, deleted: number): void {
    for (const labels of this.#families) this.#conntrack.observe(seconds, labels);
    if (deleted > 0) for (const labels of this.#families) this.#conntrackDeleted.inc(labels, deleted);
  }
}
