import { EINVAL } from '../errno.ts';
import { KernelError } from '../errors.ts';

const ROOT = 0xffffffff;
const INGRESS = 0xfffffff1;

/** A handle as a number: `root`, `ingress`, `none`, or `MAJOR:MINOR` in hexadecimal (`ffff:`, `1:1e`). */
export function parseHandle(text: string): number {
  if (text === 'root') return ROOT;
  if (text === 'ingress') return INGRESS;
  if (text === 'none') return 0;
  const match = /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/i.exec(text);
  if (match === null) {
    throw new KernelError({ errno: EINVAL, operation: 'use tc handle', object: JSON.stringify(text) });
  }
  return ((Number.parseInt(match[1] as string, 16) << 16) | Number.parseInt(match[2] || '0', 16)) >>> 0;
}

/** The text of a handle; that of a qdisc ends with its colon. */
export function formatHandle(handle: number): string {
  if (handle === ROOT) return 'root';
  if (handle === INGRESS) return 'ingress';
  if (handle === 0) return 'none';
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}
