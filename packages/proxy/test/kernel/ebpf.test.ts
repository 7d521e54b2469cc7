import { afterAll } from 'vitest';
import { EbpfDataPlane } from '../../src/ebpf/dataplane.ts';
import { familyConfigs } from '../../src/options.ts';
import { TestCgroup } from '../support/cgroup.ts';
import type { PlaneFactory, Stage } from './bench.ts';
import { serviceCompliance } from './compliance.ts';

const group = new TestCgroup();
afterAll(() => group.close());

const make: PlaneFactory = (ns, options) =>
  new EbpfDataPlane({ ns, tables: familyConfigs(options, 'ebpf'), places: group });
/** The node and its pods are in the group; the other node and the outside are other machines. */
const enter = (stage: Stage): void => {
  for (const host of [stage.node, stage.pod1, stage.pod2, stage.ep1, stage.ep2]) group.enter(host.pid);
};

serviceCompliance('ebpf', new EbpfDataPlane({ tables: [], places: group }).capabilities, make, 2000, enter);
