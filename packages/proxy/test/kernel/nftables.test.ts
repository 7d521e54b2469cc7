import { NftablesDataPlane } from '../../src/nftables/dataplane.ts';
import { layoutConfigs } from '../../src/options.ts';
import { serviceCompliance } from './compliance.ts';

serviceCompliance('nftables', (ns, options) => new NftablesDataPlane({ ns, tables: layoutConfigs(options) }));
