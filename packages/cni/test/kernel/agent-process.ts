// An agent's CNI server as a process of its own, to be killed by tests. Started with (socket, state directory).
import { Metrics, silentLogger } from '@weft/plan';
import { CniServer } from '../../src/index.ts';

const [socketPath = '', stateDir = ''] = process.argv.slice(2);
const server = new CniServer({ socketPath, stateDir, log: silentLogger, metrics: new Metrics(), reuseDelayMs: 0 });
await server.start();
await server.flush();
process.on('message', (message) => {
  void (async () => {
    if (message === 'flush') await server.flush();
    if (Array.isArray(message)) await server.reconcile(message as { containerId: string; ifname: string }[]);
    process.send?.(server.attachments());
  })();
});
process.send?.('ready');
