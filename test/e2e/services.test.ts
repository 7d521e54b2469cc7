// Services and names of the cluster, as pods see them.
import { beforeAll, describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustFail, until } from './support/run.ts';
import {
  box,
  type Echo,
  ECHO_PORTS,
  echoPod,
  httpFrom,
  NODE_IMAGE,
  pod,
  populate,
  programSpec,
  type ReadyPods,
  readyPods,
  service,
  udpFrom,
  waitReady,
} from './support/workloads.ts';

const cluster = useCluster({ name: 'detail', flags: ['--no-demo'] });
let echo: ReadyPods;

beforeAll(async () => {
  ({ echo } = await populate(cluster));
});

const lookup = async (name: string, type?: string, namespace = 'default', from = 'box-n1'): Promise<string> => {
  const ran = await cluster.kubectl(
    ['exec', '-n', namespace, from, '--', 'nslookup', ...(type === undefined ? [] : [`-type=${type}`]), name],
    { check: false },
  );
  return `${ran.stdout}${ran.stderr}`;
};
/** Names as programs ask for them: with the pod's search path. */
const resolves = async (name: string, namespace = 'default', from = 'box-n1'): Promise<string> => {
  const ran = await cluster.kubectl(['exec', '-n', namespace, from, '--', 'ping', '-c', '1', '-W', '1', name], {
    check: false,
  });
  return /^PING \S+ \(([\d.]+)\)/m.exec(ran.stdout)?.[1] ?? `${ran.stdout}${ran.stderr}`;
};
const clusterIP = (name: string, namespace = 'default'): Promise<string> =>
  cluster.ask(['-n', namespace, 'get', 'svc', name, '-o', 'jsonpath={.spec.clusterIP}']);

