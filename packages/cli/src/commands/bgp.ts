import type { BgpPeerStatus, BgpStatus } from '@weft/fabric';
import { errorMessage, WeftError } from '@weft/plan';
import { createOutput, table } from '../output.ts';
import { fetchOnNode } from './ask-agent.ts';
import { nodeNames } from './node.ts';

export interface BgpStatusOptions {
  readonly name: string;
  readonly node?: readonly string[];
  readonly agent?: string;
  readonly output?: string;
}

/** Path of the agent's own port that tells about BGP. */
const PATH = '/bgp';
/** A node's answer, or why there is none. */
type Answer = { readonly status: BgpStatus } | { readonly node: string; readonly error: string };

async function askNode(node: string, address: string, name: string): Promise<Answer> {
  const answer = await fetchOnNode(node, address, PATH, name);
  if (answer.found) return { status: answer.document as BgpStatus };
  return { node, error: answer.error ?? 'the backend is not bgp' };
}

async function askAgent(url: string): Promise<Answer> {
  try {
    const response = await fetch(new URL(PATH, url));
    if (!response.ok) return { node: url, error: `${response.status} ${response.statusText}: the backend is not bgp` };
    return { status: (await response.json()) as BgpStatus };
  } catch (error) {
    return { node: url, error: errorMessage((error as Error).cause ?? error) };
  }
}

/** Shows sessions and routes of the nodes' BGP speakers. */
export async function bgpStatusCommand(options: BgpStatusOptions): Promise<void> {
  const out = createOutput(options.output);
  let answers: readonly Answer[];
  if (options.agent === undefined) {
    const nodes = nodeNames(options.name);
    const missing = options.node?.find((node) => !nodes.some((known) => known.name === node));
    if (missing !== undefined) {
      throw new WeftError({
        code: 'NO_SUCH_NODE',
        message: `there is no node "${missing}"`,
        hint: `nodes are ${nodes.map((node) => node.name).join(', ')}`,
      });
    }
    const wanted = nodes.filter((node) => options.node === undefined || options.node.includes(node.name));
    answers = await Promise.all(wanted.map((node) => askNode(node.name, node.address, options.name)));
  } else answers = [await askAgent(options.agent)];
  out.result(answers.map((answer) => ('status' in answer ? answer.status : answer)));
  for (const [i, answer] of answers.entries()) {
    if (i > 0) out.line('');
    for (const line of 'status' in answer ? bgpLines(answer.status) : [`${answer.node}: ${answer.error}`])
      out.line(line);
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
