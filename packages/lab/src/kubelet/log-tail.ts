import { logBytes } from '../runtime/index.ts';

/** Kubernetes' limits for logs as last words. */
const LINES = 80;
const BYTES = 2048;

/** The end of a log, for a container that failed without other last words. Empty when there is none. */
export async function logTail(path: string): Promise<string> {
  const parts: Buffer[] = [];
  try {
    for await (const part of logBytes(path, { tailLines: LINES })) parts.push(part);
  } catch {
    return '';
  }
  const all = Buffer.concat(parts);
  return all.subarray(Math.max(0, all.length - BYTES)).toString('utf8');
}
