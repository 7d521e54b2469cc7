import type { Service } from '@weft/kube';
import type { StrategyContext } from '../../contract.ts';
import { type KindRules, rules } from '../strategy.ts';
import type { ServiceAllocator } from './allocate.ts';
import { defaultService, defaultServiceStatus, prepareServiceCreate, prepareServiceUpdate } from './defaults.ts';
import { isHeadless } from './shape.ts';
import { validateService, validateServiceUpdate } from './validate.ts';

function warnings(service: Service): string[] {
  const { spec } = service;
  const out: string[] = [];
  if (isHeadless(service)) {
    if (spec.externalIPs?.length) out.push('spec.externalIPs is ignored when spec.clusterIP is "None"');
    if (spec.sessionAffinity === 'ClientIP') out.push('spec.SessionAffinity is ignored for headless services');
  }
  if (spec.loadBalancerIP) out.push('spec.loadBalancerIP is deprecated');
  return out;
}

export { ServiceAllocator } from './allocate.ts';

/** core/v1 Service. */
export function serviceRules(allocator: ServiceAllocator): KindRules {
  return rules<Service>({
    nameRule: 'dns1035-label',
    statusSubresource: true,
    defaults: defaultService,
    prepareCreate: prepareServiceCreate,
    prepareUpdate: prepareServiceUpdate,
    prepareStatusUpdate: defaultServiceStatus,
    validate: validateService,
    validateUpdate: validateServiceUpdate,
    allocate: (next, old, ctx: StrategyContext) => allocator.allocate(next, old, ctx.dryRun),
    release: (service) => allocator.release(service),
    selectableFields: {
      'spec.clusterIP': (s) => s.spec.clusterIP ?? '',
      'spec.type': (s) => s.spec.type ?? '',
    },
    warnings,
  });
}