describe('Services', () => {
  it('lets a pod reach itself through its own Service', async () => {
    await cluster.apply([
      echoPod('lonely', { labels: { app: 'lonely' } }),
      service('lonely', { selector: { app: 'lonely' }, ports: ECHO_PORTS }),
    ]);
    await waitReady(cluster, 'lonely');
    const ip = await clusterIP('lonely');
    const script = `fetch('http://${ip}/').then(r=>r.text()).then(t=>process.stdout.write(t))`;
    await until(
      'an answer of the pod to itself',
      async () =>
        (JSON.parse(await cluster.ask(['exec', 'lonely', '--', '/usr/local/bin/node', '-e', script])) as Echo).pod ===
        'lonely',
    );
    expect((await udpFrom(cluster, 'lonely', ip, 81)).pod).toBe('lonely');
  });

  it('refuses at once where nobody answers', async () => {
    await cluster.apply(service('nobody', { selector: { app: 'nobody' }, ports: [{ port: 80 }] }));
    const ip = await clusterIP('nobody');
    await until('a refusal', async () => {
      const ran = await cluster.kubectl(['exec', 'box-n1', '--', 'timeout', '5', 'wget', '-qO-', `http://${ip}/`], {
        check: false,
      });
      return /Connection refused/.test(ran.stderr);
    });
    const began = Date.now();
    mustFail(
      await cluster.node('n2', ['timeout', '20', 'busybox', 'wget', '-qO-', `http://${ip}/`], { check: false }),
      /Connection refused/,
    );
    expect(Date.now() - began).toBeLessThan(15_000);
  });

  it('moves an open UDP conversation when its pod leaves', async () => {
    const label = { talk: 'yes' };
    await cluster.apply([
      echoPod('talk-a', { node: 'n2', labels: { app: 'talk', ...label } }),
      echoPod('talk-b', { node: 'n3', labels: { app: 'talk' } }),
      service('talk', { selector: label, ports: ECHO_PORTS }),
    ]);
    await waitReady(cluster, 'talk-a', 'talk-b');
    await cluster.apply(pod('talker', programSpec('udp-client.mjs', [await clusterIP('talk'), '81']), { node: 'n1' }));
    await until('an answer of talk-a', async () =>
      (await cluster.ask(['logs', 'talker'])).includes('answer from talk-a'),
    );
    await cluster.kubectl(['label', 'pod', 'talk-b', 'talk=yes']);
    await cluster.kubectl(['label', 'pod', 'talk-a', 'talk-']);
    await until('an answer of talk-b', async () =>
      (await cluster.ask(['logs', 'talker'])).includes('answer from talk-b'),
    );
    await cluster.kubectl(['delete', 'pod', 'talk-a', 'talk-b', 'talker', '--wait=false']);
  });

  it('sends all connections of a client to one pod when asked to', async () => {
    await cluster.apply(
      service('sticky', { selector: { app: 'echo' }, sessionAffinity: 'ClientIP', ports: ECHO_PORTS }),
    );
    const ip = await clusterIP('sticky');
    const first = await until('a first answer', async () => httpFrom(cluster, 'box-n1', `http://${ip}/`));
    for (let i = 0; i < 8; i++) expect((await httpFrom(cluster, 'box-n1', `http://${ip}/`)).pod).toBe(first.pod);
  });

  it('follows Endpoints that a person writes', async () => {
    await cluster.apply([
      service('manual', { ports: [{ port: 80, targetPort: 8080 }] }),
      {
        apiVersion: 'v1',
        kind: 'Endpoints',
        metadata: { name: 'manual' },
        subsets: [{ addresses: [{ ip: echo[1]?.ip }], ports: [{ port: 8080 }] }],
      },
    ]);
    const ip = await clusterIP('manual');
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'by-hand', labels: { 'kubernetes.io/service-name': 'manual' } },
      addressType: 'IPv4',
      ports: [{ port: 8080, protocol: 'TCP', name: '' }],
      endpoints: [{ addresses: [echo[1]?.ip] }],
    };
    await cluster.apply(slice);
    await until(
      'an answer',
      async () => (await httpFrom(cluster, 'box-n1', `http://${ip}/`)).pod === echo[1]?.metadata.name,
    );
  });

  it('lists in the endpoints who is ready, and only those', async () => {
    const ready = async (): Promise<string[]> => {
      const slices = await cluster.json<{
        items: { endpoints: { addresses: string[]; conditions: { ready?: boolean } }[] | null }[];
      }>(['get', 'endpointslices', '-l', 'kubernetes.io/service-name=echo']);
      return slices.items
        .flatMap((s) => s.endpoints ?? [])
        .flatMap((e) => (e.conditions.ready === true ? e.addresses : []))
        .sort();
    };
    expect(await ready()).toEqual(echo.map((e) => e.ip).sort());
    expect(
      (await cluster.ask(['get', 'endpoints', 'echo', '-o', 'jsonpath={.subsets[*].addresses[*].ip}']))
        .split(' ')
        .sort(),
    ).toEqual(echo.map((e) => e.ip).sort());
  });
});

describe('a Service of type LoadBalancer', () => {
  const balancer = service('balanced', {
    type: 'LoadBalancer',
    selector: { app: 'echo' },
    ports: [{ name: 'web', port: 80, targetPort: 8080 }],
  });
  const address = (): Promise<string> =>
    cluster.ask(['get', 'svc', 'balanced', '-o', 'jsonpath={.status.loadBalancer.ingress[0].ip}']);

  it('has an address of the pool that the host and pods reach, and that goes with the Service', async () => {
    await cluster.apply([balancer]);
    await until('an address', async () => (await address()) !== '');
    const ip = await address();
    expect(
      await cluster.ask(['get', 'ipaddresspools', '-n', 'kube-system', '-o', 'jsonpath={.items[*].spec.addresses[*]}']),
    ).toMatch(/^\d+\.\d+\.\d+\.200-/);
    await until('an answer on the host', async () =>
      fetch(`http://${ip}/`, { signal: AbortSignal.timeout(1000) }).then(
        (r) => r.ok,
        () => false,
      ),
    );
    expect((await httpFrom(cluster, 'box-n1', `http://${ip}/`)).pod).toMatch(/^echo/);
    const by = await cluster.ask([
      'get',
      'svc',
      'balanced',
      '-o',
      String.raw`jsonpath={.metadata.annotations.weft\.dev/announced-by}`,
    ]);
    expect(by).toMatch(/^n\d$/);
    const addresses = await cluster.weft([
      'node',
      'exec',
      '--name',
      cluster.name,
      by,
      '--',
      'ip',
      '-br',
      'addr',
      'show',
      'eth0',
    ]);
    expect(addresses.stdout).toContain(`${ip}/32`);
    await cluster.kubectl(['delete', 'svc', 'balanced']);
    await until('the address to be gone', async () => {
      const left = await cluster.weft([
        'node',
        'exec',
        '--name',
        cluster.name,
        by,
        '--',
        'ip',
        '-br',
        'addr',
        'show',
        'eth0',
      ]);
      return !left.stdout.includes(`${ip}/32`);
    });
  });
});

