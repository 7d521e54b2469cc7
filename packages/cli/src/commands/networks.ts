import {
  isStatus,
  type KubeClient,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  resources,
} from '@weft/kube';
import { interfaceRows, networkRows } from '../networks/model.ts';
import { createOutput, table } from '../output.ts';
import { clientOf, type Where } from './proxy.ts';

export interface NetworksOptions extends Where {
  readonly output?: string;
  readonly namespace?: string;
}

async function definitionsOf(client: KubeClient): Promise<readonly NetworkAttachmentDefinition[]> {
  try {
    return (await client.list(networkAttachmentDefinitions, undefined)).items;
  } catch (error) {
    // A cluster may not have the kind.
    if (isStatus(error, 'NotFound')) return [];
    throw error;
  }
}

/** Shows the networks that pods can be attached to, and which pods are. */
export async function listNetworks(options: NetworksOptions): Promise<void> {
  const out = createOutput(options.output);
  const client = await clientOf(options);
  try {
    const [definitions, pods] = await Promise.all([definitionsOf(client), client.list(resources.pods, undefined)]);
    const rows = networkRows(definitions, pods.items);
    out.result(rows);
    if (rows.length === 0) out.line('No networks besides the first one: there is no NetworkAttachmentDefinition.');
    else {
      const cells = rows.map((r) => [
        r.network,
        r.plugins.join(',') || (r.problem === undefined ? '<on the nodes>' : '-'),
        String(r.pods.length),
        r.problem ?? '',
      ]);
      for (const line of table(['NETWORK', 'PLUGINS', 'PODS', 'PROBLEM'], cells)) out.line(line);
    }
  } finally {
    client.close();
  }
}

/** Shows the interfaces of one pod, and what it asks for and does not have. */
export async function networksOfPod(name: string, options: NetworksOptions): Promise<void> {
  const out = createOutput(options.output);
  const [namespace, pod] = name.includes('/') ? name.split('/', 2) : [options.namespace ?? 'default', name];
  const client = await clientOf(options);
  try {
    const [object, definitions] = await Promise.all([
      client.get(resources.pods, namespace, pod as string),
      definitionsOf(client),
    ]);
    const rows = interfaceRows(object, definitions);
    out.result(rows);
    const cells = rows.map((r) => [
      r.interface || '-',
      r.network,
      r.ips.join(',') || '-',
      r.mac ?? '-',
      r.gateway.join(',') || '-',
      r.problem ?? (r.default ? 'first network' : ''),
    ]);
    for (const line of table(['INTERFACE', 'NETWORK', 'ADDRESSES', 'MAC', 'DEFAULT ROUTE', 'NOTE'], cells))
      out.line(line);
  } finally {
    client.close();
  }
}
