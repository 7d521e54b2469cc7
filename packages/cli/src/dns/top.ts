import type { Recording } from '@weft/dns';

/** A pod as far as its queries are concerned. */
export interface Client {
  readonly namespace: string;
  readonly name: string;
}

/** What `weft dns top` tells. */
export interface TopReport {
  readonly seconds: number;
  /** DNS pods that were looked into. */
  readonly servers: readonly string[];
  readonly queries: number;
  readonly nxdomain: number;
  readonly names: readonly {
    readonly name: string;
    readonly type: string;
    readonly count: number;
    readonly nxdomain: number;
  }[];
  readonly clients: readonly {
    readonly client: string;
    /** `NAMESPACE/POD`, or undefined for addresses that belong to no pod, or to many (the host network). */
    readonly pod?: string;
    readonly count: number;
    readonly nxdomain: number;
    /** Queries for names that only the search path made. */
    readonly search: number;
  }[];
  /** Queries by search domain, over all clients. */
  readonly suffixes: readonly { readonly suffix: string; readonly count: number }[];
  /** Queries of rare names that were not kept. */
  readonly forgotten: number;
}

function add<T extends object>(into: Map<string, T>, key: string, value: T): void {
  const before = into.get(key) as Record<string, unknown> | undefined;
  if (before === undefined) {
    into.set(key, { ...value });
    return;
  }
  for (const [field, amount] of Object.entries(value)) {
    if (typeof amount === 'number') before[field] = (before[field] as number) + amount;
  }
}

const busiest = <T extends { count: number }>(map: Map<string, T>): T[] =>
  [...map.values()].sort((a, b) => b.count - a.count);

/** One report from the recordings of all DNS pods. `podOf` names the pod that has an address. */
export function mergeRecordings(
  recordings: readonly { readonly server: string; readonly recording: Recording }[],
  podOf: (address: string) => Client | undefined,
): TopReport {
  const names = new Map<string, TopReport['names'][number]>();
  const clients = new Map<string, TopReport['clients'][number]>();
  const suffixes = new Map<string, TopReport['suffixes'][number]>();
  for (const { recording } of recordings) {
    for (const name of recording.names) add(names, `${name.name} ${name.type}`, name);
    for (const client of recording.clients) {
      const pod = podOf(client.client);
      add(clients, client.client, {
        ...client,
        ...(pod === undefined ? {} : { pod: `${pod.namespace}/${pod.name}` }),
        search: 0,
      });
    }
    for (const { client, suffix, count } of recording.suffixes) {
      // Only the client's own namespace can be a search domain; another one was part of the name that was looked for.
      const pod = podOf(client);
      const [label, ...rest] = suffix.split('.');
      const own = rest[0] !== 'svc' || pod === undefined || label === pod.namespace;
      const searched = own ? suffix : rest.join('.');
      add(suffixes, searched, { suffix: searched, count });
      const known = clients.get(client);
      if (known !== undefined) clients.set(client, { ...known, search: known.search + count });
    }
  }
  const sum = (of: (recording: Recording) => number): number =>
    recordings.reduce((total, { recording }) => total + of(recording), 0);
  return {
    seconds: Math.max(0, ...recordings.map(({ recording }) => recording.seconds)),
    servers: recordings.map(({ server }) => server),
    queries: sum((r) => r.queries),
    nxdomain: sum((r) => r.nxdomain),
    names: busiest(names),
    clients: busiest(clients),
    suffixes: busiest(suffixes),
    forgotten: sum((r) => r.forgotten),
  };
}
