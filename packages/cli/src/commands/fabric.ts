import type { FabricPeerStatus, FabricStatus } from '@weft/fabric';
import { createOutput, table } from '../output.ts';
import { type AgentsOptions, askAgents } from './ask-agent.ts';

/** Shows how each node reaches the others. */
export async function fabricStatusCommand(options: AgentsOptions): Promise<void> {
  const out = createOutput(options.output);
  const answers = await askAgents<FabricStatus>(options, '/fabric', 'the agent has no pod network');
  out.result(answers.map((answer) => ('document' in answer ? answer.document : answer)));
  for (const [i, answer] of answers.entries()) {
    if (i > 0) out.line('');
    const lines = 'document' in answer ? fabricLines(answer.document) : [`${answer.node}: ${answer.error}`];
    for (const line of lines) out.line(line);
  }
  if (answers.every((answer) => 'error' in answer)) process.exitCode = 1;
}

function wayTo(peer: FabricPeerStatus): string {
  const ways = new Set(
    peer.routes.map(({ via, device }) => [via, device === undefined ? '' : `dev ${device}`].filter(Boolean).join(' ')),
  );
  return [...ways].join('; ') || '-';
}

const second = (time: string): string => time.replace(/\.\d+Z$/, 'Z');

/** A node's status for people. */
export function fabricLines(status: FabricStatus): string[] {
  const { underlay, drift } = status;
  const pods = status.podMtu === undefined ? 'MTU of pods not known yet' : `pods have MTU ${status.podMtu}`;
  const lines = [
    `${status.node}: ${status.backend}${status.encrypted ? ', encrypted' : ''}, ${pods}`,
    underlay === undefined
      ? '  no interface carries the InternalIP'
      : `  underlay ${underlay.name}, MTU ${underlay.mtu}, ${underlay.subnets.join(', ')}`,
    ...status.devices.map(({ name, kind, mtu }) => `  device ${name}, ${kind}, MTU ${mtu}`),
    `  ${status.entries} entries${status.pending > 0 ? `, ${status.pending} changes wait` : ''}; last change ${
      status.lastChange === undefined ? 'never' : second(status.lastChange)
    }; ${drift.repaired === 0 ? 'no drift' : `${drift.repaired} entries repaired, last ${second(drift.last ?? '')}`}`,
  ];
  if (status.lastError !== undefined) lines.push(`  last failure: ${status.lastError}`);
  for (const problem of status.problems) lines.push(`  ${problem}`);
  if (status.peers.length === 0) return [...lines, '  no other nodes'];
  const rows = status.peers.map((peer) => [
    peer.node,
    peer.addresses.join(','),
    peer.routes.map(({ dst }) => dst).join(',') || '-',
    wayTo(peer),
    peer.problems.join('; '),
  ]);
  return [...lines, ...table(['PEER', 'ADDRESS', 'ROUTES', 'VIA', 'PROBLEM'], rows).map((line) => `  ${line}`)];
}
