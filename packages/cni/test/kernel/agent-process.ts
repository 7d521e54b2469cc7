// An agent's CNI server as a process of its own, to be killed by tests. Started with (socket, state directory, file of
// network definitions by NAMESPACE/NAME).
import { readFileSync } from 'node:fs';
import { Metrics, silentLogger } from '@weft/plan';
import { CniServer, type NetworkSource } from '../../src/index.ts';

const [socketPath = '', stateDir = '', known] = process.argv.slice(2);
const networks: NetworkSource = {
  annotations: async () => ({}),
  definition: async (namespace, name) => {
    const all = known === undefined ? {} : (JSON.parse(readFileSync(known, 'utf8')) as Record<string, object>);
    const config = all[`${namespace}/${name}`];
    return config === undefined ? undefined : { namespace, name, config: JSON.stringify(config) };
  },
  attached: () => {},
  event: () => {},
};
const options = { socketPath, stateDir, log: silentLogger, metrics: new Metrics(), reuseDelayMs: 0 };
const server = new CniServer({ ...options, networks });
await server.start();
await server.flush();
process.on('message', (message) => {
  void (async () => {
    if (message === 'sweep') await server.sweep();
    if (message === 'flush' || message === 'sweep') await server.flush();
    if (Array.isArray(message)) await server.reconcile(message as { containerId: string; ifname: string }[]);
    process.send?.(server.attachments());
  })();
});
process.send?.('ready');
