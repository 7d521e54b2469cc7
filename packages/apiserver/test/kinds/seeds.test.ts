import { readFileSync } from 'node:fs';
import { parseYamlDocuments } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { checkFields, resources } from '../../src/schema/index.ts';
import { typeNameOf } from './capture-server.ts';
import { type Body, Steps } from './helpers.ts';

const text = readFileSync(new URL('fixtures/seeds.yaml', import.meta.url), 'utf8');
const manifests = (await parseYamlDocuments(text)) as (Body & { apiVersion: string; kind: string })[];

describe('the manifests of the articles', () => {
  const steps = new Steps({ serviceCidrs: ['10.96.0.0/12'] });

  it.each(manifests.map((m) => [`${m.kind} ${String(m.metadata?.name)}`, m] as const))('%s', (_what, manifest) => {
    const { apiVersion, kind } = manifest;
    expect(checkFields(typeNameOf(manifest) ?? '', manifest, 'Strict')).toEqual({ unknown: [], typeErrors: [] });
    const resource = resources.find(
      (r) => r.kind === kind && apiVersion === (r.group === '' ? r.version : `${r.group}/${r.version}`),
    );
    const id = `${resource?.group}/${resource?.plural}`;
    expect(steps.create(id, manifest).errors).toEqual([]);
  });

  it('are all here', () => {
    const counts = new Map<string, number>();
    for (const { kind } of manifests) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({
      ConfigMap: 2,
      DaemonSet: 1,
      Deployment: 1,
      EndpointSlice: 1,
      Endpoints: 1,
      Ingress: 3,
      NetworkPolicy: 6,
      Pod: 2,
      Service: 8,
    });
  });
});
