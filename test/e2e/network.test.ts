// Packets between pods, nodes and Services, for every way that nodes are joined.
import http from 'node:http';
import os from 'node:os';
import { beforeAll, describe, expect, it } from 'vitest';
import type { FabricStatus } from '@weft/fabric';
import { type Cluster, useCluster } from './support/cluster.ts';
import { mustMatch, until } from './support/run.ts';
import { type Echo, httpFrom, populate, type ReadyPods, service, udpFrom } from './support/workloads.ts';

const json = (text: string): Echo => JSON.parse(text) as Echo;

/** HTTP from a node, with the host's own program. */
async function httpFromNode(cluster: Cluster, node: string, url: string): Promise<Echo> {
  return json(
    (await cluster.node(node, ['timeout', '5', 'busybox', 'wget', '-qO-', url], { timeoutMs: 15_000 })).stdout,
  );
}

/** This machine's first address that is not a loopback's. */
function outsideAddress(): string | undefined {
  return Object.entries(os.networkInterfaces())
    .filter(([name]) => !name.startsWith('weft-'))
    .flatMap(([, addresses]) => addresses ?? [])
    .find((a) => a.family === 'IPv4' && !a.internal)?.address;
}

const NETWORKS = [
  { name: 'vx', mtu: 1450, flags: ['--backend', 'vxlan', '--no-demo'] },
  { name: 'gw', mtu: 1500, flags: ['--backend', 'host-gw', '--no-demo'] },
  { name: 'l2', mtu: 1500, flags: ['--backend', 'l2', '--no-demo'] },
  { name: 'udp', mtu: 1472, flags: ['--backend', 'udp', '--no-demo'] },
  { name: 'two', mtu: 1450, flags: ['--backend', 'vxlan', '--subnets', '2', '--no-demo'] },
];

