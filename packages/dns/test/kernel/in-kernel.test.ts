// Answers in the kernel: the same bytes as the server's, and none where there must be none.
import { createSocket, type Socket } from 'node:dgram';
import { execFileSync } from 'node:child_process';
import { countRuns, NetNs, Rtnl } from '@weft/kernel';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, startDns } from '../../src/index.ts';
import { exchangeUdp, question } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';

const SERVER = '192.0.2.1';
const CLIENT = '192.0.2.2';
const SENTINEL = 'web.demo.svc.cluster.local';
const COREFILE = `.:0 {
  errors
  kubernetes cluster.local in-addr.arpa { 
    pods insecure
  }
  prometheus 127.0.0.1:0
  loadbalance
}
other.example:0 {
  hosts {
    192.0.2.77 other.example
  }
}
`;

let serverNs: NetNs;
let clientNs: NetNs;
let server: DnsServer;
let port: number;
let api: FakeApi;
let client: Socket;
let stopCounting: () => void;
const received: Buffer[] = [];
let wake = (): void => {};

beforeAll(async () => {
  serverNs = NetNs.anonymous();
  clientNs = NetNs.anonymous();
  const rt = Rtnl.open(serverNs);
  await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', ns: clientNs, up: true } });
  rt.close();
  for (const [ns, link, address] of [
    [serverNs, 'v0', SERVER],
    [clientNs, 'v1', CLIENT],
  ] as const) {
    ns.run(() => execFileSync('ip', ['addr', 'add', `${address}/24`, 'dev', link]));
  }
  api = new FakeApi();
  api.put('namespaces', namespace('default'), namespace('demo'));
  api.put(
    'services',
    service('default/kubernetes', { clusterIPs: ['10.96.0.1'], ports: [{ name: 'https', port: 443 }] }),
    service('demo/web', { clusterIPs: ['10.96.10.20', 'fd00::20'], ports: [{ name: 'http', port: 80 }] }),
    service('demo/headless', { ports: [{ name: 'http', port: 80 }] }),
    service('demo/alias', { externalName: 'web.demo.svc.cluster.local' }),
    service('lost/web', { clusterIPs: ['10.96.10.99'], ports: [{ name: 'http', port: 80 }] }),
  );
  api.put(
    'endpointslices',
    slice(
      'demo/headless',
      [
        { ip: '10.244.1.5', hostname: 'a' },
        { ip: '10.244.2.6', hostname: 'b' },
      ],
      [{ name: 'http', port: 80 }],
    ),
  );
  // The server itself listens in this process's namespace: what the kernel leaves to it finds nobody.
  server = await startDns({
    corefile: { text: COREFILE },
    kube: api,
    hosts: ['127.0.0.1'],
    inKernel: { link: 'v0', ns: serverNs },
  });
  port = server.addresses[0]?.port ?? 0;
  stopCounting = countRuns();
  // Bound at once, while this thread is in the namespace.
  client = createSocket({ type: 'udp4', lookup: (address, _, done) => done(null, address, 4) });
  client.on('message', (message) => {
    received.push(message);
    wake();
  });
  client.on('error', () => {});
  // A socket stays in the namespace that it was made in.
  await new Promise<void>((resolve) => {
    clientNs.run(() => client.bind({ address: CLIENT, port: 0, exclusive: true }, resolve));
  });
});

afterAll(async () => {
  client.close();
  stopCounting();
  await server.close();
  serverNs.close();
  clientNs.close();
});

