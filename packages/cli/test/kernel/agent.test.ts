// `weft agent` as the DaemonSet of deploy/network.yaml runs it: a machine of a cluster that has nothing of ours but this.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '@weft/apiserver';
import { CniRuntime, type RuntimeAttachment } from '@weft/cni';
import { NetNs, Rtnl } from '@weft/kernel';
import { addressDefinitions, addressResources, KubeClient, resources } from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';

const checkout = path.resolve(import.meta.dirname, '../../../..');
const ROUTER = '192.0.2.1';
let dir: string;
let server: ApiServer;
let client: KubeClient;
let node: NetNs;
let agent: ChildProcess;
let said = '';

function start(): void {
  const flags = {
    'node-name': 'n1',
    kubeconfig: path.join(dir, 'kubeconfig'),
    'cluster-cidr': '10.244.0.0/16',
    'conf-dir': path.join(dir, 'net.d'),
    'bin-dir': path.join(dir, 'bin'),
    socket: path.join(dir, 'run', 'cni.sock'),
    'state-dir': path.join(dir, 'state'),
    listen: '127.0.0.1:10266',
  };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const env = { ...process.env, WEFT_HOME: checkout };
  agent = spawn('nsenter', [`--net=${node.path}`, process.execPath, path.join(dir, 'weft.mjs'), 'agent', ...args], {
    env,
  });
  agent.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
}

async function stop(): Promise<void> {
  if (agent.exitCode !== null) return;
  const ended = once(agent, 'exit');
  agent.kill('SIGTERM');
  await ended;
}

const health = (): string =>
  spawnSync('nsenter', [`--net=${node.path}`, 'curl', '-s', '-m2', 'http://127.0.0.1:10266/readyz?verbose'], {
    encoding: 'utf8',
  }).stdout;

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'weft-agent-'));
  await build({
    entryPoints: [path.join(checkout, 'packages/cli/src/main.ts')],
    outfile: path.join(dir, 'weft.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi', 'bufferutil', 'utf-8-validate'],
    alias: { yaml: path.join(checkout, 'node_modules/yaml/browser/index.js') },
    banner: { js: "import { createRequire as __r } from 'node:module'; const require = __r(import.meta.url);" },
    logLevel: 'error',
  });
  spawnSync('ln', ['-s', path.join(checkout, 'node_modules'), path.join(dir, 'node_modules')]);
  node = NetNs.create(path.join(dir, 'node'));
  // The API server is beyond the node's wire, where real ones are.
  const own = NetNs.create(path.join(dir, 'api'));
  const [near, far] = [Rtnl.open(node), Rtnl.open(own)];
  await near.links.set('lo', { up: true });
  await near.links.add({ name: 'eth0', kind: 'veth', up: true, peer: { name: 'eth0', ns: own, up: true } });
  const indexOf = async (rtnl: Rtnl): Promise<number> => (await rtnl.links.get('eth0'))?.index ?? 0;
  await near.addresses.add({ index: await indexOf(near), address: '192.0.2.10/24' });
  await far.links.set('eth0', { up: true });
  await far.addresses.add({ index: await indexOf(far), address: `${ROUTER}/24` });
  await near.routes.add({ dst: 'default', family: 4, via: ROUTER });
  for (const rtnl of [near, far]) rtnl.close();
  own.close();
  const unixPath = path.join(dir, 'api.sock');
  server = await startApiServer({
    dataDir: path.join(dir, 'data'),
    listen: undefined,
    unixPath,
    serviceCidrs: ['10.96.0.0/16'],
    nodePortRange: [30_000, 32_767],
    clusterDomain: 'cluster.local',
    durability: 'none',
    log: silentLogger,
    metrics: new Metrics(),
  });
  client = new KubeClient({ transport: { kind: 'unix', path: unixPath } });
  for (const definition of addressDefinitions()) await client.create(resources.customresourcedefinitions, definition);
  const relay = [
    `import { createServer, connect } from 'node:net';`,
    `createServer((a) => { const b = connect(${JSON.stringify(unixPath)}); a.pipe(b).pipe(a); a.on('error', () => b.destroy()); b.on('error', () => a.destroy()); })`,
    `.listen(8001, '${ROUTER}', () => console.log('up'));`,
  ].join('\n');
  const door = spawn('nsenter', [
    `--net=${path.join(dir, 'api')}`,
    process.execPath,
    '--input-type=module',
    '-e',
    relay,
  ]);
  doors.push(door);
  await once(door.stdout, 'data');
  writeFileSync(
    path.join(dir, 'kubeconfig'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: `http://${ROUTER}:8001` } }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      users: [{ name: 'u', user: {} }],
      'current-context': 'c',
    }),
  );
  start();
}, 60_000);

const doors: ChildProcess[] = [];

afterAll(async () => {
  await stop();
  for (const door of doors) door.kill();
  client.close();
  await server.close();
  node.close();
  for (const name of readdirSync(dir).filter((file) => /^(node|api|pod\d)$/.test(file)))
    NetNs.remove(path.join(dir, name));
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

function pod(serial: number): RuntimeAttachment {
  const netns = path.join(dir, `pod${serial}`);
  NetNs.create(netns).close();
  return { containerId: `c${serial}`, ifname: 'eth0', netns };
}

it('connects pods of a node that the cluster knows, leaves Services alone, and is not needed for pods to run', {
  timeout: 90_000,
}, async () => {
  const runtime = new CniRuntime({
    confDir: path.join(dir, 'net.d'),
    binDirs: [path.join(dir, 'bin')],
    cacheDir: path.join(dir, 'cache'),
  });
  await expect.poll(() => health() || said, { timeout: 20_000 }).toContain('the agent is starting');
  expect(existsSync(path.join(dir, 'net.d', '10-weft.conflist'))).toBe(false);
  await client.create(resources.nodes, {
    metadata: { name: 'n1' },
    spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] },
  });
  const addresses = [{ type: 'InternalIP', address: '192.0.2.10' }];
  await client.patch(resources.nodes, undefined, 'n1', { status: { addresses } }, { subresource: 'status' });
  await expect.poll(() => existsSync(path.join(dir, 'net.d', '10-weft.conflist')), { timeout: 20_000 }).toBe(true);
  await expect.poll(health, { timeout: 20_000 }).toMatch(/\[\+\]network ok/);
  const list = await runtime.load();
  await runtime.status(list);
  const [a, b] = [pod(1), pod(2)];
  for (const one of [a, b]) await runtime.add(list, one);
  const ping = (): number | null =>
    spawnSync('nsenter', [`--net=${a.netns}`, 'ping', '-c1', '-W2', '10.244.1.3']).status;
  expect(ping()).toBe(0);
  const tables = spawnSync('nsenter', [`--net=${node.path}`, 'nft', 'list', 'tables'], { encoding: 'utf8' }).stdout;
  expect(tables).not.toContain('weft-proxy');
  await stop();
  expect(ping()).toBe(0);
  await runtime.del(list, b);
  start();
  await expect.poll(health, { timeout: 20_000 }).toMatch(/\[\+\]network ok/);
  await runtime.check(list, a);
  await client.create(addressResources.ippools, { metadata: { name: 'p' }, spec: { cidr: '10.77.0.0/16' } });
  await runtime.del(list, a);
  expect(readFileSync(path.join(dir, 'net.d', '10-weft.conflist'), 'utf8')).toContain('10.244.1.0/24');
});
