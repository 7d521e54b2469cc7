import { writeFileSync } from 'node:fs';
import { startApiServer } from '@weft/apiserver';
import { Metrics, silentLogger } from '@weft/plan';

// The API server in a process of its own: it goes on when the node is killed.
const dir = process.argv[2] as string;
const server = await startApiServer({
  dataDir: `${dir}/api`,
  listen: { host: '127.0.0.1', port: 0 },
  unixPath: `${dir}/api.sock`,
  serviceCidrs: ['10.96.0.0/16'],
  nodePortRange: [30000, 32767],
  clusterDomain: 'cluster.local',
  durability: 'none',
  kubeletSocket: () => `${dir}/kubelet.sock`,
  log: silentLogger,
  metrics: new Metrics(),
});
writeFileSync(`${dir}/kubeconfig`, server.kubeconfig());
process.stdout.write('ready\n');
