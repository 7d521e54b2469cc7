import { type CalicoSelector, type IPPool, parseCalicoSelector, selectsAll } from '@weft/kube';
import { type Family, formatPrefix, parsePrefix, type Prefix, prefixesOverlap } from '@weft/net';
import { errorMessage } from '@weft/plan';

/** An address pool as it is worked with. */
export interface IpPool {
  readonly name: string;
  readonly family: Family;
  readonly prefix: Prefix;
  /** Canonical text of the prefix. */
  readonly cidr: string;
  /** Prefix length of its blocks. */
  readonly blockSize: number;
  /** New addresses may be given to pods. */
  readonly enabled: boolean;
  /** Also to pods that do not name it. */
  readonly automatic: boolean;
  /** True when its namespace selector leaves namespaces out: it was made for some. */
  readonly forSome: boolean;
  readonly natOutgoing: boolean;
  readonly ipipMode: string;
  readonly vxlanMode: string;
  readonly selectsNode: CalicoSelector;
  readonly selectsNamespace: CalicoSelector;
}

/** What is wrong with a pool object, naming the field. */
export interface PoolProblem {
  readonly pool: string;
  readonly message: string;
}

/** Default, smallest and largest prefix length of blocks, as Calico has them. */
const BLOCK = { 4: { default: 26, from: 20, to: 32 }, 6: { default: 122, from: 116, to: 128 } } as const;

function readPool(object: IPPool): IpPool {
  const { spec } = object;
  const prefix = parsePrefix(spec.cidr);
  if (prefix === undefined) throw new SyntaxError(`spec.cidr: "${spec.cidr}" is not a CIDR block`);
  const { family } = prefix.ip;
  const limits = BLOCK[family];
  const blockSize = spec.blockSize ?? Math.max(limits.default, prefix.length);
  if (blockSize < limits.from || blockSize > limits.to) {
    throw new RangeError(`spec.blockSize: ${blockSize} is not between ${limits.from} and ${limits.to}`);
  }
  if (blockSize < prefix.length) {
    throw new RangeError(`spec.blockSize: blocks of /${blockSize} do not fit ${formatPrefix(prefix)}`);
  }
  const selector = (field: 'nodeSelector' | 'namespaceSelector'): CalicoSelector => {
    try {
      return parseCalicoSelector(spec[field]);
    } catch (error) {
      throw new SyntaxError(`spec.${field}: ${errorMessage(error)}`);
    }
  };
  return {
    name: object.metadata.name,
    family,
    prefix,
    cidr: formatPrefix(prefix),
    blockSize,
    enabled: spec.disabled !== true && (spec.allowedUses?.includes('Workload') ?? true),
    automatic: spec.assignmentMode !== 'Manual',
    forSome: !selectsAll(spec.namespaceSelector),
    natOutgoing: spec.natOutgoing ?? spec['nat-outgoing'] ?? false,
    ipipMode: spec.ipipMode ?? (spec.ipip?.enabled === true ? (spec.ipip.mode ?? 'Always') : 'Never'),
    vxlanMode: spec.vxlanMode ?? 'Never',
    selectsNode: selector('nodeSelector'),
    selectsNamespace: selector('namespaceSelector'),
  };
}

function createdFirst(a: IPPool, b: IPPool): number {
  const [x, y] = [a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? ''];
  if (x !== y) return x < y ? -1 : 1;
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

/**
 * Reads pool objects, in the order of their names. One that cannot be used is left out and reported, and so is one
 * that overlaps an older pool. The same pool in both of its API groups counts once.
 */
export function readPools(objects: readonly IPPool[]): {
  readonly pools: readonly IpPool[];
  readonly problems: readonly PoolProblem[];
} {
  const pools: IpPool[] = [];
  const problems: PoolProblem[] = [];
  for (const object of [...objects].sort(createdFirst)) {
    const { name } = object.metadata;
    try {
      const pool = readPool(object);
      const other = pools.find((earlier) => prefixesOverlap(earlier.prefix, pool.prefix));
      if (other === undefined) pools.push(pool);
      else if (other.name !== name || other.cidr !== pool.cidr) {
        problems.push({ pool: name, message: `spec.cidr: ${pool.cidr} overlaps ${other.cidr} of pool ${other.name}` });
      }
    } catch (error) {
      problems.push({ pool: name, message: errorMessage(error) });
    }
  }
  return { pools: pools.sort((a, b) => (a.name < b.name ? -1 : 1)), problems };
}
