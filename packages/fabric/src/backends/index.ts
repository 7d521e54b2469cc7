import { WeftError } from '@weft/plan';
import type { Backend } from '../backend.ts';
import { bgp } from './bgp.ts';
import { geneve, gre, ipip } from './external.ts';
import { hostGw } from './host-gw.ts';
import { l2 } from './l2.ts';
import { vxlan } from './vxlan.ts';

const BACKENDS: ReadonlyMap<string, Backend> = new Map(
  [vxlan, hostGw, l2, ipip, gre, geneve, bgp].map((backend) => [backend.name, backend]),
);

/** Names that a configuration may use. */
export function backendNames(): readonly string[] {
  return [...BACKENDS.keys()];
}

/** What a backend needs and can do. Throws WeftError for an unknown one. */
export function backendCapabilities(name: string): Backend['capabilities'] {
  return findBackend(name).capabilities;
}

export function findBackend(name: string): Backend {
  const backend = BACKENDS.get(name);
  if (backend !== undefined) return backend;
  throw new WeftError({
    code: 'FABRIC_BACKEND_UNKNOWN',
    message: `fabric: backend "${name}" is unknown`,
    hint: `use one of ${backendNames().join(', ')}`,
  });
}
