import type { KubeObject } from '@weft/kube';
import type { ApiResource, KindStrategy } from '../contract.ts';

export interface StrategyConfig {
  /** One CIDR per family; the first is the primary family. */
  readonly serviceCidrs: readonly string[];
  /** First and last NodePort, both included. */
  readonly nodePortRange: readonly [number, number];
  readonly clusterDomain: string;
}

export interface Strategies {
  strategyFor(resource: ApiResource): KindStrategy;
  /** Reserves what stored objects hold; call once, before the first write. */
  rebuild(objects: Iterable<{ resource: ApiResource; obj: KubeObject }>): void;
}

export function createStrategies(_config: StrategyConfig): Strategies {
  const plain: KindStrategy = {
    columns: [
      { name: 'Name', type: 'string', format: 'name', description: '', priority: 0 },
      { name: 'Age', type: 'string', description: '', priority: 0 },
    ],
    cells: (obj) => [obj.metadata.name, '<unknown>'],
  };
  return { strategyFor: () => plain, rebuild: () => undefined };
}
