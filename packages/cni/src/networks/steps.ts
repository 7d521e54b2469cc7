import { NetNs } from '@weft/kernel';
import { errorMessage } from '@weft/plan';
import type { PodReference } from '../ipam/ipam.ts';
import { type NetworkList, parseNetworkList } from '../runtime/config.ts';
import type { RuntimeAttachment } from '../runtime/runtime.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment, PluginRequest } from '../spec/types.ts';
import { textOf } from './definition.ts';
import type { PlannedNetwork } from './plan.ts';
import type { NetworksRecord, RecordedNetwork } from './records.ts';

/** One network of a record, with its configuration read. */
export type Step = RecordedNetwork & { readonly list: NetworkList };

/** Identity of the namespace behind a path; undefined when there is none. */
export function inodeOf(netns: string): string | undefined {
  try {
    const ns = NetNs.open(netns);
    ns.close();
    return ns.inode.toString();
  } catch {
    return undefined;
  }
}

/** What is written before the first plugin of a container is called. */
export function recordOf(
  request: PluginRequest,
  planned: readonly PlannedNetwork[],
  pod: PodReference | undefined,
  path: readonly string[],
): NetworksRecord {
  const { network, containerId, ifname, netns } = request;
  return {
    network,
    containerId,
    ifname,
    netns,
    sandbox: inodeOf(netns),
    path,
    pod,
    since: Date.now(),
    networks: planned.map(({ name, primary, ifname: own, list, capabilityArgs, args }) => ({
      name,
      primary,
      ifname: own,
      config: textOf(list),
      file: list.file,
      capabilityArgs,
      args,
    })),
  };
}

/** The networks of a record, in the order of ADD. */
export function stepsOf(record: NetworksRecord): readonly Step[] {
  return record.networks.map((network) => ({ ...network, list: parseNetworkList(network.config, network.file) }));
}

/** A network of a container as its plugins are called for it. */
export function attachmentOf(
  { containerId }: Attachment,
  step: Pick<RecordedNetwork, 'ifname' | 'capabilityArgs' | 'args'>,
  netns: string,
  trace: Pick<RuntimeAttachment, 'trace'> = {},
): RuntimeAttachment {
  const { ifname, args, capabilityArgs } = step;
  return { containerId, ifname, netns, args, capabilityArgs, ...trace };
}

/** The trace context of a call, to be handed on. */
export function traceOf(request: PluginRequest): Pick<RuntimeAttachment, 'trace'> {
  const traceparent = request.raw.env.get('TRACEPARENT');
  if (traceparent === undefined) return {};
  const [tracestate, baggage] = [request.raw.env.get('TRACESTATE'), request.raw.env.get('BAGGAGE')];
  return {
    trace: {
      traceparent,
      ...(tracestate === undefined ? {} : { tracestate }),
      ...(baggage === undefined ? {} : { baggage }),
    },
  };
}

/** A failure of one network, with who asked for it in front. */
export function failure(error: unknown, network: PlannedNetwork, attaching: boolean): CniError {
  const code = error instanceof CniError ? error.cniCode : CniCode.internal;
  const details = error instanceof CniError ? error.details : undefined;
  // The first network is what the runtime asked for: its message needs no preface.
  const where = network.primary || !attaching ? '' : `network ${network.name} (${network.cause}): `;
  return new CniError(code, `${where}${errorMessage(error)}`, details, error);
}

/** Throws what has been collected, as one error. */
export function throwAll(errors: readonly unknown[], what: string): void {
  if (errors.length === 0) return;
  if (errors.length === 1) throw errors[0];
  throw new CniError(CniCode.internal, `${what} failed: ${errors.map(errorMessage).join('; ')}`, undefined, errors[0]);
}
