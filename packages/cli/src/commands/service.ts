import { ACTIVE_PROXY_MODE } from '@weft/agent';
import { type EndpointSlice, isStatus, type KubeClient, type Node, resources, type Service } from '@weft/kube';
import { isIP } from 'node:net';
import { formatPrefix, parsePrefix, prefixContains } from '@weft/net';
import { WeftError } from '@weft/plan';
import {
  decide,
  type Decision,
  explainService,
  familyConfigs,
  frontendText,
  type Mode,
  type PacketSource,
  planOf,
  type PortReport,
  type PortTraffic,
  ruleChanges,
  type RuleLine,
  type ServiceObjects,
  type ServicePort,
  type ServiceReport,
  MODES,
} from '@weft/proxy';
import { createOutput, table } from '../output.ts';
import { fetchFromHere, fetchOnNode } from './ask-agent.ts';
import { clientOf, type Where } from './proxy.ts';

export interface ServiceOptions extends Where {
  readonly namespace?: string;
  readonly from?: string;
  readonly node?: string;
  readonly rules?: boolean;
  readonly traffic?: boolean;
  readonly output?: string;
}

/** A packet from `--from` to one frontend, on the node where it meets the rules. */
interface Answer {
  readonly node: string;
  readonly source: PacketSource;
  readonly frontend: string;
  readonly kind: string;
  readonly decision: Decision;
}

/** `NS/NAME`, or a name in `-n` or the namespace default. */
export function parseName(text: string, namespace: string | undefined): { namespace: string; name: string } {
  const [first = '', second] = text.split('/');
  return second === undefined ? { namespace: namespace ?? 'default', name: first } : { namespace: first, name: second };
}

async function read(
  client: KubeClient,
  text: string,
  options: ServiceOptions,
): Promise<{ objects: ServiceObjects; nodes: Node[]; all: Node[] }> {
  const { namespace, name } = parseName(text, options.namespace);
  let service: Service;
  try {
    service = await client.get(resources.services, namespace, name);
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
    throw new WeftError({
      code: 'NO_SUCH_SERVICE',
      message: `there is no Service ${namespace}/${name}`,
      hint: 'kubectl get services -A lists them; name one as NAMESPACE/NAME',
    });
  }
  const labelSelector = `kubernetes.io/service-name=${name}`;
  const slices: readonly EndpointSlice[] = (await client.list(resources.endpointslices, namespace, { labelSelector }))
    .items;
  const { items } = await client.list(resources.nodes);
  const nodes = items.filter((node) => options.node === undefined || node.metadata.name === options.node);
  if (options.node !== undefined && nodes.length === 0) {
    throw new WeftError({
      code: 'NO_SUCH_NODE',
      message: `there is no node "${options.node}"`,
      hint: `nodes are ${items.map((node) => node.metadata.name).join(', ')}`,
    });
  }
  return { objects: { service, slices }, nodes, all: items };
}

/** The smallest block per family that holds the pods of all nodes: how pods are told, as far as the API shows it. */
export function podBlocks(nodes: readonly Node[]): string[] {
  const all = nodes
    .flatMap((node) => node.spec?.podCIDRs ?? node.spec?.podCIDR ?? [])
    .flatMap((t) => parsePrefix(t) ?? []);
  return ([4, 6] as const).flatMap((family) => {
    const [first, ...rest] = all.filter((prefix) => prefix.ip.family === family);
    if (first === undefined) return [];
    let length = first.length;
    const holds = (): boolean =>
      rest.every((other) => prefixContains({ ip: first.ip, length }, other.ip) && other.length >= length);
    while (length > 0 && !holds()) length -= 1;
    // Read once more: bits behind the length go.
    const block = parsePrefix(formatPrefix({ ip: first.ip, length }));
    return block === undefined ? [] : [formatPrefix(block)];
  });
}

/** Which data plane a node has by its own word; nftables where it has not said. */
export function modeOf(node: Node): Mode {
  const mode = node.metadata.annotations?.[ACTIVE_PROXY_MODE];
  return MODES.find((known) => known === mode) ?? 'nftables';
}

/** What carries a plan on a node, as its data plane writes it. `nodes` are all nodes of the cluster. */
export function rulesOn(
  node: Node,
  nodes: readonly Node[],
  before: ReturnType<typeof planOf>,
  after: ReturnType<typeof planOf>,
): RuleLine[] {
  const mode = modeOf(node);
  const configs = familyConfigs({ families: [4, 6], clusterCidrs: podBlocks(nodes), serviceCidrs: [] }, mode);
  return configs.flatMap((config) => ruleChanges(mode, config, before, after));
}

