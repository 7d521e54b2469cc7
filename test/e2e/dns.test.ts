// Cluster DNS as its users meet it: the manifest for real clusters, and the resolv.conf of every kind of pod.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { checkout, supportFile } from './support/environment.ts';
import { mustMatch, until } from './support/run.ts';
import { box, NODE_IMAGE, pod, pods, programs, service, waitReady } from './support/workloads.ts';

const cluster = useCluster({ name: 'dns', flags: ['--no-demo'] });

interface Load {
  readonly sent: number;
  readonly answered: number;
  readonly retried: number;
  readonly lost: number;
  readonly wrong: number;
  readonly seconds: number;
}

/** What a cluster's DNS may be asked by many clients, and how many sockets they have. */
const BUSY = { rate: 20_000, sockets: 4000 } as const;

/** Lets a pod of node n1 ask all the time while `work` is done. */
async function underLoad(work: () => Promise<void>, rate = 500, sockets = 0): Promise<Load> {
  const program = ['/usr/local/bin/node', '/programs/dns-load.mjs', cluster.dnsIp, String(rate)];
  const name = 'kubernetes.default.svc.cluster.local';
  const argv = ['exec', '-i', 'asker', '--', ...program, name, String(sockets)];
  const client = cluster.background(cluster.kubectlArgv(argv));
  await client.waitFor(/asking/);
  await work();
  client.closeInput();
  const [text] = await client.waitFor(/^\{.*\}$/m);
  const load = JSON.parse(text) as Load;
  return load;
}

/** Replaces every pod of cluster DNS, and waits until the old ones have gone. */
async function replaceDns(): Promise<void> {
  const before = (await pods(cluster, 'k8s-app=kube-dns', 'kube-system')).map((p) => p.metadata.name);
  await cluster.kubectl(['-n', 'kube-system', 'rollout', 'restart', 'deployment/coredns']);
  await cluster.kubectl(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=60s'], {
    timeoutMs: 65_000,
  });
  await until('the old pods gone', async () =>
    (await pods(cluster, 'k8s-app=kube-dns', 'kube-system')).every((p) => !before.includes(p.metadata.name)),
  );
}

beforeAll(async () => {
  const idle = ['-e', 'setInterval(() => {}, 1e6)'];
  await cluster.apply([
    programs(),
    pod(
      'asker',
      {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'main',
            image: NODE_IMAGE,
            command: ['/usr/local/bin/node', ...idle],
            volumeMounts: [{ name: 'programs', mountPath: '/programs' }],
          },
        ],
        volumes: [{ name: 'programs', configMap: { name: 'test-programs' } }],
      },
      { node: 'n1' },
    ),
  ]);
  await waitReady(cluster, 'asker');
});

