import { KubeClient } from '@weft/kube';
import { jsonLogger, Metrics } from '@weft/plan';
import { ensureBuiltin, ImageStore } from '../../src/images/index.ts';
import { startKubelet } from '../../src/kubelet/index.ts';
import { serve } from './serve.ts';
import { VethNetwork } from './veth-network.ts';

const dir = process.argv[2] as string;
const level = (process.argv[3] ?? 'error') as 'debug' | 'error';
const images = ImageStore.open(`${dir}/images`);
for (const name of ['busybox', 'nginx'] as const) await images.rootfs(await ensureBuiltin(images, name));
const network = new VethNetwork();
const abort = new AbortController();
const kubelet = await startKubelet({
  nodeName: 'n1',
  nodeIPs: ['10.77.0.1'],
  client: new KubeClient({ transport: { kind: 'unix', path: `${dir}/api.sock` } }),
  dataDir: `${dir}/data`,
  runDir: `${dir}/run`,
  socketPath: `${dir}/kubelet.sock`,
  imagesDir: `${dir}/images`,
  network,
  clusterDNS: ['10.96.0.10'],
  clusterDomain: 'cluster.local',
  kubernetesService: { host: '10.96.0.1', port: 443 },
  log: jsonLogger((line) => process.stderr.write(line), { level }),
  metrics: new Metrics(),
  signal: abort.signal,
});

serve({
  problem: (text: string | null) => {
    network.problem = text ?? undefined;
  },
  sandboxes: () => kubelet.sandboxes(),
  pods: () => kubelet.pods().map((pod) => pod.metadata.name),
  removeAll: () => kubelet.removeAll(),
});
