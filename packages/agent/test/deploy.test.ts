import { readFileSync } from 'node:fs';
import { addressDefinitions, addressResources, bgpDefinitions, bgpResources, parseYamlDocuments } from '@weft/kube';
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
