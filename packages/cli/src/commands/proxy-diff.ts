import { readFileSync } from 'node:fs';
import {
  type EndpointSlice,
  type KubeObject,
  type Node,
  parseYamlDocuments,
  resources,
  type Service,
} from '@weft/kube';
import { WeftError } from '@weft/plan';
import { planOf, type RuleLine } from '@weft/proxy';
import { createOutput } from '../output.ts';
import { clientOf, type Where } from './proxy.ts';
import { modeOf, rulesOn } from './service.ts';

export interface DiffOptions extends Where {
  readonly filename: string;
  readonly node?: string;
  readonly output?: string;
}

interface Objects {
  readonly services: ReadonlyMap<string, Service>;
  readonly slices: ReadonlyMap<string, EndpointSlice>;
}

const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? 'default'}/${metadata.name}`;

async function readManifest(file: string): Promise<KubeObject[]> {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (cause) {
    throw new WeftError({
      code: 'NO_SUCH_FILE',
      message: `cannot read ${file}`,
      hint: 'give the path of a manifest, or - for standard input',
      cause,
    });
  }
  const documents = (await parseYamlDocuments(text)) as (KubeObject & { items?: KubeObject[] })[];
  return documents.flatMap((document) => (Array.isArray(document.items) ? document.items : [document]));
}

/** The world with the objects of a manifest in the place of those of the same name. What the API server sets stays. */
export function overlay(
  world: Objects,
  manifest: readonly KubeObject[],
): { readonly world: Objects; readonly ignored: string[] } {
  const services = new Map(world.services);
  const slices = new Map(world.slices);
  const ignored: string[] = [];
  for (const object of manifest) {
    const metadata = { namespace: 'default', ...object.metadata };
    if (object.kind === 'Service') {
      const next = { ...object, metadata } as Service;
      const old = services.get(keyOf(next));
      const ips = {
        ...(old?.spec.clusterIP === undefined ? {} : { clusterIP: old.spec.clusterIP }),
        ...(old?.spec.clusterIPs === undefined ? {} : { clusterIPs: old.spec.clusterIPs }),
      };
      const kept = old === undefined ? next.spec : keepPorts(next.spec, old.spec);
      const status = next.status ?? old?.status;
      services.set(keyOf(next), {
        ...next,
        spec: { ...ips, ...kept },
        ...(status === undefined ? {} : { status }),
      });
    } else if (object.kind === 'EndpointSlice') {
      slices.set(keyOf({ ...object, metadata }), { ...object, metadata } as EndpointSlice);
    } else ignored.push(`${object.kind ?? 'object'} ${keyOf({ ...object, metadata })}`);
  }
  return { world: { services, slices }, ignored };
}

/** Ports of the node that the API server has chosen stay with a Service that leaves them out. */
function keepPorts(next: Service['spec'], old: Service['spec']): Service['spec'] {
  if (next.type !== 'NodePort' && next.type !== 'LoadBalancer') return next;
  const ports = (next.ports ?? []).map((port) => {
    const before = old.ports?.find(
      (p) => (p.name ?? '') === (port.name ?? '') && (p.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    );
    return port.nodePort === undefined && before?.nodePort !== undefined
      ? { ...port, nodePort: before.nodePort }
      : port;
  });
  const health = next.healthCheckNodePort ?? old.healthCheckNodePort;
  return { ...next, ports, ...(health === undefined ? {} : { healthCheckNodePort: health }) };
}

function plan(world: Objects, node: Node): ReturnType<typeof planOf> {
  const all = new Map();
  const slicesOf = new Map<string, EndpointSlice[]>();
  for (const slice of world.slices.values()) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.['kubernetes.io/service-name']}`;
    const list = slicesOf.get(key);
    if (list === undefined) slicesOf.set(key, [slice]);
    else list.push(slice);
  }
  for (const service of world.services.values()) {
    const slices = slicesOf.get(keyOf(service)) ?? [];
    for (const [key, entry] of planOf({ service, slices }, node)) all.set(key, entry);
  }
  return all;
}

/** `weft proxy diff`: what a manifest would change in the kernels, before it is applied. */
export async function proxyDiff(options: DiffOptions): Promise<void> {
  const out = createOutput(options.output);
  const manifest = await readManifest(options.filename);
  const client = await clientOf(options);
  try {
    const [services, slices, nodes] = await Promise.all([
      client.list(resources.services),
      client.list(resources.endpointslices),
      client.list(resources.nodes),
    ]);
    const before = {
      services: new Map(services.items.map((s) => [keyOf(s), s])),
      slices: new Map(slices.items.map((s) => [keyOf(s), s])),
    };
    const { world, ignored } = overlay(before, manifest);
    const results = nodes.items
      .filter((node) => options.node === undefined || node.metadata.name === options.node)
      .map((node) => ({
        node: node.metadata.name,
        mode: modeOf(node),
        changes: rulesOn(node, nodes.items, plan(before, node), plan(world, node)),
      }));
    out.result({ nodes: results, ignored });
    for (const object of ignored) out.note(`${object} changes no rule by itself`);
    for (const line of render(results)) out.line(line);
    for (const service of reshaped(before, world)) {
      out.note(
        `${service}: its EndpointSlices are as they are now; their controller writes them anew for its selector and ports`,
      );
    }
  } finally {
    client.close();
  }
}

/** Services whose slices will be written anew once the manifest is applied. */
function reshaped(before: Objects, after: Objects): string[] {
  const shape = ({ spec }: Service): string =>
    JSON.stringify([
      spec.selector,
      (spec.ports ?? []).map((p) => [p.name ?? '', p.protocol ?? 'TCP', p.targetPort ?? p.port]),
    ]);
  return [...after.services].flatMap(([key, service]) => {
    const old = before.services.get(key);
    if (service.spec.selector === undefined || old === service) return [];
    return old === undefined || shape(old) !== shape(service) ? [`Service ${key}`] : [];
  });
}

interface Result {
  readonly node: string;
  readonly mode: string;
  readonly changes: readonly RuleLine[];
}

/** Nodes with the same changes share one list. */
function render(results: readonly Result[]): string[] {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    const key = `${result.mode} ${JSON.stringify(result.changes)}`;
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group as [Result];
    const who = `${group.map((r) => r.node).join(', ')} (${first.mode})`;
    if (first.changes.length === 0) return [`${who}: no change`];
    return [`${who}: ${first.changes.length} changes`, ...first.changes.map(({ sign, text }) => `  ${sign} ${text}`)];
  });
}
