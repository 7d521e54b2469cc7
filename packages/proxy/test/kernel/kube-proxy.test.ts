import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '@weft/apiserver';
import { KubeClient, resources } from '@weft/kube';
import { connectTcp, spawnInNetNs } from '@weft/kernel';
import { Metrics, silentLogger } from '@weft/plan';
import { IpvsKernel } from '../../src/ipvs/kernel.ts';
import { service, slice } from '../support/worlds.ts';
import { NODE_NAME, Stage } from './bench.ts';

/** kube-proxy as its users start it: a process of its own, in the node's namespace, with a file and an API server. */
describe('weft kube-proxy', () => {
  let stage: Stage;
  let api: ApiServer;
  let client: KubeClient;
  let directory: string;
  let file: string;
  let bundle: string;
  let log = '';
  const running: { stop(): Promise<number> }[] = [];

  function configure(more: string): void {
    writeFileSync(
      file,
      [
        'apiVersion: kubeproxy.config.k8s.io/v1alpha1',
        'kind: KubeProxyConfiguration',
        `hostnameOverride: ${NODE_NAME}`,
        'clusterCIDR: 10.244.0.0/16,fd00:244::/32',
        'nodePortAddresses: [primary]',
        'conntrack: {maxPerCore: 0}',
        'oomScoreAdj: 0',
        more,
        '',
      ].join('\n'),
    );
  }

  beforeAll(async () => {
    stage = await Stage.build();
    directory = mkdtempSync(path.join(tmpdir(), 'weft-kube-proxy-'));
    file = path.join(directory, 'config.conf');
    // Below node_modules, where the bundle finds koffi.
    const cache = path.join(import.meta.dirname, '../../../../node_modules/.cache/weft-proxy');
    mkdirSync(cache, { recursive: true });
    bundle = path.join(cache, `kube-proxy-${process.pid}.mjs`);
    await build({
      entryPoints: [path.join(import.meta.dirname, 'kube-proxy-process.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
      alias: { yaml: path.join(import.meta.dirname, '../../../../node_modules/yaml/browser/index.js') },
    });
    const unixPath = path.join(directory, 'api.sock');
    api = await startApiServer({
      dataDir: path.join(directory, 'data'),
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
    await client.create(resources.nodes, {
      metadata: { name: NODE_NAME },
      status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
    });
    await client.create(resources.services, service('web', { clusterIP: '10.96.0.80' }));
    await client.create(
      resources.endpointslices,
      slice('web-1', 'web', [{ address: stage.ep1.address, nodeName: NODE_NAME }]),
    );
  });

  afterAll(async () => {
    for (const process of running) await process.stop();
    client?.close();
    await api?.close();
    await stage?.close();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    if (bundle !== undefined) rmSync(bundle, { force: true });
  });

  function start(...args: string[]): { stop(): Promise<number>; readonly ended: Promise<number> } {
    const child = spawnInNetNs(
      stage.node.ns,
      process.execPath,
      [bundle, '--config', file, '--master', `unix://${directory}/api.sock`, ...args],
      {
        stdio: ['ignore', 'inherit', 'pipe'],
      },
    );
    child.stderr?.setEncoding('utf8').on('data', (text: string) => void (log += text));
    const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
    const handle = {
      ended,
      stop: () => {
        child.kill('SIGTERM');
        return ended;
      },
    };
    running.push(handle);
    return handle;
  }

  const ask = (): Promise<string[]> => stage.pod1.ask({ dst: '10.96.0.80', port: 80, timeout: 0.3 });
  const served = (): Promise<void> => expect.poll(ask, { timeout: 15_000 }).toEqual([`ep1 ${stage.pod1.address}`]);

  /** A request on the node, whose loopback has the ports. */
  async function get(port: number, what: string): Promise<{ status: number; body: string }> {
    const socket = new net.Socket({ fd: await connectTcp('127.0.0.1', port, stage.node.ns) });
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));
    socket.write(`GET ${what} HTTP/1.0\r\n\r\n`);
    await once(socket, 'end');
    const [head = '', body = ''] = text.split('\r\n\r\n');
    return { status: Number(head.split(' ')[1]), body };
  }

  it('serves Services, health, metrics and its configuration as kube-proxy does', async () => {
    configure('mode: iptables');
    const proxy = start();
    await served();
    expect(log).toMatch(/^I\d{4} .*\] "Using iptables Proxier"$/m);
    expect(await get(10_249, '/proxyMode')).toEqual({ status: 200, body: 'iptables' });
    expect(await get(10_249, '/healthz')).toEqual({ status: 200, body: 'ok' });
    expect((await get(10_249, '/nothing')).status).toBe(404);
    const configz = JSON.parse((await get(10_249, '/configz')).body) as Record<string, { mode: string }>;
    expect(configz['kubeproxy.config.k8s.io']?.mode).toBe('iptables');
    const healthz = await get(10_256, '/healthz');
    expect(healthz.status).toBe(200);
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC m=\+\d+\.\d{9}`;
    expect(healthz.body).toMatch(
      new RegExp(`^{"lastUpdated": "${time}","currentTime": "${time}", "nodeEligible": true}$`),
    );
    expect((await get(10_256, '/livez')).body).toMatch(
      new RegExp(`^{"lastUpdated": "${time}","currentTime": "${time}"}$`),
    );
    const metrics = (await get(10_249, '/metrics')).body;
    for (const name of [
      'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}',
      'kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="nat"}',
      'kubeproxy_sync_proxy_rules_endpoint_changes_total 1',
      'kubeproxy_proxy_healthz_total{code="200"} 1',
      'kubernetes_build_info{compiler="node",git_version="v1.2.3"',
      'process_resident_memory_bytes',
    ]) {
      expect(metrics).toContain(name);
    }
    expect(await proxy.stop()).toBe(0);
    // What it wrote stays.
    await served();
  });

  it('tells balancers to stay away from a node that goes, and says that it lives', async () => {
    const proxy = start();
    await served();
    await expect
      .poll(async () => (await get(10_256, '/healthz').catch(() => undefined))?.status, { timeout: 15_000 })
      .toBe(200);
    const node = await client.get(resources.nodes, undefined, NODE_NAME);
    const taint = { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' as const };
    await client.update(resources.nodes, { ...node, spec: { ...node.spec, taints: [taint] } });
    await expect.poll(async () => (await get(10_256, '/healthz')).status, { timeout: 5000 }).toBe(503);
    expect((await get(10_256, '/livez')).status).toBe(200);
    const again = await client.get(resources.nodes, undefined, NODE_NAME);
    await client.update(resources.nodes, { ...again, spec: { ...again.spec, taints: [] } });
    await expect.poll(async () => (await get(10_256, '/healthz')).status, { timeout: 5000 }).toBe(200);
    await proxy.stop();
  });

  it('changes its mode with the file while connections go on, and ends when anything else changes', async () => {
    const proxy = start();
    // The rules of the run before serve too: it is this process that has to have read its file.
    await expect
      .poll(
        () =>
          get(10_249, '/proxyMode').then(
            (r) => r.body,
            () => '',
          ),
        { timeout: 15_000 },
      )
      .toBe('iptables');
    await expect.poll(() => get(10_256, '/healthz').then((r) => r.status), { timeout: 15_000 }).toBe(200);
    await stage.pod1.hammer('load', { dst: '10.96.0.80', port: 80 });
    configure('mode: nftables');
    await expect.poll(() => get(10_249, '/proxyMode').then((r) => r.body), { timeout: 15_000 }).toBe('nftables');
    expect(Object.keys(await stage.pod1.stopHammer('load'))).toEqual([`ep1 ${stage.pod1.address}`]);
    expect(stage.onNode('iptables-legacy-save')).not.toContain('KUBE-');
    configure('mode: nonsense');
    await expect.poll(() => log, { timeout: 15_000 }).toContain('the changed configuration file is not used');
    expect((await get(10_249, '/proxyMode')).body).toBe('nftables');
    configure('mode: nftables\nmetricsBindAddress: 127.0.0.1:10299');
    expect(await proxy.ended).toBe(1);
    expect(log).toContain('metricsBindAddress');
    await served();
  });

  it('removes what a run in another mode has left', async () => {
    configure('mode: iptables');
    const proxy = start();
    await expect.poll(() => stage.onNode('nft', 'list', 'tables'), { timeout: 15_000 }).not.toContain('weft-services');
    await served();
    expect(await proxy.stop()).toBe(0);
  });

  it('carries connections itself in userspace mode, by ports of the range it is given', async () => {
    configure('mode: userspace\nportRange: 21000-21010');
    const proxy = start();
    const rules = (): string => ['legacy', 'nft'].map((variant) => stage.onNode(`iptables-${variant}-save`)).join('');
    const port = (): RegExpExecArray | null => /--to-destination 192\.168\.0\.1:(\d+)/.exec(rules());
    await expect.poll(() => Number(port()?.[1]), { timeout: 15_000 }).toBeGreaterThanOrEqual(21_000);
    await expect.poll(rules, { timeout: 15_000 }).not.toContain('KUBE-SERVICES');
    expect(await ask()).toEqual(['ep1 10.244.0.1']);
    expect(log).toMatch(/"Using userspace Proxier"$/m);
    expect((await get(10_249, '/proxyMode')).body).toBe('userspace');
    expect(await proxy.stop()).toBe(0);
    expect(port()).not.toBeNull();
  });

  it('removes every trace with --cleanup', async () => {
    const cleanup = start('--cleanup');
    expect(await cleanup.ended).toBe(0);
    expect(stage.onNode('nft', 'list', 'tables')).not.toContain('weft-services');
    for (const variant of ['legacy', 'nft']) expect(stage.onNode(`iptables-${variant}-save`)).not.toContain('KUBE-');
  });

  it('cannot start with a mode that is not here, and leaves nothing', async (test) => {
    const ipvs = await IpvsKernel.open(stage.node.ns).catch(() => undefined);
    ipvs?.close();
    test.skip(ipvs !== undefined, 'this kernel has IPVS');
    configure('mode: ipvs');
    expect(await start().ended).toBe(1);
    expect(log).toContain('needs IPVS, which this kernel does not have');
    expect(stage.onNode('nft', 'list', 'tables')).not.toContain('weft-services');
  });
});