describe('deploy/dns.yaml', () => {
  it('replacing the only pod loses nothing that a retry does not cover', async () => {
    const load = await underLoad(replaceDns);
    expect(load.sent).toBeGreaterThan(1000);
    expect(load).toMatchObject({ answered: load.sent, lost: 0, wrong: 0 });
  });

  it('replacing the only pod under 20,000 queries a second loses nothing that a retry does not cover', async () => {
    const load = await underLoad(replaceDns, BUSY.rate, BUSY.sockets);
    expect(load).toMatchObject({ answered: load.sent, lost: 0, wrong: 0 });
    expect(load.sent).toBeGreaterThan(20_000);
  });

  it('is applied by stock kubectl over what is there', async () => {
    await cluster.kubectl(['apply', '-f', path.join(checkout, 'deploy/dns.yaml')]);
    await cluster.kubectl(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    const ip = await cluster.ask(['-n', 'kube-system', 'get', 'svc', 'kube-dns', '-o', 'jsonpath={.spec.clusterIP}']);
    expect(ip).toBe(cluster.dnsIp);
    const found = await until('two pods', async () => {
      const now = (await pods(cluster, 'k8s-app=kube-dns', 'kube-system')).filter(
        (p) => p.metadata.deletionTimestamp === undefined,
      );
      return now.length === 2 ? now : undefined;
    });
    expect(new Set(found.map((p) => p.spec.nodeName)).size).toBe(2);
  });

  it('replacing two pods loses nothing, and answers no query late', async () => {
    const load = await underLoad(replaceDns);
    expect(load.sent).toBeGreaterThan(1000);
    expect(load).toMatchObject({ answered: load.sent, retried: 0, lost: 0, wrong: 0 });
  });

  it('replacing two pods under 20,000 queries a second loses nothing, and answers no query late', async () => {
    const load = await underLoad(replaceDns, BUSY.rate, BUSY.sockets);
    expect(load).toMatchObject({ answered: load.sent, retried: 0, lost: 0, wrong: 0 });
    expect(load.sent).toBeGreaterThan(20_000);
  });

  it('serves metrics on the port that the Service names', async () => {
    const text = (await cluster.node('n1', ['busybox', 'wget', '-qO-', `http://${cluster.dnsIp}:9153/metrics`])).stdout;
    expect(text).toMatch(/^coredns_dns_requests_total\{.*\} \d+$/m);
  });
});

describe('resolv.conf', () => {
  const POLICIES = {
    first: {},
    'host-first': { hostNetwork: true, dnsPolicy: 'ClusterFirst' },
    'host-cluster': { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
    default: { dnsPolicy: 'Default' },
    none: {
      dnsPolicy: 'None',
      dnsConfig: {
        nameservers: ['203.0.113.1'],
        searches: ['corp.example'],
        options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
      },
    },
    amended: {
      dnsConfig: {
        nameservers: ['203.0.113.1', '203.0.113.2', '203.0.113.3'],
        searches: ['corp.example', 'svc.cluster.local'],
        options: [{ name: 'ndots', value: '2' }],
      },
    },
  };

  beforeAll(async () => {
    await cluster.apply(Object.entries(POLICIES).map(([name, spec]) => box(name, { node: 'n1', spec: { ...spec } })));
    await waitReady(cluster, ...Object.keys(POLICIES));
  });

  const conf = async (name: string): Promise<string> =>
    (await cluster.kubectl(['exec', name, '--', 'cat', '/etc/resolv.conf'])).stdout;

  it('asks the cluster first, but not from the host network unless it is told to', async () => {
    const ours = /^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local\b/m;
    for (const name of ['first', 'host-cluster']) {
      expect(await conf(name)).toMatch(ours);
      expect(await conf(name)).toContain(`nameserver ${cluster.dnsIp}\noptions ndots:5\n`);
    }
    for (const name of ['host-first', 'default']) {
      expect(await conf(name)).not.toMatch(ours);
      expect(await conf(name)).not.toContain(cluster.dnsIp);
    }
    expect(await conf('host-first')).toBe(await conf('default'));
  });

  it('holds what dnsConfig says, alone or after the cluster, within the limits', async () => {
    expect(await conf('none')).toBe('search corp.example\nnameserver 203.0.113.1\noptions ndots:2 edns0\n');
    const amended = await conf('amended');
    expect(amended).toMatch(
      /^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local\b.* corp\.example$/m,
    );
    expect(amended).toContain(
      `nameserver ${cluster.dnsIp}\nnameserver 203.0.113.1\nnameserver 203.0.113.2\noptions ndots:2\n`,
    );
    const events = await until('the warning about the limit', async () => {
      const { stdout } = await cluster.kubectl(['get', 'events', '--field-selector', 'involvedObject.name=amended']);
      return stdout.includes('DNSConfigForming') ? stdout : undefined;
    });
    expect(events).toContain('Nameserver limits were exceeded');
  });
});

describe('resolvers', () => {
  const answers: Record<string, string> = {};

  beforeAll(async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-musl-'));
    try {
      const file = path.join(folder, 'lookup');
      execFileSync('musl-gcc', ['-static', '-Os', '-s', '-o', file, supportFile('programs/lookup.c')]);
      await cluster.apply([
        {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: 'musl' },
          binaryData: { lookup: readFileSync(file).toString('base64') },
        },
        service('target', { selector: { app: 'none' }, ports: [{ port: 80 }] }),
        service('outside', { type: 'ExternalName', externalName: 'target.default.svc.cluster.local' }),
        box('musl', {
          spec: {
            containers: [
              {
                name: 'box',
                image: 'busybox',
                imagePullPolicy: 'IfNotPresent',
                command: ['sleep', '86400'],
                volumeMounts: [{ name: 'bin', mountPath: '/musl' }],
              },
            ],
            volumes: [{ name: 'bin', configMap: { name: 'musl', defaultMode: 0o755 } }],
          },
        }),
        pod('glibc', {
          terminationGracePeriodSeconds: 0,
          containers: [
            { name: 'main', image: NODE_IMAGE, command: ['/usr/local/bin/node', '-e', 'setInterval(() => {}, 1e6)'] },
          ],
        }),
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
    await waitReady(cluster, 'musl', 'glibc');
    const ip = await cluster.ask(['get', 'svc', 'target', '-o', 'jsonpath={.spec.clusterIP}']);
    const api = await cluster.ask(['get', 'svc', 'kubernetes', '-o', 'jsonpath={.spec.clusterIP}']);
    Object.assign(answers, {
      target: ip,
      'target.default': ip,
      'target.default.svc': ip,
      'target.default.svc.cluster.local': ip,
      'TARGET.default.svc.cluster.local.': ip,
      outside: ip,
      'kubernetes.default': api,
      'kube-dns.kube-system': cluster.dnsIp,
    });
  });

  it.each([
    ['musl', ['/musl/lookup']],
    [
      'glibc',
      [
        '/usr/local/bin/node',
        '-e',
        'require("dns").lookup(process.argv[1], (e, a) => { console.log(e ? e.code : a); process.exitCode = e ? 1 : 0; })',
      ],
    ],
  ])('of %s find names by the search path', async (name, command) => {
    for (const [asked, ip] of Object.entries(answers)) {
      const ran = await cluster.kubectl(['exec', name, '--', ...command, asked]);
      expect(ran.stdout.trim(), asked).toBe(ip);
    }
    const missing = await cluster.kubectl(['exec', name, '--', ...command, 'nothing'], { check: false });
    mustMatch(missing, /ENOTFOUND|does not/);
  });
});

describe('weft dns', () => {
  interface Query {
    readonly found: boolean;
    readonly from: { readonly pod: string };
    readonly queries: readonly {
      readonly name: string;
      readonly rcode: string;
      readonly plugin: string;
      readonly objects: readonly { readonly kind: string; readonly namespace: string; readonly name: string }[];
    }[];
  }

  const query = async (args: readonly string[]): Promise<Query> =>
    JSON.parse(
      (await cluster.weft(['dns', 'query', '--name', cluster.name, '-o', 'json', ...args], { check: false })).stdout,
    ) as Query;

  it("query asks what a pod's resolver asks, and tells the objects behind the answer", async () => {
    const { found, from, queries } = await query(['--from', 'default/musl', 'kube-dns.kube-system']);
    expect([found, from.pod]).toEqual([true, 'default/musl']);
    expect(queries.map((q) => [q.name, q.rcode, q.plugin])).toEqual([
      ['kube-dns.kube-system.default.svc.cluster.local.', 'NXDOMAIN', 'kubernetes'],
      ['kube-dns.kube-system.svc.cluster.local.', 'NOERROR', 'kubernetes'],
    ]);
    expect(queries[1]?.objects[0]).toMatchObject({ kind: 'Service', namespace: 'kube-system', name: 'kube-dns' });
    expect(queries[1]?.objects.slice(1).map((o) => o.kind)).toEqual(['EndpointSlice', 'EndpointSlice']);
    const text = (await cluster.weft(['dns', 'query', '--name', cluster.name, 'kubernetes'])).stdout;
    expect(text).toContain('from Service default/kubernetes');
  });

  it('top tells who asks what, and what the search path costs', async () => {
    const top = cluster.background([
      cluster.command,
      'dns',
      'top',
      '--name',
      cluster.name,
      '--for',
      '4s',
      '-o',
      'json',
    ]);
    while (top.running) {
      await cluster.kubectl(['exec', 'musl', '--', '/musl/lookup', 'target.default'], { check: false });
    }
    const report = JSON.parse(/^\{[\s\S]*^\}$/m.exec(top.output)?.[0] ?? '{}') as {
      names: { name: string }[];
      clients: { pod?: string; search: number }[];
      suffixes: { suffix: string }[];
    };
    expect(report.names.map((n) => n.name)).toContain('target.default.svc.cluster.local.');
    expect(report.clients.find((c) => c.pod === 'default/musl')?.search).toBeGreaterThan(0);
    expect(report.suffixes.map((s) => s.suffix)).toContain('default.svc.cluster.local.');
  });
});

describe('answers in the kernel', () => {
  it('are given by a pod with the rights, through the Service, and counted', async () => {
    const at = '/spec/template/spec/containers/0';
    const patch = [
      { op: 'add', path: `${at}/args/-`, value: '-in-kernel' },
      { op: 'add', path: `${at}/args/-`, value: 'eth0' },
      {
        op: 'replace',
        path: `${at}/securityContext/capabilities/add`,
        value: ['NET_BIND_SERVICE', 'NET_ADMIN', 'BPF', 'PERFMON'],
      },
    ];
    await cluster.kubectl([
      '-n',
      'kube-system',
      'patch',
      'deploy',
      'coredns',
      '--type=json',
      '-p',
      JSON.stringify(patch),
    ]);
    await cluster.kubectl(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    await until('answers of the kernel', async () => {
      const ran = await cluster.kubectl(['exec', 'musl', '--', '/musl/lookup', 'target.default.svc.cluster.local']);
      expect(ran.stdout.trim()).toBe(await cluster.ask(['get', 'svc', 'target', '-o', 'jsonpath={.spec.clusterIP}']));
      const metrics = await cluster.node('n1', ['busybox', 'wget', '-qO-', `http://${cluster.dnsIp}:9153/metrics`]);
      return /^weft_dns_in_kernel_answers_total\{type="A",rcode="NOERROR"\} [1-9]/m.test(metrics.stdout);
    });
  });
});

describe('deploy/node-local-dns.yaml', () => {
  const settled = async (): Promise<void> => {
    await cluster.kubectl(['-n', 'kube-system', 'rollout', 'status', 'ds/node-local-dns', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
  };

  it('answers on the node, and is replaced without a query lost', async () => {
    // This lab's address of cluster DNS, and a kind of link that every kernel has.
    const text = readFileSync(path.join(checkout, 'deploy/node-local-dns.yaml'), 'utf8')
      .replaceAll('10.96.0.10', cluster.dnsIp)
      .replace(/^( +)- kube-dns-upstream$/m, '$&\n$1- -interfacekind\n$1- bridge');
    await cluster.apply(text);
    await settled();
    const rules = (await cluster.node('n1', ['nft', 'list', 'table', 'inet', 'weft-node-local-dns'])).stdout;
    expect(rules).toContain(`ip daddr ${cluster.dnsIp} udp dport 53 notrack`);
    const load = await underLoad(async () => {
      await cluster.kubectl(['-n', 'kube-system', 'rollout', 'restart', 'ds/node-local-dns']);
      await settled();
      await until(
        'the old pods gone',
        async () => (await pods(cluster, 'k8s-app=node-local-dns', 'kube-system')).length === 3,
      );
    });
    expect(load).toMatchObject({ answered: load.sent, lost: 0, wrong: 0 });
    const ran = await cluster.kubectl(['exec', 'musl', '--', '/musl/lookup', 'kube-dns.kube-system']);
    expect(ran.stdout.trim()).toBe(cluster.dnsIp);
  });

  it('takes its link and rules away when it goes', async () => {
    await cluster.kubectl(['-n', 'kube-system', 'delete', 'ds', 'node-local-dns']);
    await until('no link, no rules', async () => {
      const links = (await cluster.node('n1', ['ip', '-o', 'link'])).stdout;
      const tables = (await cluster.node('n1', ['nft', 'list', 'tables'])).stdout;
      return !links.includes('nodelocaldns') && !tables.includes('node-local');
    });
    const ran = await cluster.kubectl(['exec', 'musl', '--', '/musl/lookup', 'kube-dns.kube-system']);
    expect(ran.stdout.trim()).toBe(cluster.dnsIp);
  });
});
