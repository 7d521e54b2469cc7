import { type EndpointSlice, objectKey, resources, type Service, splitKey } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { LOOK_AGAIN_MS, OwnWrites } from '../own-writes.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { allocate, type Holder, holderOf, statusIps } from './allocate.ts';
import { type Announcer, announcers, elect } from './elect.ts';
import { holds, IP_ADDRESS_POOLS, type IPAddressPool, parsePool, type Pool } from './pool.ts';
import { parseIp } from '@weft/net';

const NAME = 'load-balancer-controller';

/** On a Service: the node that answers for its addresses on the network. Written by the controller, read by the agents. */
export const ANNOUNCED_BY = 'weft.dev/announced-by';
/** `spec.loadBalancerClass` of Services that are ours beside those without a class. */
const LOAD_BALANCER_CLASS = 'weft.dev/l2';

/**
 * Services of type LoadBalancer without a cloud: gives them addresses of pools (MetalLB's kind IPAddressPool), writes
 * them to the status with `ipMode: VIP`, and chooses the node that announces them.
 */
export function loadBalancerController(context: ControllerContext): Controller {
  const { client, informers, log } = context;
  const recorder = eventRecorder(context, NAME);
  const services = informers.of(resources.services);
  const pools = informers.of<IPAddressPool>(IP_ADDRESS_POOLS);
  const nodes = informers.of(resources.nodes);
  const namespaces = informers.of(resources.namespaces);
  const slices = informers.index(resources.endpointslices, 'load-balancer', (slice) => {
    const name = slice.metadata.labels?.['kubernetes.io/service-name'];
    return name === undefined ? undefined : `${slice.metadata.namespace}/${name}`;
  });
  /** Who has which address: what was written, also before any cache shows it. */
  const holders = new Map<string, Map<string, Holder>>();
  const held = new Map<string, readonly string[]>();
  const waiting = new Set<string>();
  const told = new Map<string, string>();
  const writes = new OwnWrites();
  // One at a time: two Services must not be looking at the same free address.
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 1 }, reconcile);

  const release = (key: string): void => {
    for (const ip of held.get(key) ?? []) {
      const list = holders.get(ip);
      list?.delete(key);
      if (list?.size === 0) holders.delete(ip);
    }
    if (!held.delete(key)) return;
    for (const other of waiting) queue.add(other);
    waiting.clear();
  };
  const hold = (key: string, ips: readonly string[], holder: Holder): void => {
    for (const ip of ips) {
      const list = holders.get(ip) ?? new Map<string, Holder>();
      list.set(key, holder);
      holders.set(ip, list);
    }
    held.set(key, ips);
  };

  /** Pools and nodes as they were last read: every Service asks for them, and they seldom change. */
  let poolsNow: Pool[] | undefined;
  let nodesNow: Announcer[] | undefined;

  function usablePools(): Pool[] {
    poolsNow ??= readPools();
    return poolsNow;
  }

  function readPools(): Pool[] {
    return pools.list().flatMap((object) => {
      const read = parsePool(object);
      const key = `pool ${objectKey(object)}`;
      if (read.problem === undefined) {
        told.delete(key);
        return [read.pool];
      }
      if (told.get(key) !== read.problem) {
        told.set(key, read.problem);
        log.warn('a pool cannot be used', { pool: objectKey(object), problem: read.problem });
        recorder.event(object, 'Warning', 'InvalidPool', read.problem);
      }
      return [];
    });
  }

  async function reconcile(key: string): Promise<Again> {
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const service = services.get(key);
    if (service === undefined) {
      release(key);
      waiting.delete(key);
      told.delete(key);
      return undefined;
    }
    const all = usablePools();
    if (!isOurs(service)) return giveUp(key, service, all);
    const result = allocate(service, {
      pools: all,
      holders: (ip) => [...(holders.get(ip)?.values() ?? [])],
      namespace: namespaces.get(service.metadata.namespace ?? ''),
    });
    if (result.error !== undefined) {
      waiting.add(key);
      if (told.get(key) !== result.error) {
        told.set(key, result.error);
        recorder.event(
          service,
          'Warning',
          'AllocationFailed',
          `Failed to allocate IP for ${JSON.stringify(key)}: ${result.error}`,
        );
      }
      // An address that may not be kept must not go on answering.
      if (
        statusIps(service).some((ip) => all.some((pool) => holdsText(pool, ip)) || held.get(key)?.includes(ip) === true)
      ) {
        release(key);
        waiting.add(key);
        await write(key, service, []);
      }
      return undefined;
    }
    waiting.delete(key);
    told.delete(key);
    if (!sameValue(held.get(key), result.ips) || !sameValue(statusIps(service), result.ips)) {
      release(key);
      hold(key, result.ips, holderOf(service));
      if (!sameValue(statusIps(service), result.ips)) {
        await write(key, service, result.ips);
        recorder.event(service, 'Normal', 'IPAllocated', `Assigned IP ${JSON.stringify(result.ips)}`);
        return LOOK_AGAIN_MS;
      }
    } else hold(key, result.ips, holderOf(service));
    await announce(key, service, result.ips[0] as string);
    return undefined;
  }

  /** A Service that is not ours, or no longer: takes away what it had from us, and nothing else. */
  async function giveUp(key: string, service: Service, all: readonly Pool[]): Promise<Again> {
    waiting.delete(key);
    const ours = held.has(key) || service.metadata.annotations?.[ANNOUNCED_BY] !== undefined;
    release(key);
    if (!ours) return undefined;
    const ips = statusIps(service);
    if (service.spec.type !== 'LoadBalancer' && ips.some((ip) => all.some((pool) => holdsText(pool, ip)))) {
      await write(key, service, []);
      return LOOK_AGAIN_MS;
    }
    if (service.metadata.annotations?.[ANNOUNCED_BY] !== undefined) await annotate(key, null);
    return undefined;
  }

  async function write(key: string, service: Service, ips: readonly string[]): Promise<void> {
    const { namespace, name } = splitKey(key);
    const loadBalancer = ips.length === 0 ? { ingress: null } : { ingress: ips.map((ip) => ({ ip, ipMode: 'VIP' })) };
    const patch = { metadata: { uid: service.metadata.uid }, status: { loadBalancer } };
    writes.wrote(
      key,
      services,
      await client.patch(resources.services, namespace, name, patch, { subresource: 'status' }),
    );
  }

  async function annotate(key: string, node: string | null): Promise<void> {
    const { namespace, name } = splitKey(key);
    const patch = { metadata: { annotations: { [ANNOUNCED_BY]: node } } };
    writes.wrote(key, services, await client.patch(resources.services, namespace, name, patch));
  }

  async function announce(key: string, service: Service, ip: string): Promise<void> {
    nodesNow ??= announcers(nodes.list());
    const node = elect(ip, service, nodesNow, slices.byIndex('load-balancer', key) as EndpointSlice[]);
    const before = service.metadata.annotations?.[ANNOUNCED_BY];
    if (node === before) return;
    await annotate(key, node ?? null);
    if (node === undefined)
      recorder.event(
        service,
        'Warning',
        'NotAnnounced',
        `no node may announce ${ip}: none is ready and on its network`,
      );
    else
      recorder.event(
        service,
        'Normal',
        'nodeAssigned',
        `announcing from node ${JSON.stringify(node)} with protocol "layer2"`,
      );
  }

  const everything = (): void => {
    for (const service of services.list())
      if (isOurs(service) || held.has(objectKey(service))) queue.add(objectKey(service));
  };
  let asked = false;
  // A thousand nodes that come in one list ask for all Services once.
  const all = (): void => {
    if (asked) return;
    asked = true;
    queueMicrotask(() => {
      asked = false;
      everything();
    });
  };
  services.on({
    add: (service) => queue.add(objectKey(service)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (service) => queue.add(objectKey(service)),
  });
  const pooled = (): void => {
    poolsNow = undefined;
    all();
  };
  pools.on({ add: pooled, update: pooled, delete: pooled });
  namespaces.on({
    update: (before, after) => void (sameValue(before.metadata.labels, after.metadata.labels) || all()),
  });
  const noded = (): void => {
    nodesNow = undefined;
    all();
  };
  nodes.on({
    add: noded,
    update: (before, after) => void (sameValue(announcers([before]), announcers([after])) || noded()),
    delete: noded,
  });
  const sliced = (slice: EndpointSlice): void => {
    const name = slice.metadata.labels?.['kubernetes.io/service-name'];
    const key = `${slice.metadata.namespace}/${name}`;
    const service = services.get(key);
    if (service !== undefined && isOurs(service) && service.spec.externalTrafficPolicy === 'Local') queue.add(key);
  };
  slices.on({ add: sliced, update: (_, after) => sliced(after), delete: sliced });

  return {
    name: NAME,
    needs: [services, pools, nodes, namespaces, slices],
    begin: () => {
      const usable = usablePools();
      // What Services have is the only record: it is read before the first address is given.
      for (const service of services.list()) {
        const ips = statusIps(service);
        if (!isOurs(service) || ips.length === 0) continue;
        if (ips.every((ip) => usable.some((pool) => holdsText(pool, ip))))
          hold(objectKey(service), ips, holderOf(service));
      }
      log.debug('addresses of balancers in use', { addresses: holders.size });
      queue.release();
    },
    idle: () => queue.idle(),
  };
}

function holdsText(pool: Pool, text: string): boolean {
  const ip = parseIp(text);
  return ip !== undefined && holds(pool, ip);
}

/** Whether this controller is the one to serve it: of type LoadBalancer, without a class or of ours, and not on its way out. */
function isOurs({ metadata, spec }: Service): boolean {
  if (spec.type !== 'LoadBalancer' || metadata.deletionTimestamp !== undefined) return false;
  return spec.loadBalancerClass === undefined || spec.loadBalancerClass === LOAD_BALANCER_CLASS;
}