/** The answer to an id, or undefined when the answer to a later query, known to be answered, comes first. */
async function fromKernel(packet: Uint8Array): Promise<Buffer | undefined> {
  const sentinel = Buffer.from(question(SENTINEL, 'A'));
  const id = (packet[0] as number) * 256 + (packet[1] as number);
  sentinel.writeUInt16BE(id ^ 0xffff, 0);
  received.length = 0;
  client.send(packet, port, SERVER);
  client.send(sentinel, port, SERVER);
  for (;;) {
    const last = received.find((message) => message.readUInt16BE(0) === (id ^ 0xffff));
    if (last !== undefined) return received.find((message) => message !== last);
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

async function eventually(packet: Uint8Array, expected: boolean): Promise<Buffer | undefined> {
  for (;;) {
    const answer = await fromKernel(packet);
    if ((answer !== undefined) === expected) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const fromServer = (packet: Uint8Array): Promise<Buffer | undefined> => exchangeUdp(port, packet);

const NAMES = [
  'web.demo.svc.cluster.local',
  'kubernetes.default.svc.cluster.local',
  'nothing.demo.svc.cluster.local',
  'www.example.com.default.svc.cluster.local',
  'demo.svc.cluster.local',
  'headless.demo.svc.cluster.local',
  'a.headless.demo.svc.cluster.local',
  'alias.demo.svc.cluster.local',
  'web.lost.svc.cluster.local',
  '10-0-0-1.demo.pod.cluster.local',
  'cluster.local',
  'other.example',
  'unknown.example',
  '20.10.96.10.in-addr.arpa',
  `${'x'.repeat(60)}.demo.svc.cluster.local`,
];

const arbitrary = fc.record({
  name: fc.constantFrom(...NAMES),
  upper: fc.oneof(fc.constant([]), fc.array(fc.nat(80), { maxLength: 4 })),
  type: fc.constantFrom('A', 'A', 'A', 'AAAA', 'AAAA', 'SRV', 'TXT', 'HTTPS', 'PTR'),
  flags: fc.constantFrom(0x0100, 0x0100, 0, 0x0100, 0x0120, 0x0110, 0x0130, 0x2800, 0x7900),
  edns: fc.constantFrom(
    undefined,
    undefined,
    { udpSize: 1232 },
    { udpSize: 0 },
    { udpSize: 65535 },
    { udpSize: 1232, flags: 0x8000 },
    { udpSize: 4096, options: Uint8Array.of(0, 3, 0, 0) },
  ),
  class: fc.constantFrom(1, 1, 1, 3, 255),
});

function packetOf(spec: typeof arbitrary extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const { edns, flags, name, type } = spec;
  const packet = Buffer.from(
    question(name, type, { flags, class: spec.class, ...(edns === undefined ? {} : { edns }) }),
  );
  for (const at of spec.upper) {
    const i = 12 + (at % (name.length + 1));
    const byte = packet[i] as number;
    if (byte >= 97 && byte <= 122) packet[i] = byte - 32;
  }
  return packet;
}

describe('answers in the kernel', () => {
  it('are those of the server, byte for byte, for whatever is asked', async () => {
    // All that can be learned has been asked for, and is there when the last of it is.
    for (const name of NAMES) for (const type of ['A', 'AAAA']) await fromKernel(question(name, type));
    await eventually(question('cluster.local', 'AAAA'), true);
    let answered = 0;
    let asked = 0;
    await fc.assert(
      fc.asyncProperty(arbitrary, async (spec) => {
        const packet = packetOf(spec);
        asked += 1;
        packet.writeUInt16BE(asked & 0x7fff, 0);
        const kernel = await fromKernel(packet);
        if (kernel === undefined) return;
        answered += 1;
        expect(kernel.toString('hex')).toBe((await fromServer(packet))?.toString('hex'));
      }),
      { numRuns: 1500 },
    );
    expect(answered).toBeGreaterThan(asked / 20);
  });

  it.each([
    ['web.demo.svc.cluster.local', 'A'],
    ['web.demo.svc.cluster.local', 'AAAA'],
    ['WEB.Demo.svc.CLUSTER.local', 'A'],
    ['kubernetes.default.svc.cluster.local', 'A'],
  ])('are there from the start: %s %s', async (name, type) => {
    for (const edns of [undefined, { udpSize: 1232 }]) {
      const packet = question(name, type, edns === undefined ? {} : { edns });
      const answer = await fromKernel(packet);
      expect(answer?.toString('hex')).toBe((await fromServer(packet))?.toString('hex'));
      expect(answer?.readUInt16BE(6)).toBe(1);
    }
  });

  it.each([
    ['nothing.demo.svc.cluster.local', 'A', 3],
    ['www.example.com.cluster.local', 'AAAA', 3],
    ['kubernetes.default.svc.cluster.local', 'AAAA', 0],
  ])('to names without records are learned: %s %s', async (name, type, rcode) => {
    const packet = question(name, type);
    const answer = await eventually(packet, true);
    expect(answer?.toString('hex')).toBe((await fromServer(packet))?.toString('hex'));
    expect((answer?.[3] ?? 0) & 15).toBe(rcode);
  });

  it.each([
    ['headless.demo.svc.cluster.local', 'A'],
    ['alias.demo.svc.cluster.local', 'A'],
    ['other.example', 'A'],
    ['web.demo.svc.cluster.local', 'SRV'],
  ])('are left to the server: %s %s', async (name, type) => {
    for (let i = 0; i < 5; i++) {
      expect(await fromKernel(question(name, type))).toBeUndefined();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  });

  it('follow the cluster: no old address, no NXDOMAIN for what is there now', async () => {
    const packet = question('fresh.demo.svc.cluster.local', 'A');
    expect(((await eventually(packet, true))?.[3] ?? 0) & 15).toBe(3);
    api.put('services', service('demo/fresh', { clusterIPs: ['10.96.10.30'], ports: [{ name: 'http', port: 80 }] }));
    let answer = await fromKernel(packet);
    while (answer === undefined || ((answer[3] as number) & 15) === 3) answer = await fromKernel(packet);
    expect([...answer.subarray(-4)]).toEqual([10, 96, 10, 30]);
    api.remove('services', 'demo/fresh');
    while (answer === undefined || ((answer[3] as number) & 15) !== 3) answer = await fromKernel(packet);
    expect(answer.toString('hex')).toBe((await fromServer(packet))?.toString('hex'));
  });

  it('are counted with those of the server', async () => {
    const read = (metric: RegExp): number => Number(metric.exec(server.renderMetrics())?.[1] ?? 0);
    const requests = /^coredns_dns_requests_total\{.*proto="udp",family="1",type="A"\} (\d+)$/m;
    const responses = /^coredns_dns_responses_total\{.*rcode="NOERROR",plugin="kubernetes"\} (\d+)$/m;
    const sizes = /^coredns_dns_response_size_bytes_count\{.*proto="udp"\} (\d+)$/m;
    const own = /^weft_dns_in_kernel_answers_total\{type="A",rcode="NOERROR"\} (\d+)$/m;
    const before = [requests, responses, sizes, own].map(read);
    for (let i = 0; i < 10; i++) await fromKernel(question(SENTINEL, 'A'));
    // Each with its sentinel.
    expect([requests, responses, sizes, own].map(read)).toEqual(before.map((n) => n + 20));
    expect(server.inKernelStats?.runs).toBeGreaterThan(0);
  });

  it('stop while somebody looks at the queries', async () => {
    const stop = server.watch({ finished: () => {} });
    received.length = 0;
    const hidden = Buffer.from(question(SENTINEL, 'A'));
    await new Promise<void>((resolve) => {
      client.send(hidden, port, SERVER, () => resolve());
    });
    stop();
    const shown = Buffer.from(hidden);
    shown.writeUInt16BE(1, 0);
    client.send(shown, port, SERVER);
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
    expect(received.map((message) => message.readUInt16BE(0))).toEqual([1]);
  });

  it('are refused by name where they cannot be', async () => {
    const start = (): Promise<DnsServer> =>
      startDns({
        corefile: { text: '.:0 {\n whoami\n}\n' },
        hosts: ['127.0.0.1'],
        inKernel: { link: 'nothing', ns: serverNs },
      });
    await expect(start()).rejects.toMatchObject({ code: 'DNS_IN_KERNEL' });
  });
});