describe('the data plane', () => {
  interface Mode {
    readonly node: string;
    readonly active: string;
  }
  const modes = async (...args: string[]): Promise<Mode[]> =>
    JSON.parse((await cluster.weft(['proxy', 'mode', ...args, '--name', cluster.name, '-o', 'json'])).stdout) as Mode[];

  it('is changed on all nodes without a failed connection of a pod', async () => {
    const ip = await clusterIP('echo');
    // Asks one question after the other until the file is there, and tells how many were answered and what went wrong.
    const script = `
      const fs = require('node:fs');
      const wrong = []; let answered = 0;
      (async () => {
        while (!fs.existsSync('/tmp/enough')) {
          try {
            const response = await fetch('http://${ip}/', { headers: { connection: 'close' }, signal: AbortSignal.timeout(2000) });
            await response.text();
            answered += 1;
          } catch (error) { wrong.push(String(error.cause ?? error)); }
        }
        process.stdout.write(JSON.stringify({ answered, wrong }));
      })();`;
    const [client] = echo;
    if (client === undefined) throw new Error('no pod to ask from');
    const asking = cluster.kubectl(['exec', client.metadata.name, '--', '/usr/local/bin/node', '-e', script], {
      timeoutMs: 60_000,
    });
    const nodes = (await modes()).map((row) => row.node);
    for (const mode of ['iptables', 'nftables', 'ebpf', 'iptables']) {
      expect(await modes('set', mode)).toEqual(nodes.map((node) => expect.objectContaining({ node, active: mode })));
    }
    await cluster.kubectl([
      'exec',
      client.metadata.name,
      '--',
      '/usr/local/bin/node',
      '-e',
      "require('fs').writeFileSync('/tmp/enough', '')",
    ]);
    const { answered, wrong } = JSON.parse((await asking).stdout) as { answered: number; wrong: string[] };
    expect(wrong).toEqual([]);
    expect(answered).toBeGreaterThan(20);
    const rules = await cluster.weft([
      'node',
      'exec',
      '--name',
      cluster.name,
      'n1',
      '--',
      'iptables-save',
      '-t',
      'nat',
    ]);
    expect(rules.stdout).toContain('default/echo:http cluster IP');
    const tables = await cluster.weft(['node', 'exec', '--name', cluster.name, 'n1', '--', 'nft', 'list', 'tables']);
    expect(tables.stdout).not.toContain('weft-services');
    // Names go on being answered, by UDP.
    expect(await resolves('echo')).toBe(ip);
    await modes('set', 'default');
    expect(await resolves('echo')).toBe(ip);
  });

  it('is told of a Service: who is in and why, and what becomes of a packet', async () => {
    const ran = await cluster.weft(['service', 'echo', '--name', cluster.name, '--from', 'box-n1', '--rules']);
    for (const pod of echo) expect(ran.stdout).toMatch(new RegExp(`${pod.ip}:\\d+ .* in: conditions.ready`));
    expect(ran.stdout).toMatch(/From box-n1 \(pod [\d.]+\):/);
    expect(ran.stdout).toContain('spec.internalTrafficPolicy Cluster');
    const report = JSON.parse(
      (await cluster.weft(['service', 'default/echo', '--name', cluster.name, '--from', '203.0.113.9', '-o', 'json']))
        .stdout,
    ) as { packets: { node: string; decision: { verdict: string; source: string } }[] };
    expect(report.packets.every(({ decision }) => decision.verdict === 'serve' && decision.source === 'node')).toBe(
      true,
    );
    const none = await cluster.weft(['service', 'nothing', '--name', cluster.name], { check: false });
    expect(none.stderr).toContain('there is no Service default/nothing');
  });

  it('says what a manifest would change, and that is what the kernel then has', async () => {
    const live = await cluster.json<{ spec: Record<string, unknown>; metadata: object }>(['get', 'svc', 'echo']);
    const manifest = JSON.stringify({ ...live, spec: { ...live.spec, externalIPs: ['192.0.2.77'] } });
    const diff = `weft proxy diff -f - --name ${cluster.name} --node n1 -o json`;
    const ran = await cluster.shell(`${diff} <<'END'\n${manifest}\nEND`);
    const { nodes } = JSON.parse(ran.stdout) as { nodes: { changes: { sign: string; text: string }[] }[] };
    const added = nodes[0]?.changes.filter((c) => c.sign === '+' && c.text.startsWith('frontends { 192.0.2.77')) ?? [];
    expect(added.length).toBeGreaterThan(0);
    const table = async (): Promise<string> =>
      (
        await cluster.weft([
          'node',
          'exec',
          '--name',
          cluster.name,
          'n1',
          '--',
          'nft',
          'list',
          'map',
          'ip',
          'weft-services',
          'frontends',
        ])
      ).stdout;
    expect(await table()).not.toContain('192.0.2.77');
    await cluster.kubectl(['patch', 'svc', 'echo', '-p', '{"spec":{"externalIPs":["192.0.2.77"]}}']);
    await until('the address in the kernel', async () => (await table()).includes('192.0.2.77'));
    await cluster.kubectl(['patch', 'svc', 'echo', '-p', '{"spec":{"externalIPs":null}}']);
  });

  it('that does not exist is refused, by the command and by the node', async () => {
    const ran = await cluster.weft(['proxy', 'mode', 'set', 'magic', '--name', cluster.name], { check: false });
    expect(ran.stderr).toContain('there is no data plane "magic"');
    await cluster.kubectl(['annotate', 'node', 'n1', 'weft.dev/proxy-mode=magic']);
    await until('an event', async () =>
      (await cluster.ask(['get', 'events', '-o', 'jsonpath={.items[*].reason}'])).includes('ProxyModeNotChanged'),
    );
    await cluster.kubectl(['annotate', 'node', 'n1', 'weft.dev/proxy-mode-']);
    expect((await modes()).every((row) => row.active === 'nftables')).toBe(true);
  });
});

