import type { AnswerChange, AnswerSource, KnownName } from '../../server/handler.ts';
import { concat, labelKey, type NameKey, nameFromText, nameKey, type Query, TYPE } from '../../wire/index.ts';
import { reverseAddress } from '../../wire/reverse.ts';
import { relativeName, type ServiceAnswers } from './compile.ts';
import type { ClusterView } from './view.ts';

export interface KeptOptions {
  /** Zones for names, not addresses, in wire form. */
  readonly forward: readonly Uint8Array[];
  /** As the plugin's option: zones in which names that do not exist go on; empty for all. */
  readonly fallthrough: readonly string[] | undefined;
  readonly pods: 'disabled' | 'insecure' | 'verified';
  /** Where the plugin's zone starts in a name; -1 for names of none. */
  readonly zoneOf: (key: NameKey, labels: readonly number[]) => number;
  readonly view: () => ClusterView | undefined;
}

/** Depends on everything: aliases inside the zone, the zone's name servers. */
const ANYTHING = '*';
const SVC = nameFromText('svc.').subarray(0, -1);
const POD = nameFromText('pod.').subarray(0, -1);
const DNS = nameFromText('dns.').subarray(0, -1);
const VERSION = nameFromText('dns-version.').subarray(0, -1);
const NS_KEY: NameKey = nameKey(nameFromText('ns.dns.')).slice(0, -1);
const SVC_KEY: NameKey = nameKey(SVC);

/**
 * What the answers of the plugin depend on, for those who keep them: a Service, an address, or (names that stand for themselves
 * and those that do not exist) nothing but the namespaces, whose changes void everything.
 */
export class KeptAnswers implements AnswerSource {
  readonly #options: KeptOptions;
  /** Zones in which nothing goes on to the next plugin. */
  readonly #closed: readonly Uint8Array[];

  constructor(options: KeptOptions) {
    this.#options = options;
    const through = options.fallthrough?.map((zone) => nameKey(nameFromText(zone)));
    this.#closed = options.forward.filter((zone) => {
      const key = nameKey(zone);
      return through === undefined || (through.length > 0 && !through.some((z) => key.endsWith(z) || z.endsWith(key)));
    });
  }

  scopeOf({ key, labels, type }: Query): string | null | undefined {
    const end = this.#options.zoneOf(key, labels);
    const table = this.#options.view()?.table;
    if (end < 0) return undefined;
    if (table === undefined) return null;
    const ip = reverseAddress(key, labels);
    if (ip !== undefined) return `ip ${ip}`;
    if (end === 0 || (end === NS_KEY.length && key.startsWith(NS_KEY))) return ANYTHING;
    const found = table.lookup(key, labels, end);
    if (typeof found === 'object') {
      if (!('service' in found)) return this.#options.pods === 'verified' ? null : '';
      // Aliases lead anywhere, and out of the cluster.
      if (found.answers.hosts.names.length > 0) return type === TYPE.A || type === TYPE.AAAA ? null : ANYTHING;
    }
    const count = labels.findLastIndex((at) => at < end) + 1;
    const kind = labels[count - 1] as number;
    if (count < 3 || !key.startsWith(SVC_KEY, kind)) return '';
    return serviceScope(key.slice(labels[count - 3], kind));
  }

  serial(): number {
    return this.#options.view()?.table.serial ?? 0;
  }

  /** None before all that exists is known: nothing can be denied then. */
  *names(): IterableIterator<KnownName> {
    const view = this.#options.view();
    if (view?.ready !== true) return;
    for (const zone of this.#closed) {
      yield { name: zone, exists: true, closed: true, apex: true };
      yield { name: concat([SVC, zone]), exists: true, closed: true };
      for (const label of [POD, DNS, VERSION]) yield { name: concat([label, zone]), exists: true, closed: false };
    }
    for (const name of view.table.namespaces()) yield* this.#namespace(name, true);
    for (const answers of view.table.allServices()) yield* this.#service(answers, true);
  }

  onChange(listener: (change: AnswerChange) => void): () => void {
    const view = this.#options.view();
    return (
      view?.table.onChange((changed, before) => {
        if (typeof changed === 'object') {
          const exists = view.table.knowsService(serviceLabels(changed));
          listener({ scopes: scopesOf(changed, before), names: view.ready ? this.#service(changed, exists) : [] });
        } else if (changed === undefined) listener({ scopes: undefined, names: undefined });
        else {
          const exists = view.table.hasNamespace(labelKey(changed) ?? '');
          listener({ scopes: undefined, names: view.ready ? this.#namespace(changed, exists) : [] });
        }
      }) ?? (() => {})
    );
  }

  *#namespace(name: string, exists: boolean): IterableIterator<KnownName> {
    const label = labelKey(name);
    if (label === undefined) return;
    for (const zone of this.#closed) {
      yield { name: concat([Buffer.from(label, 'latin1'), SVC, zone]), exists, closed: true };
    }
  }

  *#service({ service }: ServiceAnswers, exists: boolean): IterableIterator<KnownName> {
    const name = relativeName(service);
    for (const zone of this.#closed) yield { name: concat([name, zone]), exists, closed: false };
  }
}

function scopesOf(changed: ServiceAnswers, before: ServiceAnswers | undefined): string[] {
  const addresses = [...changed.reverse(), ...(before === undefined || before === changed ? [] : before.reverse())];
  return [serviceScope(serviceLabels(changed)), ANYTHING, ...new Set(addresses.map(({ ip }) => `ip ${ip}`))];
}

/** The two labels of a Service's name, as they stand in a NameKey. */
function serviceLabels({ service }: ServiceAnswers): NameKey {
  return (labelKey(service.name) ?? '') + (labelKey(service.namespace) ?? '');
}

function serviceScope(labels: NameKey): string {
  return `s ${labels}`;
}
