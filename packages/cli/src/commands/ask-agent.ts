import { errorMessage, WeftError } from '@weft/plan';
import { captureOnNode, nodeNames } from './node.ts';

/** Port of an agent's health, metrics and documents. */
const AGENT_PORT = 10_256;
/** A program of one line that prints what a URL answers. */
const FETCH = `fetch(process.argv[1]).then(async (r) => { process.exitCode = r.ok ? 0 : 22; process.stdout.write(await r.text()); }, (e) => { process.exitCode = 7; process.stderr.write(String(e.cause ?? e)); })`;

/** What an agent has to say; without an error, when it has nothing to say. */
export type AgentAnswer =
  | { readonly found: true; readonly document: unknown }
  | { readonly found: false; readonly error?: string };

/** Asks a node's agent for a document, from that node: the port may be open nowhere else. `name` is the cluster's. */
export async function fetchOnNode(node: string, address: string, path: string, name: string): Promise<AgentAnswer> {
  const { code, stdout, stderr } = await captureOnNode(
    node,
    [process.execPath, '-e', FETCH, `http://${address}:${AGENT_PORT}${path}`],
    { name },
  );
  if (code === 0) return { found: true, document: JSON.parse(stdout) };
  if (code === 22) return { found: false };
  return { found: false, error: stderr.trim() || `the agent does not answer (${code ?? 'killed'})` };
}

/** The same from here, for clusters whose nodes this machine reaches. */
export async function fetchFromHere(address: string, path: string): Promise<AgentAnswer> {
  try {
    const host = address.includes(':') ? `[${address}]` : address;
    const response = await fetch(`http://${host}:${AGENT_PORT}${path}`, { signal: AbortSignal.timeout(5000) });
    return response.ok ? { found: true, document: await response.json() } : { found: false };
  } catch (error) {
    const { message, cause } = error as Error;
    return { found: false, error: cause instanceof Error ? cause.message : message };
  }
}

export interface AgentsOptions {
  /** The cluster's name. */
  readonly name: string;
  /** Only these nodes. */
  readonly node?: readonly string[];
  /** URL of the one agent to ask, of any cluster. */
  readonly agent?: string;
  readonly output?: string;
}

/** What one node's agent says, or why there is nothing. */
export type NodeAnswer<T> = { readonly document: T } | { readonly node: string; readonly error: string };

/**
 * Asks the agents of a cluster's nodes, or one of any cluster. `nothing` is said of agents that have no such document.
 *
 * @throws WeftError NO_SUCH_NODE
 */
export async function askAgents<T>(options: AgentsOptions, path: string, nothing: string): Promise<NodeAnswer<T>[]> {
  const { agent, name } = options;
  if (agent !== undefined) return [await askAgent<T>(agent, path, nothing)];
  const nodes = nodeNames(name);
  const missing = options.node?.find((node) => !nodes.some((known) => known.name === node));
  if (missing !== undefined) {
    throw new WeftError({
      code: 'NO_SUCH_NODE',
      message: `there is no node "${missing}"`,
      hint: `nodes are ${nodes.map((node) => node.name).join(', ')}`,
    });
  }
  const wanted = nodes.filter((node) => options.node === undefined || options.node.includes(node.name));
  return Promise.all(
    wanted.map(async ({ name: node, address }): Promise<NodeAnswer<T>> => {
      const answer = await fetchOnNode(node, address, path, name);
      return answer.found ? { document: answer.document as T } : { node, error: answer.error ?? nothing };
    }),
  );
}

async function askAgent<T>(url: string, path: string, nothing: string): Promise<NodeAnswer<T>> {
  try {
    const response = await fetch(new URL(path, url));
    if (!response.ok) return { node: url, error: `${response.status} ${response.statusText}: ${nothing}` };
    return { document: (await response.json()) as T };
  } catch (error) {
    return { node: url, error: errorMessage((error as Error).cause ?? error) };
  }
}
