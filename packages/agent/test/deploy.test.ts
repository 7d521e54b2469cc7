import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startApiServer } from '@weft/apiserver';
import {
  addressDefinitions,
  addressResources,
  bgpDefinitions,
  bgpResources,
  KubeClient,
  type KubeObject,
  parseYamlDocuments,
  type ResourceType,
  resources,
} from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { expect, it } from 'vitest';

const read = (name: string) =>
  parseYamlDocuments(readFileSync(new URL(`../../../deploy/${name}`, import.meta.url), 'utf8'));

interface Role {
  readonly kind: string;
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

it('deploy/network-crds.yaml is what the lab installs', async () => {
  expect(await read('network-crds.yaml')).toEqual([...addressDefinitions(), ...bgpDefinitions()]);
});

it('deploy/network.yaml may read every kind that the agent follows, and write those of addresses', async () => {
  const role = ((await read('network.yaml')) as unknown as Role[]).find(({ kind }) => kind === 'ClusterRole') as Role;
  const may = (group: string, resource: string): Set<string> =>
    new Set(
      role.rules
        .filter(({ apiGroups, resources }) => apiGroups.includes(group) && resources.includes(resource))
        .flatMap(({ verbs }) => verbs),
    );
  for (const type of Object.values({ ...addressResources, ...bgpResources })) {
    expect([...may(type.group, type.plural)], `${type.plural}.${type.group}`).toEqual(
      expect.arrayContaining(['get', 'list', 'watch']),
    );
  }
  for (const written of ['blockaffinities', 'ipamblocks', 'ipamhandles']) {
    const verbs = ['create', 'update', 'patch', 'delete'];
    expect([...may('crd.projectcalico.org', written)], written).toEqual(expect.arrayContaining(verbs));
  }
});

it('deploy/network.yaml is taken by an API server as it is, and every kind of it is served', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weft-deploy-'));
  const unixPath = path.join(directory, 'api.sock');
  const server = await startApiServer({
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
  const client = new KubeClient({ transport: { kind: 'unix', path: unixPath } });
  const types: readonly ResourceType[] = Object.values(resources);
  try {
    const documents = [...(await read('network-crds.yaml')), ...(await read('network.yaml'))] as KubeObject[];
    for (const document of documents) {
      const type = types.find(
        ({ kind, group, version }) =>
          kind === document.kind && document.apiVersion === (group === '' ? version : `${group}/${version}`),
      );
      expect(type, document.kind).toBeDefined();
      const made = await client.create(type as ResourceType, document);
      // A field that the server does not know would be gone.
      if (document.kind === 'CustomResourceDefinition') continue;
      expect(made, document.kind).toMatchObject(document as unknown as Record<string, unknown>);
    }
  } finally {
    client.close();
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
