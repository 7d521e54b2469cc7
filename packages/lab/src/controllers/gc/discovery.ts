import { groupResource, type KubeClient, type ResourceType, resourceType } from '@weft/kube';

interface ApiResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

interface ApiGroup {
  readonly name: string;
  readonly preferredVersion?: { readonly version: string };
  readonly versions: readonly { readonly version: string }[];
}

/** Kinds that own nothing, are owned by nothing and change all the time. */
const IGNORED = new Set(['events', 'events.events.k8s.io', 'componentstatuses']);

/** What the server serves. */
export interface Served {
  /** Kinds whose objects can be followed and deleted, each in its preferred version. */
  readonly types: readonly ResourceType[];
  /** The type of an owner reference's `apiVersion` and `kind`. */
  find(apiVersion: string, kind: string): ResourceType | undefined;
}

/** Asks the server for all kinds. A group that does not answer (its own server is down) is left out. */
export async function discover(client: KubeClient): Promise<Served> {
  const { groups } = await client.request<{ groups: readonly ApiGroup[] }>({ path: '/apis' });
  const versions = [
    { group: '', version: 'v1', preferred: true },
    ...groups.flatMap((g) =>
      g.versions.map(({ version }) => ({
        group: g.name,
        version,
        preferred: version === (g.preferredVersion?.version ?? g.versions[0]?.version),
      })),
    ),
  ];
  const types = new Map<string, ResourceType>();
  const kinds = new Map<string, ResourceType>();
  const lists = await Promise.allSettled(
    versions.map(async ({ group, version }) => {
      const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
      return client.request<{ resources: readonly ApiResource[] }>({ path });
    }),
  );
  lists.forEach((list, i) => {
    const at = versions[i];
    if (list.status === 'rejected' || at === undefined) return;
    for (const resource of list.value.resources ?? []) {
      if (resource.name.includes('/')) continue;
      const { group, version } = at;
      const type = resourceType({
        group,
        version,
        plural: resource.name,
        kind: resource.kind,
        namespaced: resource.namespaced,
      });
      kinds.set(`${group}/${resource.kind}`, kinds.get(`${group}/${resource.kind}`) ?? type);
      const followed = ['list', 'watch', 'delete'].every((verb) => resource.verbs.includes(verb));
      const id = groupResource(type);
      if (followed && !IGNORED.has(id) && (at.preferred || !types.has(id))) types.set(id, type);
    }
  });
  return {
    types: [...types.values()],
    find: (apiVersion, kind) => {
      const slash = apiVersion.indexOf('/');
      return kinds.get(`${slash < 0 ? '' : apiVersion.slice(0, slash)}/${kind}`);
    },
  };
}
