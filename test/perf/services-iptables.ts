// Services in iptables mode: what one change costs, against the floor of one partial restore by hand. Needs root.
//   node perf.mjs services-iptables [--sizes 100,1000,5000] [-o json]
import { spawnSync } from 'node:child_process';
import { NetNs, Rtnl } from '@weft/kernel';
import {
  IptablesDataPlane,
  familyConfigs,
  ServiceProxy,
  slimService,
  type SlimService,
  slimSlice,
  type SlimSlice,
  type Source,
} from '@weft/proxy';
import { ENDPOINTS_PER_SERVICE, makeService, makeSlice } from './services-world.ts';
import { type Spread, spread } from './services-agent.ts';

const CHANGES = 15;
const OPTIONS = { clusterCidrs: ['10.244.0.0/16'], serviceCidrs: [], nodePortAddresses: ['all'] };

interface Row {
  readonly services: number;
  /** Objects in memory → rules active, ms. */
  readonly coldMs: number;
  readonly add: Spread;
  readonly replace: Spread;
  /** The program alone, given a text with the shared chains of all Services and the chains of one, ms. */
  readonly floor: Spread;
  /** `iptables-restore` of everything into an empty table, ms. */
  readonly floorFullMs: number;
}

class Feed<T> implements Source<T> {
  #handlers: Parameters<Source<T>['on']>[0] = {};
  readonly #objects: readonly T[];

  constructor(objects: readonly T[]) {
    this.#objects = objects;
  }

  on(handlers: Parameters<Source<T>['on']>[0]): () => void {
    this.#handlers = handlers;
    for (const object of this.#objects) handlers.add?.(object);
    handlers.synced?.();
    return () => {};
  }

  add(object: T): void {
    this.#handlers.add?.(object);
  }

  update(before: T, after: T): void {
    this.#handlers.update?.(before, after);
  }
}

async function namespace(): Promise<NetNs> {
  const ns = NetNs.anonymous();
  const rt = Rtnl.open(ns);
  await rt.links.set('lo', { up: true });
  rt.close();
  return ns;
}

function run(ns: NetNs, program: string, args: readonly string[], input?: string): { ms: number; stdout: string } {
  const from = performance.now();
  const done = ns.run(() => spawnSync(program, [...args], { input, encoding: 'utf8', maxBuffer: 1 << 30 }));
  if (done.status !== 0) throw new Error(`${program}: ${done.stderr}`);
  return { ms: performance.now() - from, stdout: done.stdout };
}

/** What the tables hold as the text of a restore: all of it, or the shared chains and those that `keep` names. */
function restoreText(saved: string, keep: (chain: string) => boolean): string {
  return `${saved
    .split('\n')
    .filter((line) => {
      const chain = /^(?::|-A )(\S+)/.exec(line)?.[1];
      if (line.startsWith('#')) return false;
      if (chain === undefined) return true;
      // The kernel's own chains hold our jumps already.
      return chain.startsWith('KUBE-') && keep(chain);
    })
    .join('\n')}\n`;
}

async function measure(count: number): Promise<Row> {
  const ns = await namespace();
  const slim = slimSlice('node-1');
  const service = (i: number): SlimService => slimService(makeService(i, 1)) as SlimService;
  const slice = (i: number): SlimSlice => slim(makeSlice(i, 1)) as SlimSlice;
  const services = new Feed(Array.from({ length: count }, (_, i) => service(i)));
  const slices = new Feed(Array.from({ length: count }, (_, i) => slice(i)));
  const plane = new IptablesDataPlane({ ns, variant: 'legacy', tables: familyConfigs(OPTIONS, 'iptables') });
  const proxy = new ServiceProxy({
    ...OPTIONS,
    nodeName: 'node-1',
    sources: { services, slices },
    dataPlane: plane,
    ns,
    auditMs: 0,
  });
  const stop = new AbortController();
  const from = performance.now();
  await proxy.start(stop.signal);
  await proxy.synced;
  const coldMs = performance.now() - from;

  const saved = ['filter', 'nat'].map((table) => run(ns, 'iptables-legacy-save', ['-t', table]).stdout).join('');
  const first = /:(KUBE-SVC-\S+)/.exec(saved)?.[1];
  const own = new Set([
    first,
    ...[...saved.matchAll(new RegExp(`-A ${first} .*-j (KUBE-SEP-\\S+)`, 'g'))].map((m) => m[1]),
  ]);
  const partial = restoreText(saved, (chain) => !/^KUBE-(SVC|SVL|SEP|EXT|FW)-/.test(chain) || own.has(chain));
  const restore = ['-w', '5', '--noflush', '--counters'];
  const samples = { add: [] as number[], replace: [] as number[], floor: [] as number[] };
  const timed = async (into: number[], change: () => void): Promise<void> => {
    const began = performance.now();
    change();
    await proxy.idle();
    into.push(performance.now() - began);
  };
  // In turn, so that the noise of the machine meets both.
  for (let i = 0; i < CHANGES; i++) {
    const fresh = 20_000 + i * 3;
    const to = { ...slice(fresh + 1), service: slice(fresh).service };
    slices.add(slice(fresh));
    await proxy.idle();
    await timed(samples.add, () => services.add(service(fresh)));
    samples.floor.push(run(ns, 'iptables-legacy-restore', restore, partial).ms);
    await timed(samples.replace, () => slices.update(slice(fresh), to));
  }
  stop.abort();
  await proxy.stop();
  ns.close();
  const empty = await namespace();
  const floorFullMs = run(
    empty,
    'iptables-legacy-restore',
    restore,
    restoreText(saved, () => true),
  ).ms;
  empty.close();
  return {
    services: count,
    coldMs,
    add: spread(samples.add),
    replace: spread(samples.replace),
    floor: spread(samples.floor),
    floorFullMs,
  };
}

/** Prints what iptables mode costs at several sizes. */
export async function servicesIptables(args: readonly string[]): Promise<void> {
  const value = (flag: string): string | undefined => args[args.indexOf(flag) + 1];
  const sizes = (args.includes('--sizes') ? (value('--sizes') ?? '') : '100,1000,5000').split(',').map(Number);
  const rows: Row[] = [];
  for (const size of sizes) rows.push(await measure(size));
  if (args.includes('-o')) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return;
  }
  const ms = (n: number): string => (n < 10 ? n.toFixed(1) : n.toFixed(0));
  process.stdout.write(`iptables-legacy, ${ENDPOINTS_PER_SERVICE} endpoints each; ms\n`);
  process.stdout.write(
    'Services | cold | floor | ratio | one Service added p50 | endpoints replaced p50 | floor p50 | ratio\n',
  );
  for (const r of rows) {
    const ratio = (r.add.p50 / r.floor.p50).toFixed(2);
    process.stdout.write(
      `${r.services} | ${ms(r.coldMs)} | ${ms(r.floorFullMs)} | ${(r.coldMs / r.floorFullMs).toFixed(2)} | ${ms(r.add.p50)} | ${ms(r.replace.p50)} | ${ms(r.floor.p50)} | ${ratio}\n`,
    );
  }
}
