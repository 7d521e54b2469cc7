// Every manifest of the articles that Weft was made from can be applied and read back, by every kubectl.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseYamlDocuments } from '@weft/kube';
import { useCluster } from './support/cluster.ts';
import { checkout, environment } from './support/environment.ts';
import { mustMatch, until } from './support/run.ts';
import { readyPods } from './support/workloads.ts';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const MANIFESTS = readFileSync(path.join(checkout, 'packages/apiserver/test/kinds/fixtures/seeds.yaml'), 'utf8');
const cluster = useCluster({ name: 'seeds', flags: ['--no-demo'] });
let text = '';
let documents: Manifest[] = [];

beforeAll(async () => {
  // One of them names a ClusterIP of the default block.
  const block = cluster.report.config.serviceCidr.split('.').slice(0, 2).join('.');
  text = MANIFESTS.replace('10.96.10.20', `${block}.10.20`);
  documents = (await parseYamlDocuments(text)) as Manifest[];
  await cluster.kubectl(['create', 'namespace', 'production']);
});

const named = (m: Manifest): string[] => [m.kind, m.metadata.name, '-n', m.metadata.namespace ?? 'default'];
const ofKind = (...kinds: string[]): Manifest[] => documents.filter((m) => kinds.includes(m.kind));

describe('the manifests of the articles', () => {
  it('are applied, and a second time change nothing, by every kubectl', async () => {
    expect(documents.length).toBeGreaterThan(20);
    for (const { file, version } of environment().kubectls) {
      const first = await cluster.kubectl(['apply', '-f', '-'], { input: text, kubectl: file });
      expect(first.stdout.match(/ (created|configured|unchanged)$/gm), first.stdout).toHaveLength(documents.length);
      const second = await cluster.kubectl(['apply', '-f', '-'], { input: text, kubectl: file });
      expect(second.stdout.match(/ unchanged$/gm), `${version}: ${second.stdout}`).toHaveLength(documents.length);
    }
    expect((await cluster.kubectl(['diff', '-f', '-'], { input: text })).stdout).toBe('');
  });

  it('are read back with every field that was written', async () => {
    for (const manifest of documents) {
      const stored = await cluster.json<Manifest>(['get', ...named(manifest)]);
      const { metadata, ...rest } = manifest;
      expect(stored, `${manifest.kind} ${metadata.name}`).toMatchObject(rest);
      expect(stored.metadata).toMatchObject(metadata);
    }
  });

  it('have addresses and ports where Services need them', async () => {
    const table = await cluster.kubectl(['get', 'svc']);
    mustMatch(table, /^my-clusterip\s+ClusterIP\s+10(\.\d+){3}\s+<none>\s+80\/TCP\s/m);
    mustMatch(table, /^my-nodeport\s+NodePort\s+10(\.\d+){3}\s+<none>\s+80:30080\/TCP\s/m);
    await until('an address of the balancer', async () =>
      /^my-lb\s+LoadBalancer\s+10(\.\d+){3}\s+10(\.\d+){3}\s+80:3\d{4}\/TCP\s/m.test(
        (await cluster.kubectl(['get', 'svc', 'my-lb'])).stdout,
      ),
    );
    mustMatch(table, /^my-database\s+ExternalName\s+<none>\s+my\.database\.example\.com\s+<none>\s/m);
    mustMatch(table, /^my-service\s+ClusterIP\s+10\.\d+\.10\.20\s/m);
    mustMatch(
      await cluster.kubectl(['get', 'endpointslice', 'my-svc-abc123']),
      /^my-svc-abc123\s+IPv4\s+<unset>\s+10\.244\.1\.5\s/m,
    );
    mustMatch(await cluster.kubectl(['get', 'ingress']), /^api\s+<none>\s+app\.example\.com\s+80\s/m);
    mustMatch(await cluster.kubectl(['get', 'netpol', '-n', 'production']), /^api-network-policy\s+app=api\s/m);
  });

  it('run where they are workloads', async () => {
    await readyPods(cluster, 'app=web', 3);
    await readyPods(cluster, 'app=network-test', 3);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/static-ip-pod', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    // The Service of the article sends to port 8080, where nginx does not listen: the endpoints are there all the same.
    await until(
      'three endpoints',
      async () =>
        (await cluster.ask(['get', 'endpoints', 'web-service', '-o', 'jsonpath={.subsets[*].addresses[*].ip}'])).split(
          ' ',
        ).length === 3,
    );
  });

  it('wait for a network that they name and that is not there, and have it when it is', async () => {
    await until('an event that names the network', async () =>
      (await cluster.kubectl(['describe', 'pod', 'high-performance-pod'])).stdout.includes(
        'cannot find a network-attachment-definition (cilium-net) in namespace (default)',
      ),
    );
    const config = {
      cniVersion: '1.0.0',
      type: 'bridge',
      bridge: 'fast0',
      ipam: { type: 'host-local', subnet: '10.123.0.0/24' },
    };
    const network = {
      apiVersion: 'k8s.cni.cncf.io/v1',
      kind: 'NetworkAttachmentDefinition',
      metadata: { name: 'cilium-net' },
      spec: { config: JSON.stringify(config) },
    };
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(network) });
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/high-performance-pod', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    const { metadata } = await cluster.json<{
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
    }>(['get', 'pod', 'high-performance-pod']);
    expect(JSON.parse(metadata.annotations['k8s.v1.cni.cncf.io/network-status'] ?? '')).toMatchObject([
      { default: true },
      { name: 'default/cilium-net', interface: 'net1', ips: [expect.stringMatching(/^10\.123\.0\./)] },
    ]);
  });

  it('say so where nothing enforces them yet', async () => {
    for (const manifest of ofKind('NetworkPolicy', 'Ingress')) {
      await until(`an event about ${manifest.kind} ${manifest.metadata.name}`, async () => {
        const { kind, metadata } = manifest;
        const about = `involvedObject.kind=${kind},involvedObject.name=${metadata.name}`;
        const events = await cluster.kubectl([
          'get',
          'events',
          '-n',
          metadata.namespace ?? 'default',
          '--field-selector',
          about,
        ]);
        if (!/Warning\s+NotEnforced/.test(events.stdout)) throw new Error(events.stdout);
        const described = await cluster.kubectl(['describe', ...named(manifest)]);
        return described.stdout.includes('weft.dev/not-enforced');
      });
    }
  });

  it('are deleted', async () => {
    await cluster.kubectl(['delete', '-f', '-', '--wait=false'], { input: text });
    await until('nothing left but what ends', async () => {
      const left = await cluster.ask(['get', 'svc,deploy,ds,ingress,netpol', '-A', '-o', 'name']);
      return left
        .split('\n')
        .every((name) => /^(service\/(kubernetes|kube-dns)|deployment\.apps\/coredns)$/.test(name));
    });
  });
});
