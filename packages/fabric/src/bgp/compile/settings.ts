import { parsePrefix } from '@weft/net';
import type { BGPConfiguration } from '@weft/kube';
import type { LargeCommunity } from '../codec/index.ts';
import type { FilterRule } from '../rib/index.ts';
import { BGP_PORT, DEFAULT_RESTART_TIME } from '../speaker/index.ts';
import { parseAsNumber, parseCommunity, parseSeconds } from './values.ts';
import type { BgpProblem, BgpWorld } from './world.ts';

/** AS number of nodes where nothing says another (Calico's). */
const DEFAULT_AS = 64512;

/** What all BGPConfigurations together say for this node. */
export interface BgpSettings {
  readonly mesh: boolean;
  readonly as: number;
  readonly port: number;
  readonly bindNodeIp: boolean;
  readonly meshPassword: string | undefined;
  /** The mesh's password is asked for and not known: no session must be tried without it. */
  readonly meshPasswordMissing: boolean;
  readonly meshRestartTime: number;
  readonly spec: NonNullable<BGPConfiguration['spec']>;
  /** Rules that put communities on what is announced. */
  readonly tags: readonly FilterRule[];
}

function readTags(spec: BgpSettings['spec'], name: string, say: (problem: BgpProblem) => void): FilterRule[] {
  const named = new Map((spec.communities ?? []).map((c) => [c.name, c.value]));
  return (spec.prefixAdvertisements ?? []).flatMap(({ cidr = '', communities = [] }, i) => {
    const prefix = parsePrefix(cidr);
    const field = `spec.prefixAdvertisements[${i}]`;
    if (prefix === undefined) {
      say({ kind: 'BGPConfiguration', name, message: `${field}.cidr: "${cidr}" is not a CIDR block` });
      return [];
    }
    const small: number[] = [];
    const large: LargeCommunity[] = [];
    for (const text of communities) {
      const community = parseCommunity(named.get(text) ?? text);
      if (typeof community === 'number') small.push(community);
      else if (community !== undefined) large.push(community);
      else say({ kind: 'BGPConfiguration', name, message: `${field}.communities: "${text}" is not a community` });
    }
    const set = {
      ...(small.length === 0 ? {} : { communities: small }),
      ...(large.length === 0 ? {} : { largeCommunities: large }),
    };
    return [{ action: 'Accept' as const, cidr: prefix, operator: 'In' as const, set, proceed: true }];
  });
}

/** Reads the configuration of a node: `default`, with what `node.NAME` says over it. */
export function readSettings(world: BgpWorld, say: (problem: BgpProblem) => void): BgpSettings {
  const find = (name: string): BGPConfiguration['spec'] =>
    world.configurations.find((c) => c.metadata.name === name)?.spec;
  const spec = { ...find('default'), ...find(`node.${world.self.name}`) };
  const problem = (message: string): void => say({ kind: 'BGPConfiguration', name: 'default', message });
  const as = spec.asNumber === undefined ? DEFAULT_AS : parseAsNumber(spec.asNumber);
  if (as === undefined) problem(`spec.asNumber: ${String(spec.asNumber)} is not an AS number`);
  const ref = spec.nodeMeshPassword?.secretKeyRef;
  const meshPassword = ref === undefined ? undefined : world.secret(ref.name, ref.key);
  const missing = ref !== undefined && meshPassword === undefined;
  if (missing) problem(`spec.nodeMeshPassword: Secret ${ref.name} has no key ${ref.key}`);
  const restart =
    spec.nodeMeshMaxRestartTime === undefined ? DEFAULT_RESTART_TIME : parseSeconds(spec.nodeMeshMaxRestartTime);
  if (restart === undefined)
    problem(`spec.nodeMeshMaxRestartTime: "${spec.nodeMeshMaxRestartTime ?? ''}" is not a duration`);
  return {
    mesh: spec.nodeToNodeMeshEnabled ?? true,
    as: as ?? DEFAULT_AS,
    port: spec.listenPort ?? BGP_PORT,
    bindNodeIp: spec.bindMode === 'NodeIP',
    meshPassword,
    meshPasswordMissing: missing,
    meshRestartTime: Math.min(restart ?? DEFAULT_RESTART_TIME, 4095),
    spec,
    tags: readTags(spec, 'default', say),
  };
}
