import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseYamlDocuments } from '@weft/kube';
import { expect, it } from 'vitest';
import { readCommand } from '../src/kube-proxy/main.ts';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { readonly args: readonly string[] }[] } };
  };
  readonly rules: readonly { readonly resources: readonly string[] }[];
}

it('deploy/kube-proxy.yaml starts the command with flags it takes and the file that kubeadm writes', async () => {
  const text = readFileSync(new URL('../../../deploy/kube-proxy.yaml', import.meta.url), 'utf8');
  const documents = (await parseYamlDocuments(text)) as Manifest[];
  const set = documents.find(({ kind }) => kind === 'DaemonSet');
  expect(set?.metadata.name).toBe('kube-proxy');
  const [command, ...args] = set?.spec.template.spec.containers[0]?.args ?? [];
  expect(command).toBe('kube-proxy');
  const directory = mkdtempSync(path.join(tmpdir(), 'weft-deploy-'));
  try {
    const file = path.join(directory, 'config.conf');
    writeFileSync(
      file,
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.244.0.0/16\nmode: ""\n',
    );
    const read = await readCommand(
      args.map((arg) => arg.replace('/var/lib/kube-proxy/config.conf', file).replace('$(NODE_NAME)', 'n1')),
    );
    expect([read.action, read.warnings, read.config.hostnameOverride]).toEqual(['run', [], 'n1']);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it('gives it the rights to read what it watches', async () => {
  const text = readFileSync(new URL('../../../deploy/kube-proxy.yaml', import.meta.url), 'utf8');
  const documents = (await parseYamlDocuments(text)) as Manifest[];
  const role = documents.find(({ kind }) => kind === 'ClusterRole');
  const readable = new Set(role?.rules.flatMap((rule) => rule.resources));
  for (const resource of ['services', 'nodes', 'endpointslices', 'servicecidrs', 'events'])
    expect(readable).toContain(resource);
});
