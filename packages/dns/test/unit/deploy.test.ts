import { readFileSync } from 'node:fs';
import { parseYamlDocuments } from '@weft/kube';
import { expect, it } from 'vitest';
import { type DnsManifest, dnsManifests } from '../../src/deploy/manifests.ts';

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

it('deploy/dns.yaml is what the lab installs, with two replicas', async () => {
  const text = readFileSync(new URL('../../../../deploy/dns.yaml', import.meta.url), 'utf8');
  expect(await parseYamlDocuments(text)).toEqual(plain(dnsManifests({ image: 'weft.local/weft:local' })));
});

it('leaves the Corefile and the address of the Service to the cluster unless they are given', () => {
  const kinds = (list: readonly DnsManifest[]): string[] => list.map(({ kind }) => kind);
  const bare = dnsManifests({ image: 'x' });
  expect(kinds(bare)).not.toContain('ConfigMap');
  expect(bare.find(({ kind }) => kind === 'Service')?.['spec']).not.toHaveProperty('clusterIP');
  const full = dnsManifests({ image: 'x', corefile: '. { whoami }', clusterIP: '10.0.0.10' });
  expect(full.find(({ kind }) => kind === 'ConfigMap')?.['data']).toEqual({ Corefile: '. { whoami }' });
  expect(full.find(({ kind }) => kind === 'Service')?.['spec']).toMatchObject({ clusterIP: '10.0.0.10' });
});