describe.each(NETWORKS)('$flags', ({ name, mtu: expected, flags }) => {
  const cluster = useCluster({ name, flags });
  let echo: ReadyPods;
  let boxes: ReadyPods;

  beforeAll(async () => {
    ({ echo, boxes } = await populate(cluster));
  });

  it('gives every pod an address of its node, once', async () => {
    const report = await cluster.status();
    const all = await cluster.json<{
      items: { status: { podIP: string; hostIP: string }; spec: { nodeName: string; hostNetwork?: boolean } }[];
    }>(['get', 'pods', '-A']);
    const ips = all.items.filter((p) => p.spec.hostNetwork !== true).map((p) => p.status.podIP);
    expect(new Set(ips).size, ips.join(' ')).toBe(ips.length);
    for (const { spec, status } of all.items) {
      const node = report.nodes.find((n) => n.name === spec.nodeName);
      expect(status.hostIP).toBe(node?.address);
      expect(
        status.podIP.startsWith(node?.podCidr.replace(/\d+\/24$/, '') ?? '?'),
        `${status.podIP} of ${node?.podCidr}`,
      ).toBe(true);
    }
  });

  it('lets every pod reach every pod, which sees the address of the other', async () => {
    await Promise.all(
      boxes.flatMap((from) =>
        echo.map(async (to) => {
          const seen = await httpFrom(cluster, from.metadata.name, `http://${to.ip}:8080/`);
          expect(seen, `${from.metadata.name} -> ${to.metadata.name}`).toMatchObject({
            pod: to.metadata.name,
            remote: from.ip,
            local: to.ip,
          });
        }),
      ),
    );
  });

  it('carries packets of every size that the link takes, and larger ones in fragments', async () => {
    const [from] = boxes;
    const far = echo.at(-1);
    if (from === undefined || far === undefined) throw new Error('no pods');
    const mtu = Number(await cluster.ask(['exec', from.metadata.name, '--', 'cat', '/sys/class/net/eth0/mtu']));
    expect(mtu).toBe(expected);
    for (const size of [56, mtu - 28, mtu - 27, 4000]) {
      const ran = await cluster.kubectl([
        'exec',
        from.metadata.name,
        '--',
        'ping',
        '-c',
        '1',
        '-W',
        '3',
        '-s',
        String(size),
        far.ip,
      ]);
      mustMatch(ran, /1 packets received/);
    }
  });

  it('lets every node reach every pod, and pods reach nodes', async () => {
    await Promise.all(
      ['n1', 'n2', 'n3'].flatMap((node) =>
        echo.map(async (to) =>
          expect((await httpFromNode(cluster, node, `http://${to.ip}:8080/`)).pod).toBe(to.metadata.name),
        ),
      ),
    );
    for (const node of ['n1', 'n2', 'n3']) {
      mustMatch(
        await cluster.kubectl(['exec', 'box-n1', '--', 'ping', '-c', '1', '-W', '3', cluster.nodeAddress(node)]),
        /1 packets received/,
      );
    }
  });

  it('lets this machine reach pods and Services', async () => {
    const ip = await cluster.ask(['get', 'svc', 'echo', '-o', 'jsonpath={.spec.clusterIP}']);
    for (const target of [`${echo[2]?.ip}:8080`, `${ip}:80`]) {
      const reply = await fetch(`http://${target}/`, { signal: AbortSignal.timeout(5_000) });
      expect(((await reply.json()) as Echo).pod).toMatch(/^echo-/);
    }
  });

  it('shows a pod the address that others see', async () => {
    for (const { metadata, ip } of boxes) {
      mustMatch(
        await cluster.kubectl(['exec', metadata.name, '--', 'ip', '-4', 'addr', 'show', 'eth0']),
        new RegExp(`inet ${ip.replaceAll('.', '\\.')}/`),
      );
      expect(await cluster.ask(['exec', metadata.name, '--', 'hostname', '-i'])).toBe(ip);
    }
  });

  it('tells how each node reaches the pods of the others', async () => {
    const told = JSON.parse(
      (await cluster.weft(['fabric', 'status', '--name', cluster.name, '-o', 'json'])).stdout,
    ) as FabricStatus[];
    const report = await cluster.status();
    expect(told.map((one) => [one.node, one.podMtu, one.problems, one.drift.repaired])).toEqual(
      report.nodes.map((node) => [node.name, expected, [], 0]),
    );
    for (const one of told) {
      expect(one.peers.map((peer) => [peer.node, peer.routes.map(({ dst }) => dst)])).toEqual(
        report.nodes.filter((node) => node.name !== one.node).map((node) => [node.name, [node.podCidr]]),
      );
    }
    const [from, to] = [echo[0], echo.find((one) => one.spec.nodeName !== echo[0]?.spec.nodeName)];
    const way = JSON.parse(
      (
        await cluster.weft([
          'route',
          from?.metadata.name ?? '',
          to?.metadata.name ?? '',
          '--name',
          cluster.name,
          '-o',
          'json',
        ])
      ).stdout,
    ) as { steps: { node: string; object?: string }[]; smallestMtu: number; problem?: string };
    expect(way.problem).toBeUndefined();
    expect(way.smallestMtu).toBe(expected);
    expect(way.steps[0]).toMatchObject({ node: from?.spec.nodeName });
    expect(way.steps.at(-1)).toMatchObject({ node: to?.spec.nodeName, object: `Pod default/${to?.metadata.name}` });
    expect(way.steps.every(({ object }) => object !== undefined)).toBe(true);
    const [first] = report.nodes;
    const text = await cluster.weft(['fabric', 'status', '--name', cluster.name, '--node', first?.name ?? '']);
    mustMatch(text, /^n1: \S+, pods have MTU \d+$/m);
  });

  it('spreads a Service over its pods, keeping the address of the client', async () => {
    const ip = await cluster.ask(['get', 'svc', 'echo', '-o', 'jsonpath={.spec.clusterIP}']);
    for (const from of boxes) {
      const answered = new Set<string>();
      await until(
        'an answer of every pod',
        async () => {
          const seen = await httpFrom(cluster, from.metadata.name, `http://${ip}/`);
          expect(seen.remote).toBe(from.ip);
          answered.add(seen.pod);
          return answered.size === echo.length;
        },
        { everyMs: 0 },
      );
    }
  });

  it('answers UDP Services', async () => {
    const ip = await cluster.ask(['get', 'svc', 'echo', '-o', 'jsonpath={.spec.clusterIP}']);
    const [from] = echo;
    expect((await udpFrom(cluster, from?.metadata.name ?? '', ip, 81)).pod).toMatch(/^echo-/);
  });

  it('opens node ports on every node, for nodes, pods and this machine', async () => {
    await cluster.apply(
      service('door', { type: 'NodePort', selector: { app: 'echo' }, ports: [{ port: 80, targetPort: 8080 }] }),
    );
    const port = await cluster.ask(['get', 'svc', 'door', '-o', 'jsonpath={.spec.ports[0].nodePort}']);
    for (const node of ['n1', 'n2', 'n3']) {
      const url = `http://${cluster.nodeAddress(node)}:${port}/`;
      await until(`a reply at ${url}`, async () => (await httpFromNode(cluster, 'n1', url)).pod.startsWith('echo-'));
      expect((await httpFrom(cluster, 'box-n2', url)).pod).toMatch(/^echo-/);
      const reply = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      expect(((await reply.json()) as Echo).pod).toMatch(/^echo-/);
    }
  });

  it('reaches the API at the kubernetes Service, as a client inside a pod does', async () => {
    const script = `
const fs = require('fs'), dir = '/var/run/secrets/kubernetes.io/serviceaccount/';
const options = { host: process.env.KUBERNETES_SERVICE_HOST, port: process.env.KUBERNETES_SERVICE_PORT, path: '/version',
  ca: fs.readFileSync(dir + 'ca.crt'), headers: { authorization: 'Bearer ' + fs.readFileSync(dir + 'token', 'utf8') } };
require('https').get(options, (r) => r.pipe(process.stdout)).on('error', (e) => { console.log(e.message); process.exit(1); });`;
    for (const { metadata } of echo) {
      const ran = await cluster.kubectl(['exec', metadata.name, '--', '/usr/local/bin/node', '-e', script]);
      mustMatch(ran, /"gitVersion": ?"v1\.\d+/);
    }
  });

  it('lets pods reach outside under an address of this machine', async (context) => {
    const address = outsideAddress();
    if (address === undefined) return context.skip('this machine has no address besides the loopback');
    const server = http.createServer((request, response) =>
      response.end(JSON.stringify({ pod: 'outside', remote: request.socket.remoteAddress })),
    );
    await new Promise<void>((resolve) => {
      server.listen(0, address, resolve);
    });
    try {
      const { port } = server.address() as { port: number };
      for (const from of boxes) {
        const seen = await httpFrom(cluster, from.metadata.name, `http://${address}:${port}/`);
        expect(seen.pod).toBe('outside');
        expect(boxes.map((b) => b.ip)).not.toContain(seen.remote);
      }
    } finally {
      server.close();
    }
  });

  it('resolves names of Services in every pod, and of the outside where there is one', async () => {
    const ip = await cluster.ask(['get', 'svc', 'echo', '-o', 'jsonpath={.spec.clusterIP}']);
    for (const from of boxes) {
      const ran = await cluster.kubectl([
        'exec',
        from.metadata.name,
        '--',
        'nslookup',
        'echo.default.svc.cluster.local',
      ]);
      mustMatch(ran, new RegExp(`Address: ${ip.replaceAll('.', '\\.')}\n`));
      expect((await httpFrom(cluster, from.metadata.name, 'http://echo/')).pod).toMatch(/^echo-/);
    }
  });
});
