import type { FabricStatus } from '@weft/fabric';
import { isStatus, type KubeClient, type Pod, resources } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { createOutput, table } from '../output.ts';
import { askAgents } from './ask-agent.ts';
import { captureOnNode } from './node.ts';
import { clientOf } from './proxy.ts';
import { parseName } from './service.ts';

export interface RouteOptions {
  /** The cluster's name. */
  readonly name: string;
  readonly namespace?: string;
  readonly output?: string;
}

/** One device that a packet leaves by. */
export interface RouteStep {
  readonly node: string;
  readonly device: string;
  /** Bytes. */
  readonly mtu: number | undefined;
  /** The entry of the kernel that decides it. */
  readonly by: string;
  /** The object behind that entry, where it is ours. */
  readonly object: string | undefined;
}

/** A route as `ip -j route get fibmatch` prints it. */
export interface KernelRoute {
  readonly type?: string;
  readonly dst: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly protocol?: string;
  /** Next hops of a route with several. */
  readonly nexthops?: readonly { readonly gateway?: string; readonly dev?: string }[];
}

interface PodPlace {
  readonly name: string;
  readonly address: string;
  readonly node: string;
  readonly onHost: boolean;
}

/** What the way is made of: the kernel's answers, node by node. */
export interface NodeView {
  readonly status: FabricStatus;
  /** MTU of each device. */
  readonly mtus: ReadonlyMap<string, number>;
  /** The route that a packet for an address takes; `undefined` when the kernel has none. */
  readonly route: (to: string) => Promise<KernelRoute | undefined>;
}

function text(route: KernelRoute): string {
  const via = route.gateway ?? route.nexthops?.map((hop) => hop.gateway ?? hop.dev).join(', ');
  return `route ${route.dst}${via === undefined ? '' : ` via ${via}`}`;
}

/**
 * The way from pod to pod: by the source's node, and where the other is elsewhere by the fabric, its underlay and the other's
 * node. Ends early where a kernel has no route.
 */
export async function followRoute(
  from: PodPlace,
  to: PodPlace,
  at: (node: string) => Promise<NodeView>,
): Promise<{ readonly steps: readonly RouteStep[]; readonly problem?: string }> {
  const steps: RouteStep[] = [];
  const here = await at(from.node);
  const step = (view: NodeView, device: string, by: string, object: string | undefined): void =>
    void steps.push({ node: view.status.node, device, mtu: view.mtus.get(device), by, object });
  if (!from.onHost) {
    const back = await here.route(from.address);
    step(here, back?.dev ?? '?', `the pod's default route`, `Pod ${from.name}`);
  }
  const route = await here.route(to.address);
  if (
    route === undefined ||
    (route.dev === undefined && route.nexthops === undefined) ||
    route.type === 'unreachable'
  ) {
    const why = route === undefined ? 'no route' : `${route.type ?? ''} route ${route.dst}`;
    return { steps, problem: `node ${from.node} has ${why} for ${to.address}` };
  }
  const device = route.dev ?? route.nexthops?.[0]?.dev ?? '?';
  if (from.node === to.node) {
    step(here, device, text(route), `Pod ${to.name}`);
    return { steps };
  }
  const peer = here.status.peers.find((one) => one.node === to.node);
  const planned = peer?.routes.find(({ dst }) => dst === route.dst);
  step(here, device, text(route), planned?.cause);
  if (here.status.devices.some((one) => one.name === device)) {
    const end = here.status.devices.find((one) => one.name === device)?.kind === 'tun' ? 'the agent' : 'tunnel';
    const address = peer?.addresses.find((one) => one.includes('.')) ?? peer?.addresses[0] ?? '';
    const under = await here.route(address);
    const by = `${end} to ${address}, ${under === undefined ? 'no route' : text(under)}`;
    step(here, under?.dev ?? '?', by, `Node ${to.node} status.addresses`);
  }
  const there = await at(to.node);
  const last = await there.route(to.address);
  if (last?.dev === undefined || last.type === 'unreachable') {
    const why = last === undefined ? 'no route' : `${last.type ?? ''} route ${last.dst}`;
    return { steps, problem: `node ${to.node} has ${why} for ${to.address}` };
  }
  step(there, last.dev, text(last), to.onHost ? `Node ${to.node}` : `Pod ${to.name}`);
  return { steps };
}