async function sourceOf(
  client: KubeClient,
  text: string,
  namespace: string,
  nodes: readonly Node[],
): Promise<{ source: PacketSource; at: string | undefined }> {
  if (isIP(text) !== 0) {
    const { items } = await client.list(resources.pods);
    const pod = items.find((p) => p.status?.podIP === text && p.spec?.hostNetwork !== true);
    if (pod !== undefined) return { source: { kind: 'pod', address: text }, at: pod.spec?.nodeName };
    const node = nodes.find((n) => n.status?.addresses?.some((a) => a.address === text));
    if (node !== undefined) return { source: { kind: 'node', address: text }, at: node.metadata.name };
    return { source: { kind: 'outside', address: text }, at: undefined };
  }
  const node = nodes.find((n) => n.metadata.name === text);
  if (node !== undefined) {
    return { source: { kind: 'node', address: node.status?.addresses?.[0]?.address ?? '' }, at: text };
  }
  const name = parseName(text.replace(/^pod\//, ''), namespace);
  try {
    const pod = await client.get(resources.pods, name.namespace, name.name);
    const kind = pod.spec?.hostNetwork === true ? 'node' : 'pod';
    return { source: { kind, address: pod.status?.podIP ?? '' }, at: pod.spec?.nodeName };
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
    throw new WeftError({
      code: 'NO_SUCH_SOURCE',
      message: `--from: ${text} is no IP address, no node, and there is no pod ${name.namespace}/${name.name}`,
      hint: 'give an address, a node, POD or NAMESPACE/POD',
    });
  }
}

function answers(objects: ServiceObjects, node: Node, source: PacketSource): Answer[] {
  const family = isIP(source.address);
  const out: Answer[] = [];
  for (const { value } of planOf(objects, node).values()) {
    const port = value as ServicePort;
    if (family !== 0 && port.family !== family) continue;
    for (const frontend of port.frontends) {
      const decision = decide(port, frontend, source, { masqueradeAll: false, detects: true });
      out.push({ node: node.metadata.name, source, frontend: frontendText(frontend), kind: frontend.kind, decision });
    }
  }
  return out;
}

/** What goes to the endpoints through one node, or why that is not known. */
interface NodeTraffic {
  readonly node: string;
  readonly ports?: readonly PortTraffic[];
  readonly error?: string;
}

async function trafficOn(node: Node, { metadata }: Service, options: ServiceOptions): Promise<NodeTraffic> {
  const { name } = node.metadata;
  const address = node.status?.addresses?.find((a) => a.type === 'InternalIP')?.address;
  if (address === undefined) return { node: name, error: 'the Node has no InternalIP' };
  const path = `/services/traffic?service=${encodeURIComponent(`${metadata.namespace}/${metadata.name}`)}`;
  const answer =
    options.kubeconfig === undefined
      ? await fetchOnNode(name, address, path, options.name)
      : await fetchFromHere(address, path);
  if (answer.found) return { node: name, ports: answer.document as PortTraffic[] };
  return { node: name, error: answer.error ?? 'the agent there does not serve it' };
}

/** Connections and packets by endpoint and node, for people. */
export function renderTraffic(nodes: readonly NodeTraffic[]): string[] {
  const rows = nodes.flatMap(({ node, ports = [] }) =>
    ports.flatMap(({ port, protocol, backends }) =>
      backends.map((b) => [
        node,
        port === '' ? protocol : `${port} ${protocol}`,
        b.endpoint,
        `${b.connections}`,
        b.packets === undefined ? '-' : `${b.packets}`,
        b.bytes === undefined ? '-' : `${b.bytes}`,
        b.inUse ? '' : 'gets no new ones',
      ]),
    ),
  );
  const lines = ['', ...table(['NODE', 'PORT', 'ENDPOINT', 'CONNECTIONS', 'PACKETS', 'BYTES', ''], rows)];
  const uncounted = nodes.some(({ ports = [] }) =>
    ports.some((p) => p.backends.some((b) => b.connections > 0 && b.packets === undefined)),
  );
  if (uncounted) lines.push('packets are counted where the node has net.netfilter.nf_conntrack_acct=1');
  for (const { node, error } of nodes) if (error !== undefined) lines.push(`${node}: ${error}`);
  return lines;
}

/** `weft service`: frontends, endpoints and why each is in or out, rules, and what becomes of a packet. */
export async function service(text: string, options: ServiceOptions): Promise<void> {
  const out = createOutput(options.output);
  const client = await clientOf(options);
  try {
    const { objects, nodes, all } = await read(client, text, options);
    const reports = nodes.map((node) => explainService(objects, node));
    const { namespace } = parseName(text, options.namespace);
    const from = options.from === undefined ? undefined : await sourceOf(client, options.from, namespace, all);
    const packets =
      from === undefined
        ? undefined
        : nodes
            .filter((n) => from.at === undefined || n.metadata.name === from.at)
            .flatMap((n) => answers(objects, n, from.source));
    const rules =
      options.rules === true
        ? nodes.map((node) => ({
            node: node.metadata.name,
            mode: modeOf(node),
            rules: rulesOn(node, all, new Map(), planOf(objects, node)).map((l) => l.text),
          }))
        : undefined;
    const traffic =
      options.traffic === true
        ? await Promise.all(nodes.map((node) => trafficOn(node, objects.service, options)))
        : undefined;
    out.result({
      ...(traffic === undefined ? {} : { traffic }),
      reports,
      ...(packets === undefined ? {} : { packets }),
      ...(rules === undefined ? {} : { rules }),
    });
    for (const line of render(objects.service, reports)) out.line(line);
    for (const line of packets === undefined ? [] : renderPackets(options.from as string, packets)) out.line(line);
    for (const line of traffic === undefined ? [] : renderTraffic(traffic)) out.line(line);
    for (const { node, mode, rules: lines } of rules ?? []) {
      out.line('');
      out.line(`Node ${node}, ${mode}:`);
      for (const line of lines) out.line(`  ${line}`);
    }
  } finally {
    client.close();
  }
}

function render({ metadata, spec }: Service, reports: readonly ServiceReport[]): string[] {
  const [first] = reports;
  const lines = [`Service ${metadata.namespace ?? ''}/${metadata.name}, ${spec.type ?? 'ClusterIP'}`];
  if (first === undefined) return [...lines, '  there is no node'];
  if (first.unserved !== undefined) return [...lines, `  not served: ${first.unserved}`];
  first.ports.forEach((port, i) =>
    lines.push(
      '',
      ...renderPort(
        port,
        reports.map((r) => ({ node: r.node, port: r.ports[i] as PortReport })),
      ),
    ),
  );
  return lines;
}

function renderPort(
  port: PortReport,
  nodes: readonly { readonly node: string; readonly port: PortReport }[],
): string[] {
  const notes = [
    ...(port.affinitySeconds > 0 ? [`clients stay with an endpoint for ${port.affinitySeconds} s`] : []),
    ...(port.sourceRanges.length > 0 ? [`balancer addresses only for ${port.sourceRanges.join(', ')}`] : []),
    ...(port.healthCheckNodePort > 0 ? [`health check on node port ${port.healthCheckNodePort}`] : []),
  ];
  const lines = [
    `Port ${port.port === '' ? '<unnamed>' : port.port} ${port.protocol} IPv${port.family}${notes.length > 0 ? `: ${notes.join('; ')}` : ''}`,
  ];
  const indent = (list: readonly string[]): string[] => list.map((line) => `  ${line}`);
  lines.push(
    ...indent(
      table(
        ['FRONTEND', 'KIND', 'POLICY', 'FIELD'],
        port.frontends.map((f) => [f.address, f.kind, f.policy, f.field]),
      ),
    ),
  );
  if (port.backends.length === 0) return [...lines, '  no endpoints: every frontend refuses'];
  const rows = port.backends.flatMap((backend, i) => {
    // Nodes that say the same share a line.
    const byWhy = new Map<string, string[]>();
    for (const { node, port: its } of nodes) {
      const why = its.backends[i]?.why ?? '';
      byWhy.set(why, [...(byWhy.get(why) ?? []), node]);
    }
    return [...byWhy].map(([why, who], line) => [
      line === 0 ? backend.endpoint : '',
      line === 0 ? (backend.target ?? backend.from) : '',
      line === 0 ? (backend.node ?? '<none>') : '',
      line === 0 ? backend.state : '',
      who.length === nodes.length && nodes.length > 1 ? 'all' : who.join(','),
      why,
    ]);
  });
  return [...lines, ...indent(table(['ENDPOINT', 'TARGET', 'NODE', 'STATE', 'ON', 'WHY'], rows))];
}

const VERDICTS = { serve: 'answered', refuse: 'refused', drop: 'dropped' } as const;

function renderPackets(from: string, packets: readonly Answer[]): string[] {
  const [first] = packets;
  if (first === undefined) return ['', `From ${from}: no frontend of its family`];
  return [
    '',
    `From ${from} (${first.source.kind} ${first.source.address}):`,
    ...table(
      ['ON', 'TO', 'KIND', 'IS', 'BY', 'CLIENT SEEN AS', 'BECAUSE'],
      packets.map(({ node, frontend, kind, decision }) => [
        node,
        frontend,
        kind,
        VERDICTS[decision.verdict],
        decision.endpoints.join(',') || '-',
        decision.verdict !== 'serve'
          ? '-'
          : decision.source === 'node'
            ? 'the node'
            : decision.hairpin.length > 0
              ? `itself, or the node by ${decision.hairpin.join(',')}`
              : 'itself',
        decision.because,
      ]),
    ).map((line) => `  ${line}`),
  ];
}
