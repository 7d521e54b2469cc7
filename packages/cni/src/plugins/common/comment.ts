import { createHash } from 'node:crypto';
import type { Attachment, PluginRequest } from '../../spec/types.ts';

/** Longest comment of an element of nftables, bytes; iptables takes more. */
const COMMENT_MAX = 127;
const NETWORK_MAX = 60;

function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** What comments of a network's attachments begin with. */
function networkPart(network: string): string {
  return network.length <= NETWORK_MAX ? network : `${network.slice(0, NETWORK_MAX - 17)}~${hash(network, 16)}`;
}

/** Whose a rule or an element is: network, container and interface; hashed where they are longer than the kernel takes. */
export function attachmentComment(network: string, { containerId, ifname }: Attachment): string {
  const start = networkPart(network);
  const whole = `${start} ${containerId} ${ifname}`;
  return Buffer.byteLength(whole) <= COMMENT_MAX ? whole : `${start} ${hash(`${containerId} ${ifname}`, 32)} ${ifname}`;
}

/** GC: tells comments of attachments of the network that are not valid; undefined when the runtime sent no list. */
export function staleComment(request: PluginRequest): ((comment: string) => boolean) | undefined {
  const { network, validAttachments } = request;
  if (validAttachments === undefined) return undefined;
  const valid = new Set(validAttachments.map((attachment) => attachmentComment(network, attachment)));
  return (comment) => comment.startsWith(`${networkPart(network)} `) && !valid.has(comment);
}
