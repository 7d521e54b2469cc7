import { readFileSync } from 'node:fs';
import { KubeClient } from '@weft/kube';
import { proxyInformers, ServiceProxy, slimService, slimSlice } from '@weft/proxy';
import { makeService, makeSlice } from './services-world.ts';

/** What the agent process found, in milliseconds and megabytes. */
export interface AgentReport {
  readonly idleMb: number;
  readonly watchedMb: number;
  readonly rssMb: number;
  readonly peakMb: number;
  readonly coldMs: number;
  readonly restartMs: number;
  readonly add: Spread;
  readonly replace: Spread;
  readonly remove: Spread;
  /** CPU of the process per change, event to commit. */
  readonly cpuMs: number;
  /** Of that in the kernel: the transaction, and waiting for its answer. */
  readonly systemMs: number;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

function status(field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(match?.[1] ?? 0) / 1024;
}

const OPTIONS = { clusterCidrs: ['10.244.0.0/16'], serviceCidrs: [] };

/**
 * The process under test, in the node's namespace: informers over HTTP and the proxy, nothing else. Says `ready`, serves
 * what happens until its input ends, then measures changes it makes itself.
 */
export async function runAgent(socket: string): Promise<void> {
  const idleMb = status('VmRSS');
  const client = new KubeClient({ transport: { kind: 'unix', path: socket } });
  const stop = new AbortController();
  const sources = proxyInformers({ client, nodeName: 'node-1' });
  sources.start(stop.signal);
  await Promise.all([sources.services, sources.slices].map((s) => new Promise<void>((done) => s.on({ synced: done }))));
  const watchedMb = status('VmRSS');
  // Events that this process makes go the same way as those of the informers.
  type Handlers = Parameters<typeof sources.services.on>[0];
  type SliceHandlers = Parameters<typeof sources.slices.on>[0];
  let inject: Handlers = {};
  let injectSlice: SliceHandlers = {};
  const tee = {
    ...sources,
    services: {
      on: (handlers: Handlers) => {
        inject = handlers;
        return sources.services.on(handlers);
      },
    },
    slices: {
      on: (handlers: SliceHandlers) => {
        injectSlice = handlers;
        return sources.slices.on(handlers);
      },
    },
  };
  const boot = async (): Promise<{ proxy: ServiceProxy; end: AbortController; ms: number }> => {
    const end = new AbortController();
    const proxy = new ServiceProxy({ ...OPTIONS, nodeName: 'node-1', sources: tee });
    const from = performance.now();
    await proxy.start(end.signal);
    await proxy.synced;
    return { proxy, end, ms: performance.now() - from };
  };
  const first = await boot();
  const peakMb = status('VmHWM');
  // V8 gives back what loading took when it has been idle for a few seconds.
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  const rssMb = status('VmRSS');
  process.stdout.write('ready\n');
  await new Promise((resolve) => process.stdin.on('end', resolve).resume());

  const { proxy } = first;
  const slim = slimSlice('node-1');
  const samples = { add: [] as number[], replace: [] as number[], remove: [] as number[] };
  const timed = async (into: number[], change: () => void): Promise<void> => {
    const from = performance.now();
    change();
    await proxy.idle();
    into.push(performance.now() - from);
  };
  const rounds = 300;
  const objects = Array.from({ length: rounds }, (_, i) => {
    const service = slimService(makeService(20_000 + i * 3, 1));
    const from = slim(makeSlice(20_000 + i * 3, 1));
    const to = slim(makeSlice(20_001 + i * 3, 1));
    if (service === undefined || from === undefined || to === undefined) throw new Error('not slimmed');
    return { service, from, to: { ...to, service: from.service } };
  });
  const cpu = process.cpuUsage();
  for (const { service, from, to } of objects) {
    injectSlice.add?.(from);
    await timed(samples.add, () => inject.add?.(service));
    await timed(samples.replace, () => injectSlice.update?.(from, to));
    await timed(samples.remove, () => inject.delete?.(service));
    injectSlice.delete?.(to);
  }
  const used = process.cpuUsage(cpu);
  first.end.abort();
  await proxy.stop();
  const again = await boot();
  again.end.abort();
  await again.proxy.stop();
  stop.abort();
  client.close();
  const report: AgentReport = {
    idleMb,
    watchedMb,
    rssMb,
    peakMb,
    coldMs: first.ms,
    restartMs: again.ms,
    add: spread(samples.add),
    replace: spread(samples.replace),
    remove: spread(samples.remove),
    cpuMs: (used.user + used.system) / 1000 / (rounds * 3),
    systemMs: used.system / 1000 / (rounds * 3),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
