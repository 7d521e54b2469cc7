import type { KubeObject, Service } from '@weft/kube';
import type { ApiResource, KindStrategy } from '../contract.ts';
import { printerOf } from '../table/index.ts';
import { kindRules } from './registry.ts';
import { ServiceAllocator, serviceRules } from './service/index.ts';
import type { KindRules } from './strategy.ts';

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
        strategy = { ...(special[id] ?? kindRules[id]), ...printerOf(resource) };
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
