import type { KubeObject, Service } from '@weft/kube';
import type { ApiResource, KindStrategy } from '../contract.ts';
import { printerOf } from '../table/index.ts';
import { kindRules } from './registry.ts';
import { ServiceAllocator, serviceRules } from './service/index.ts';
import type { KindRules } from './strategy.ts';
import { checkObjectMeta } from './validate/meta.ts';

export interface StrategyConfig {
  /** One CIDR per family; the first is the primary family. */
  readonly serviceCidrs: readonly string[];
  /** First and last NodePort, both included. */
  readonly nodePortRange: readonly [number, number];
  readonly clusterDomain: string;
}

export interface Strategies {
  /** Always the same object for the same group and plural. */
  strategyFor(resource: ApiResource): KindStrategy;
  /** Reserves what stored objects hold; call once, before the first write. */
  rebuild(objects: Iterable<{ readonly resource: ApiResource; readonly obj: KubeObject }>): void;
}

/** A status update changes nothing but status and metadata. */
function keepSpec(next: KubeObject, old: KubeObject): void {
  const target = next as unknown as Record<string, unknown>;
  const source = old as unknown as Record<string, unknown>;
  for (const key of new Set([...Object.keys(target), ...Object.keys(source)])) {
    if (['apiVersion', 'kind', 'metadata', 'status'].includes(key)) continue;
    if (source[key] === undefined) delete target[key];
    else target[key] = source[key];
  }
}

function assemble(resource: ApiResource, kind: KindRules): KindStrategy {
  const nameRule = kind.nameRule ?? 'dns-subdomain';
  return {
    ...kind,
    ...printerOf(resource),
    nameRule,
    ...(kind.statusSubresource === true
      ? {
          prepareStatusUpdate: (next: KubeObject, old: KubeObject, ctx) => {
            keepSpec(next, old);
            kind.prepareStatusUpdate?.(next, old, ctx);
          },
        }
      : {}),
    validate: (obj, ctx) => [
      ...checkObjectMeta(obj, resource.namespaced, nameRule),
      ...(kind.validate?.(obj, ctx) ?? []),
    ],
  };
}

/**
 * The rules of every built-in kind: defaults, validation, immutability, allocation, tables. Throws WeftError when a range
 * of the configuration is unusable.
 */
export function createStrategies(config: StrategyConfig): Strategies {
  const allocator = new ServiceAllocator(config.serviceCidrs, config.nodePortRange);
  const special: Readonly<Record<string, KindRules>> = { '/services': serviceRules(allocator) };
  const made = new Map<string, KindStrategy>();
  return {
    strategyFor(resource) {
      const id = `${resource.group}/${resource.plural}`;
      let strategy = made.get(id);
      if (strategy === undefined) {
        strategy = assemble(resource, special[id] ?? kindRules[id] ?? {});
        made.set(id, strategy);
      }
      return strategy;
    },
    rebuild(objects) {
      const services: Service[] = [];
      for (const { resource, obj } of objects) {
        if (resource.group === '' && resource.plural === 'services') services.push(obj as Service);
      }
      allocator.rebuild(services);
    },
  };
}
