import type { Metrics } from '@weft/plan';

/** The process and build metrics that dashboards of Kubernetes components begin with. */
export function processMetrics(metrics: Metrics, version: string): void {
  const cpu = metrics.gauge('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.');
  const memory = metrics.gauge('process_resident_memory_bytes', 'Resident memory size in bytes.');
  const start = metrics.gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.');
  const build = metrics.gauge('kubernetes_build_info', "A metric with a constant '1' value labeled by version.");
  build.set(1, { git_version: `v${version}`, platform: `linux/${process.arch}`, compiler: 'node' });
  start.set(performance.timeOrigin / 1000);
  metrics.beforeRender(() => {
    const { user, system } = process.cpuUsage();
    cpu.set((user + system) / 1e6);
    memory.set(process.memoryUsage.rss());
  });
}
