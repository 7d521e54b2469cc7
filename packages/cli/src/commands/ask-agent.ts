import { captureOnNode } from './node.ts';

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