describe('names', () => {
  beforeAll(async () => {
    await cluster.apply([
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other' } },
      { ...(service('cousin', { ports: [{ port: 80 }], selector: { app: 'none' } }, 'other') as object) },
      box('box-other', { namespace: 'other' }),
      service('headless', { clusterIP: 'None', selector: { app: 'echo' }, ports: [{ name: 'web', port: 8080 }] }),
      service('alias', { type: 'ExternalName', externalName: 'echo.default.svc.cluster.local' }),
      service('db', { clusterIP: 'None', selector: { app: 'db' }, ports: [{ port: 80 }] }),
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: 'db' },
        spec: {
          serviceName: 'db',
          replicas: 2,
          selector: { matchLabels: { app: 'db' } },
          template: {
            metadata: { labels: { app: 'db' } },
            spec: {
              terminationGracePeriodSeconds: 0,
              containers: [
                { name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'] },
              ],
            },
          },
        },
      },
    ]);
    await readyPods(cluster, 'app=db', 2);
    await cluster.kubectl(['-n', 'other', 'wait', '--for=condition=Ready', 'pod/box-other', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
  });

  it('short, across namespaces, and in full', async () => {
    const [near, far] = [await clusterIP('echo'), await clusterIP('cousin', 'other')];
    for (const name of [
      'echo',
      'echo.default',
      'echo.default.svc',
      'echo.default.svc.cluster.local',
      'echo.default.svc.cluster.local.',
    ])
      expect(await resolves(name), name).toBe(near);
    expect(await resolves('cousin.other')).toBe(far);
    expect(await resolves('cousin', 'other', 'box-other')).toBe(far);
    expect(await resolves('echo.default', 'other', 'box-other')).toBe(near);
    expect(await resolves('cousin')).toMatch(/bad address/);
    expect(await resolves('kubernetes')).toBe(await clusterIP('kubernetes'));
  });

  it('headless Services, with all their pods', async () => {
    const text = await lookup('headless.default.svc.cluster.local');
    for (const { ip } of echo) expect(text).toContain(`Address: ${ip}\n`);
  });

  it('pods of a StatefulSet', async () => {
    for (const db of await readyPods(cluster, 'app=db', 2)) {
      expect(await resolves(`${db.metadata.name}.db`)).toBe(db.ip);
      expect(await lookup(`${db.metadata.name}.db.default.svc.cluster.local`)).toContain(`Address: ${db.ip}\n`);
      expect(await cluster.ask(['exec', db.metadata.name, '--', 'hostname', '-f'])).toBe(
        `${db.metadata.name}.db.default.svc.cluster.local`,
      );
    }
  });

  it('ExternalName as an alias', async () => {
    expect(await lookup('alias.default.svc.cluster.local')).toMatch(
      /canonical name = echo\.default\.svc\.cluster\.local/,
    );
    expect(await resolves('alias')).toBe(await clusterIP('echo'));
    expect((await httpFrom(cluster, 'box-n2', 'http://alias/')).pod).toMatch(/^echo-/);
  });

  it('SRV, PTR and pod names', async () => {
    expect(await lookup('_http._tcp.echo.default.svc.cluster.local', 'srv')).toMatch(
      /service = 0 100 80 echo\.default\.svc\.cluster\.local/,
    );
    expect(await lookup('_web._tcp.headless.default.svc.cluster.local', 'srv')).toMatch(
      /service = 0 \d+ 8080 [\w-]+\.headless\.default\.svc\.cluster\.local/,
    );
    const ip = await clusterIP('echo');
    const reversed = ip.split('.').reverse().join('.');
    expect(await lookup(`${reversed}.in-addr.arpa`, 'ptr')).toMatch(/name = echo\.default\.svc\.cluster\.local/);
    const first = echo[0]?.ip ?? '';
    expect(await lookup(`${first.replaceAll('.', '-')}.default.pod.cluster.local`)).toContain(`Address: ${first}\n`);
  });

  it('says NXDOMAIN to what is not there, also by the search path', async () => {
    expect(await lookup('nothing.default.svc.cluster.local')).toMatch(/NXDOMAIN|can't find/);
    expect(await resolves('nothing')).toMatch(/bad address/);
  });

  it('of the outside, by the search path, through the forwarder', async () => {
    // A name server of our own stands for the outside: no test asks the Internet.
    const corefile = '.:53 {\n  errors\n  hosts {\n    203.0.113.7 www.example.test\n  }\n}\n';
    await cluster.apply([
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'upstream' }, data: { Corefile: corefile } },
      pod('upstream', {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'dns',
            image: NODE_IMAGE,
            args: ['dns', '-conf', '/etc/upstream/Corefile'],
            volumeMounts: [{ name: 'config', mountPath: '/etc/upstream' }],
          },
        ],
        volumes: [{ name: 'config', configMap: { name: 'upstream' } }],
      }),
    ]);
    await waitReady(cluster, 'upstream');
    const address = await cluster.ask(['get', 'pod', 'upstream', '-o', 'jsonpath={.status.podIP}']);
    const config = await cluster.json<{ data: { Corefile: string } }>(['-n', 'kube-system', 'get', 'cm', 'coredns']);
    const changed = config.data.Corefile.replace(/forward \. \S+/, `forward . ${address}`);
    expect(changed).not.toBe(config.data.Corefile);
    await cluster.kubectl([
      '-n',
      'kube-system',
      'patch',
      'cm',
      'coredns',
      '--type=merge',
      '-p',
      JSON.stringify({ data: { Corefile: changed } }),
    ]);
    await cluster.kubectl(['-n', 'kube-system', 'rollout', 'restart', 'deployment/coredns']);
    await cluster.kubectl(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    await until('the outside name', async () => (await resolves('www.example.test')) === '203.0.113.7');
    // Names of the cluster are still its own.
    expect(await resolves('echo')).toBe(await clusterIP('echo'));
    expect(await lookup('nothing.example.test')).toMatch(/NXDOMAIN|can't find/);
  });
});