async function place(client: KubeClient, text: string, namespace: string | undefined): Promise<PodPlace> {
  const name = parseName(text.replace(/^pod\//, ''), namespace);
  let pod: Pod;
  try {
    pod = await client.get(resources.pods, name.namespace, name.name);
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
    throw new WeftError({
      code: 'NO_SUCH_POD',
      message: `there is no Pod ${name.namespace}/${name.name}`,
      hint: 'kubectl get pods -A lists them; name one as NAMESPACE/NAME',
    });
  }
  const address = pod.status?.podIP;
  if (address === undefined || pod.spec?.nodeName === undefined) {
    throw new WeftError({
      code: 'POD_WITHOUT_ADDRESS',
      message: `Pod ${name.namespace}/${name.name} has no address (status.podIP)`,
      hint: `it is ${pod.status?.phase ?? 'new'}; kubectl describe pod says why`,
    });
  }
  const onHost = pod.spec.hostNetwork === true;
  return { name: `${name.namespace}/${name.name}`, address, node: pod.spec.nodeName, onHost };
}

async function ask<T>(node: string, cluster: string, ...argv: string[]): Promise<T[]> {
  const { code, stdout } = await captureOnNode(node, ['ip', '-j', ...argv], { name: cluster });
  return code === 0 && stdout.trim() !== '' ? (JSON.parse(stdout) as T[]) : [];
}

async function viewOf(node: string, cluster: string): Promise<NodeView> {
  const [answer] = await askAgents<FabricStatus>({ name: cluster, node: [node] }, '/fabric', 'it has no pod network');
  if (answer === undefined || 'error' in answer) {
    throw new WeftError({
      code: 'NO_ANSWER',
      message: `the agent of node ${node} does not answer: ${answer?.error ?? ''}`,
      hint: `weft status --name ${cluster}`,
    });
  }
  const links = await ask<{ readonly ifname: string; readonly mtu: number }>(node, cluster, 'link');
  return {
    status: answer.document,
    mtus: new Map(links.map((link) => [link.ifname, link.mtu])),
    route: async (to) => (await ask<KernelRoute>(node, cluster, 'route', 'get', 'fibmatch', to))[0],
  };
}

/** Shows the way of a packet from pod to pod. */
export async function routeCommand(fromText: string, toText: string, options: RouteOptions): Promise<void> {
  const out = createOutput(options.output);
  const client = await clientOf({ name: options.name });
  try {
    const [from, to] = [
      await place(client, fromText, options.namespace),
      await place(client, toText, options.namespace),
    ];
    const { steps, problem } = await followRoute(from, to, (node) => viewOf(node, options.name));
    const mtus = steps.flatMap(({ mtu }) => mtu ?? []);
    const smallest = mtus.length === 0 ? undefined : Math.min(...mtus);
    out.result({ from, to, steps, smallestMtu: smallest, ...(problem === undefined ? {} : { problem }) });
    out.line(`${from.name} (${from.address} on ${from.node}) → ${to.name} (${to.address} on ${to.node})`);
    const rows = steps.map(({ node, device, mtu, by, object }) => [node, device, String(mtu ?? ''), by, object ?? '']);
    for (const line of table(['NODE', 'DEVICE', 'MTU', 'DECIDED BY', 'OBJECT'], rows)) out.line(`  ${line}`);
    if (smallest !== undefined) out.line(`  smallest MTU ${smallest}`);
    if (problem !== undefined) {
      out.line(`  it ends here: ${problem}`);
      process.exitCode = 1;
    }
  } finally {
    client.close();
  }
}
