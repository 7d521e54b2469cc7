// DNS answers in the kernel: what the program costs per query, and what kernel and client do together.
//   node perf.mjs dns-kernel [--services 1000] [--seconds 5] [-o json]
// Needs root and dnsperf. Two namespaces joined by a veth pair; the client asks for addresses of Services.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startDns } from '@weft/dns';
import { countRuns, NetNs, Rtnl } from '@weft/kernel';
import { numberOf } from './lib/report.ts';
import { FakeApi } from '../../packages/dns/test/support/fake-api.ts';
import { namespace, service } from '../../packages/dns/test/support/objects.ts';

const SERVER = '192.0.2.1';

export async function dnsKernel(args: readonly string[]): Promise<void> {
  const services = numberOf(args, '--services', 1000);
  const seconds = numberOf(args, '--seconds', 5);
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  for (let i = 0; i < services; i++) {
    const ports = [{ name: 'http', port: 80 }];
    api.put('services', service(`default/svc-${i}`, { clusterIPs: [`10.96.${i >> 8}.${i & 255}`], ports }));
  }
  const ns = NetNs.anonymous();
  const far = NetNs.anonymous();
  const rt = Rtnl.open(ns);
  await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', ns: far, up: true } });
  rt.close();
  ns.run(() => execFileSync('ip', ['addr', 'add', `${SERVER}/24`, 'dev', 'v0']));
  far.run(() => execFileSync('ip', ['addr', 'add', '192.0.2.2/24', 'dev', 'v1']));
  const corefile = '.:0 {\n kubernetes cluster.local\n prometheus 127.0.0.1:0\n loadbalance\n}\n';
  const server = await startDns({
    corefile: { text: corefile },
    kube: api,
    hosts: ['127.0.0.1'],
    inKernel: { link: 'v0', ns },
  });
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-perf-'));
  const stop = countRuns();
  try {
    const file = path.join(folder, 'queries');
    writeFileSync(file, Array.from({ length: services }, (_, i) => `svc-${i}.default.svc.cluster.local A\n`).join(''));
    const before = server.inKernelStats ?? { runs: 0, nanoseconds: 0 };
    const began = performance.now();
    const child = far.run(() =>
      spawn(
        'dnsperf',
        ['-s', SERVER, '-p', String(server.addresses[0]?.port), '-d', file, '-l', String(seconds), '-q', '100'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      ),
    );
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    await new Promise((resolve) => {
      child.on('close', resolve);
    });
    const after = server.inKernelStats ?? before;
    const runs = after.runs - before.runs;
    const result = {
      services,
      nanosecondsPerQuery: Math.round((after.nanoseconds - before.nanoseconds) / Math.max(1, runs)),
      queriesPerSecond: Math.round((runs * 1000) / (performance.now() - began)),
      lostPercent: Number(/Queries lost:\s+\d+ \(([\d.]+)%\)/.exec(text)?.[1] ?? Number.NaN),
    };
    if (args.includes('json')) process.stdout.write(`${JSON.stringify(result)}\n`);
    else {
      process.stdout.write(
        `A of ${services} Services, in the kernel: ${result.nanosecondsPerQuery} ns of CPU per query, ` +
          `${result.queriesPerSecond} queries/s with one dnsperf on the same machine, ${result.lostPercent} % lost\n`,
      );
    }
  } finally {
    stop();
    rmSync(folder, { recursive: true, force: true });
    await server.close();
    ns.close();
    far.close();
  }
}
