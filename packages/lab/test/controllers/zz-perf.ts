import { resources } from '@weft/kube';
import { startControllers } from '@weft/controllers';
import { startWorkloads } from '../../src/controllers/index.ts';
import { Kubelets, podTemplate, TestCluster } from './cluster.ts';
import { KubeClient } from '@weft/kube';
const counts = new Map<string, number>();
const open = KubeClient.prototype.open;
KubeClient.prototype.open = function (r) {
  const k = `${r.method ?? 'GET'} ${r.path
    .replace(/namespaces\/[^/]+\//, '')
    .replace(/^\/apis?\//, '')
    .split('/')
    .slice(0, 3)
    .map((x) => (/-|web\d|^n\d/.test(x) ? '*' : x))
    .join('/')} ${
    r.path
      .split('/')
      .at(-1)
      ?.match(/^(status|binding)$/)?.[0] ?? ''
  }`;
  counts.set(k, (counts.get(k) ?? 0) + 1);
  return open.call(this, r);
};
const ms = (t: number) => `${(performance.now() - t).toFixed(0)} ms`;
const cluster = await TestCluster.start();
console.log('rss after api', process.memoryUsage().rss >> 20);
let t = performance.now();
const c = await startControllers({ ...cluster.common, clusterCidrs: ['10.244.0.0/16'], nodeCidrMaskSize: 24 });
await startWorkloads(cluster.common);
console.log('started', ms(t));
await cluster.node('n0');
await cluster.until(async () => (await cluster.get(resources.nodes, 'n0')).spec?.podCIDR !== undefined);
console.log('first node has cidr', ms(t));
t = performance.now();
await Promise.all(Array.from({ length: 49 }, (_, i) => cluster.node(`n${i + 1}`)));
await cluster.until(async () => (await cluster.list(resources.nodes)).every((n) => n.spec?.podCIDR !== undefined));
console.log('50 nodes', ms(t));
const kubelets = process.argv[2] === 'run' ? new Kubelets(cluster) : undefined;
t = performance.now();
await Promise.all(
  Array.from({ length: 10 }, (_, i) =>
    cluster.create(resources.deployments, {
      metadata: { name: `web${i}` },
      spec: { replicas: 50, selector: { matchLabels: { app: `web${i}` } }, template: podTemplate(`web${i}`) },
    }),
  ),
);
for (let i = 0; i < 10; i++)
  await cluster.create(resources.services, {
    metadata: { name: `web${i}` },
    spec: { selector: { app: `web${i}` }, ports: [{ port: 80 }] },
  });
let last = 0;
await cluster.until(async () => {
  const pods = await cluster.list(resources.pods);
  const bound = pods.filter((p) => p.spec.nodeName).length;
  if (pods.length === 500 && bound === 500) return true;
  if (performance.now() - t > last + 500) {
    last += 500;
    console.log('  pods', pods.length, 'bound', bound, ms(t));
  }
  await new Promise((r) => setTimeout(r, 50));
  return false;
});
console.log('500 pods bound', ms(t));
if (kubelets) {
  await cluster.until(async () =>
    (await cluster.list(resources.deployments)).every((d) => d.status?.availableReplicas === 50),
  );
  console.log('all available', ms(t));
  await cluster.until(
    async () =>
      (await cluster.list(resources.endpointslices)).reduce(
        (n, s) => n + (s.endpoints ?? []).filter((e) => e.conditions?.ready).length,
        0,
      ) === 500,
  );
  console.log('500 endpoints', ms(t));
}
if (kubelets) {
  const { Informer } = await import('@weft/kube');
  const inf = new Informer({ client: cluster.client, type: resources.endpointslices });
  inf.start(cluster.signal); await inf.synced;
  const all = await cluster.list(resources.pods, 'app=web0'); const took: number[] = [];
  for (const p of all.slice(0, 30)) {
    const t0 = performance.now();
    const seen = new Promise<void>((res) => { const off = inf.on({ update: (_, s) => { if (s.endpoints?.some((e) => e.targetRef?.name === p.metadata.name && e.conditions?.ready === false)) { off(); res(); } } }); });
    await Promise.all([cluster.run(p, p.status?.podIP ?? '', false), seen]);
    took.push(performance.now() - t0);
  }
  took.sort((a, b) => a - b); console.log('ready -> slice seen: p50', took[15]?.toFixed(1), 'max', took[29]?.toFixed(1));
}
const pods = await cluster.list(resources.pods);
const per = new Map<string, number>();
for (const p of pods) per.set(p.spec.nodeName ?? '', (per.get(p.spec.nodeName ?? '') ?? 0) + 1);
console.log('spread', Math.min(...per.values()), Math.max(...per.values()));
console.log('rss', process.memoryUsage().rss >> 20, 'heap', process.memoryUsage().heapUsed >> 20);
console.log([...counts].sort((a, b) => b[1] - a[1]).slice(0, 14));
console.log('cpu', process.cpuUsage());
await c.idle();
await cluster.stop();
