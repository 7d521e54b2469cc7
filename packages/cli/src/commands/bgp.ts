import type { BgpPeerStatus, BgpStatus } from '@weft/fabric';
import { createOutput, table } from '../output.ts';
import { type AgentsOptions, askAgents } from './ask-agent.ts';

/** Shows sessions and routes of the nodes' BGP speakers. */
export async function bgpStatusCommand(options: AgentsOptions): Promise<void> {
  const out = createOutput(options.output);
  const answers = await askAgents<BgpStatus>(options, '/bgp', 'the backend is not bgp');
  out.result(answers.map((answer) => ('document' in answer ? answer.document : answer)));
  for (const [i, answer] of answers.entries()) {
    if (i > 0) out.line('');
    const lines = 'document' in answer ? bgpLines(answer.document) : [`${answer.node}: ${answer.error}`];
    for (const line of lines) out.line(line);
  }
  if (answers.every((answer) => 'error' in answer)) process.exitCode = 1;
}

function info(peer: BgpPeerStatus): string {
  if (peer.state !== 'Established') return peer.lastError ?? '';
  const { received, accepted, advertised, pending, stale } = peer.routes;
  const parts = [`${received} received`, `${advertised} advertised`];
  if (accepted !== received) parts.push(`${received - accepted} not used`);
  if (pending > 0) parts.push(`${pending} to be sent`);
  if (stale > 0) parts.push(`${stale} kept from before its restart`);
  return parts.join(', ');
}

/** A node's status for people. */
export function bgpLines(status: BgpStatus): string[] {
  const reflector = status.clusterId === undefined ? '' : `, route reflector of cluster ${status.clusterId}`;
  const lines = [
    `${status.node}: AS ${status.as}, router id ${status.routerId}, port ${status.port}${reflector}`,
    `  announces ${status.announced.map((route) => route.prefix).join(', ') || 'nothing'}; ${status.table} destinations known`,
  ];
  if (status.listenError !== undefined) lines.push(`  nobody can connect: ${status.listenError}`);
  if (status.restarting) lines.push('  has restarted: routes of before are kept until the peers have told theirs');
  for (const { kind, name, message } of status.problems) lines.push(`  ${kind} ${name}: ${message}`);
  if (status.peers.length === 0) return [...lines, '  no peers'];
  const rows = status.peers.map((p) => [
    p.address,
    p.name,
    `${p.as}`,
    p.type,
    p.state,
    p.since.replace(/\.\d+Z$/, 'Z'),
    info(p),
  ]);
  return [
    ...lines,
    ...table(['PEER ADDRESS', 'NAME', 'AS', 'TYPE', 'STATE', 'SINCE', 'INFO'], rows).map((line) => `  ${line}`),
  ];
}
