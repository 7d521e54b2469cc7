import type { ApiResource, ApiSubresource } from '../contract.ts';
import type { ResourceTable } from '../registry/resource.ts';

interface GroupVersion {
  readonly group: string;
  readonly version: string;
  readonly resources: ApiResource[];
}

const gvName = (group: string, version: string): string => (group === '' ? version : `${group}/${version}`);

/** The documents of /api, /apis and below, made from the table of resources when it changes. */
export class Discovery {
  readonly #table: ResourceTable;
  #version = -1;
  #groups: { name: string; versions: GroupVersion[] }[] = [];
  #documents = new Map<string, Buffer>();

  constructor(table: ResourceTable) {
    this.#table = table;
  }

  /** The document of a path, or undefined. `aggregated` is the version of APIGroupDiscoveryList that was asked for. */
  document(path: string, aggregated: 'v2' | 'v2beta1' | undefined): Buffer | undefined {
    this.#refresh();
    const key = `${aggregated ?? ''} ${path}`;
    let document = this.#documents.get(key);
    if (document === undefined) {
      const value = this.#make(path, aggregated);
      if (value === undefined) return undefined;
      document = Buffer.from(`${JSON.stringify(value)}\n`);
      this.#documents.set(key, document);
    }
    return document;
  }

  #refresh(): void {
    if (this.#version === this.#table.version) return;
    this.#version = this.#table.version;
    this.#documents = new Map();
    const groups = new Map<string, Map<string, GroupVersion>>();
    for (const { api } of this.#table.all()) {
      const versions = groups.get(api.group) ?? new Map<string, GroupVersion>();
      groups.set(api.group, versions);
      const gv = versions.get(api.version) ?? { group: api.group, version: api.version, resources: [] };
      versions.set(api.version, gv);
      gv.resources.push(api);
    }
    // The table's order of groups is how kubectl resolves a short name that two groups share.
    this.#groups = [...groups].map(([name, versions]) => ({ name, versions: [...versions.values()].sort(byPriority) }));
  }

  #make(path: string, aggregated: string | undefined): object | undefined {
    const named = this.#groups.filter((g) => g.name !== '');
    if (path === '/api') {
      const core = this.#groups.filter((g) => g.name === '');
      if (aggregated !== undefined) return aggregatedList(core, aggregated);
      return {
        kind: 'APIVersions',
        versions: core.flatMap((g) => g.versions.map((v) => v.version)),
        serverAddressByClientCIDRs: [],
      };
    }
    if (path === '/apis') {
      if (aggregated !== undefined) return aggregatedList(named, aggregated);
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: named.map(apiGroup) };
    }
    const parts = path.split('/').slice(1);
    if (parts[0] === 'api' && parts.length === 2) return this.#resources('', parts[1] as string);
    if (parts[0] !== 'apis') return undefined;
    if (parts.length === 2) {
      const group = named.find((g) => g.name === parts[1]);
      return group === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group) };
    }
    return parts.length === 3 ? this.#resources(parts[1] as string, parts[2] as string) : undefined;
  }

  #resources(group: string, version: string): object | undefined {
    const gv = this.#groups.find((g) => g.name === group)?.versions.find((v) => v.version === version);
    if (gv === undefined) return undefined;
    return {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: gvName(group, version),
      resources: gv.resources.flatMap((r) => [
        legacyResource(r),
        ...r.subresources.map((s) => legacySubresource(r, s)),
      ]),
    };
  }
}

/** v1 before v1beta1 before v1alpha1, higher numbers first (apimachinery/pkg/version.CompareKubeAwareVersionStrings). */
function byPriority(a: GroupVersion, b: GroupVersion): number {
  const parse = (v: string): [number, number, number] => {
    const m = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(v);
    if (m === null) return [-1, 0, 0];
    return [m[2] === undefined ? 2 : m[2] === 'beta' ? 1 : 0, Number(m[1]), Number(m[3] ?? 0)];
  };
  const [x, y] = [parse(a.version), parse(b.version)];
  return y[0] - x[0] || y[1] - x[1] || y[2] - x[2] || (a.version < b.version ? -1 : 1);
}

function apiGroup(group: { name: string; versions: readonly GroupVersion[] }): object {
  const versions = group.versions.map((v) => ({
    groupVersion: gvName(group.name, v.version),
    version: v.version,
  }));
  return { name: group.name, versions, preferredVersion: versions[0] };
}

function legacyResource(r: ApiResource): object {
  return {
    name: r.plural,
    singularName: r.singular,
    namespaced: r.namespaced,
    kind: r.kind,
    verbs: r.verbs,
    ...(r.shortNames.length > 0 ? { shortNames: r.shortNames } : {}),
    ...(r.categories.length > 0 ? { categories: r.categories } : {}),
  };
}

function legacySubresource(r: ApiResource, s: ApiSubresource): object {
  return {
    name: `${r.plural}/${s.name}`,
    singularName: '',
    namespaced: r.namespaced,
    ...(s.group === undefined ? {} : { group: s.group }),
    ...(s.version === undefined ? {} : { version: s.version }),
    kind: s.kind,
    verbs: s.verbs,
  };
}

/** KEP-3352. */
function aggregatedList(
  groups: readonly { name: string; versions: readonly GroupVersion[] }[],
  version: string,
): object {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map((group) => ({
      metadata: { name: group.name, creationTimestamp: null },
      versions: group.versions.map((v) => ({
        version: v.version,
        resources: v.resources.map((r) => aggregatedResource(r)),
        freshness: 'Current',
      })),
    })),
  };
}

function aggregatedResource(r: ApiResource): object {
  const kind = (group: string, version: string, name: string): object => ({ group, version, kind: name });
  return {
    resource: r.plural,
    responseKind: kind(r.group, r.version, r.kind),
    scope: r.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: r.singular,
    verbs: r.verbs,
    ...(r.shortNames.length > 0 ? { shortNames: r.shortNames } : {}),
    ...(r.categories.length > 0 ? { categories: r.categories } : {}),
    ...(r.subresources.length > 0
      ? {
          subresources: r.subresources.map((s) => ({
            subresource: s.name,
            responseKind: kind(s.group ?? r.group, s.version ?? r.version, s.kind),
            verbs: s.verbs,
          })),
        }
      : {}),
  };
}
