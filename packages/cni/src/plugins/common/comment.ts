import type { Attachment, PluginRequest } from '../../spec/types.ts';

/** Longest comment of an element of nftables, bytes; iptables takes more. */
const COMMENT_MAX = 127;

/** Whose a rule or an element is: network, container and interface; cut where the kernel takes no more. */
export function attachmentComment(network: string, { containerId, ifname }: Attachment): string {
  return Buffer.from(`${network} ${containerId} ${ifname}`).subarray(0, COMMENT_MAX).toString('utf8');
}

/** GC: tells comments of attachments of the network that are not valid; undefined when the runtime sent no list. */
export function staleComment(request: PluginRequest): ((comment: string) => boolean) | undefined {
  const { network, validAttachments } = request;
  if (validAttachments === undefined) return undefined;
  const valid = new Set(validAttachments.map((attachment) => attachmentComment(network, attachment)));
  return (comment) => comment.startsWith(`${network} `) && !valid.has(comment);
}
