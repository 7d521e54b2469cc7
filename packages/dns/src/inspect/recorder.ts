import type { Reply } from '../server/handler.ts';
import type { Request } from '../server/request.ts';
import type { Observer } from '../server/site.ts';
import { nameToText, RCODE, TYPE, typeName } from '../wire/index.ts';
import { Busiest } from './busiest.ts';

/** Keys kept of each kind; a server with more clients or names tells of the busiest. */
const NAMES = 2000;
const CLIENTS = 4000;
const SUFFIXES = 4000;

interface Counts {
  count: number;
  nxdomain: number;
}

const counts = (): Counts => ({ count: 0, nxdomain: 0 });

/** What a server was asked during one recording. */
export interface Recording {
  /** Length of the recording. */
  readonly seconds: number;
  readonly queries: number;
  readonly nxdomain: number;
  readonly names: readonly {
    readonly name: string;
    readonly type: string;
    readonly count: number;
    readonly nxdomain: number;
  }[];
  /** By client address. */
  readonly clients: readonly { readonly client: string; readonly count: number; readonly nxdomain: number }[];
  /**
   * Queries for names that do not exist because a search domain was appended, by client and domain. The server cannot
   * know a client's own namespace: `X.svc.ZONE` may as well be `svc.ZONE` behind a name that ends in X.
   */
  readonly suffixes: readonly { readonly client: string; readonly suffix: string; readonly count: number }[];
  /** Queries of rare names that were given up to keep memory bounded. */
  readonly forgotten: number;
}

/** Counts finished queries in bounded memory. */
export class Recorder implements Observer {
  readonly #names = new Busiest(NAMES, counts);
  readonly #clients = new Busiest(CLIENTS, counts);
  readonly #suffixes = new Busiest(SUFFIXES, counts);
  readonly #began = performance.now();
  #queries = 0;
  #nxdomain = 0;

  finished(request: Request, reply: Reply): void {
    const { remoteAddress } = request.context;
    const missing = reply.rcode === RCODE.NXDOMAIN;
    this.#queries += 1;
    const name = this.#names.cell(`${request.name} ${typeName(request.query.type)}`);
    const client = this.#clients.cell(remoteAddress);
    name.count += 1;
    client.count += 1;
    if (!missing) return;
    this.#nxdomain += 1;
    name.nxdomain += 1;
    client.nxdomain += 1;
    const suffix = appended(request, reply);
    if (suffix !== undefined) this.#suffixes.cell(`${remoteAddress} ${suffix}`).count += 1;
  }

  /** What was counted so far; of each kind the `limit` busiest. */
  result(limit: number): Recording {
    return {
      seconds: (performance.now() - this.#began) / 1000,
      queries: this.#queries,
      nxdomain: this.#nxdomain,
      names: this.#names.top(limit).map(({ key, cell }) => {
        const [name = '', type = ''] = key.split(' ');
        return { name, type, ...cell };
      }),
      clients: this.#clients.top(limit).map(({ key, cell }) => ({ client: key, ...cell })),
      suffixes: this.#suffixes.top(limit).map(({ key, cell }) => {
        const [client = '', suffix = ''] = key.split(' ');
        return { client, suffix, count: cell.count };
      }),
      forgotten: this.#names.forgotten,
    };
  }
}

/** The search domain that a name of the cluster which does not exist ends with: `NAMESPACE.svc.ZONE` or `ZONE`. */
function appended(request: Request, reply: Reply): string | undefined {
  const soa = reply.authority[0];
  if (reply.by !== 'kubernetes' || soa?.type !== TYPE.SOA || soa.name === undefined) return undefined;
  const zone = nameToText(soa.name).toLowerCase();
  const { name } = request;
  if (zone.endsWith('.arpa.') || !name.endsWith(`.${zone}`)) return undefined;
  const labels = name.slice(0, -zone.length - 1).split('.');
  return labels.at(-1) === 'svc' && labels.length > 1 ? `${labels.at(-2)}.svc.${zone}` : zone;
}
