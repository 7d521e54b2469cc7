import { join } from 'node:path';
import { Metrics, silentLogger } from '@weft/plan';
import { startApiServer } from '../../src/index.ts';

const [directory = '', durability = 'fsync'] = process.argv.slice(2);

const server = await startApiServer({
  dataDir: join(directory, 'data'),
  listen: undefined,
  unixPath: join(directory, 'api.sock'),
  serviceCidrs: ['10.96.0.0/16'],
  nodePortRange: [30000, 32767],
  clusterDomain: 'cluster.local',
  durability: durability === 'none' ? 'none' : 'fsync',
  log: silentLogger,
  metrics: new Metrics(),
});
process.on('SIGTERM', () => void server.close());
process.stdout.write('ready\n');
