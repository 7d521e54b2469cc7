import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger } from '@weft/plan';
import { type Call, decodeCall } from './framing.ts';

/** Where the shim leaves the DEL calls of containers that go while no agent listens at the socket. */
function deferredDir(socketPath: string): string {
  return `${socketPath}.del`;
}

/** Makes the directory; what was left in it stays. */
export function prepareDeferred(socketPath: string): void {
  mkdirSync(deferredDir(socketPath), { recursive: true, mode: 0o700 });
}

/** A DEL call that was left, and the file it is in; remove the file when the call has been answered. */
export interface Deferred {
  readonly call: Call;
  readonly file: string;
}

/**
 * Reads the calls that were left, oldest first. Must be called when the socket has begun to listen and before the first
 * call is answered: the shim leaves a call only if it cannot connect afterwards.
 */
export function readDeferred(socketPath: string, log: Logger): readonly Deferred[] {
  const dir = deferredDir(socketPath);
  const found: Deferred[] = [];
  for (const name of readdirSync(dir).sort()) {
    // One that is still being written belongs to a shim that will find us listening.
    if (name.endsWith(':new')) continue;
    const file = join(dir, name);
    try {
      const call = decodeCall(readFileSync(file));
      if (call?.env.get('CNI_COMMAND') === 'DEL') found.push({ call, file });
      else throw new RangeError('it is no whole call of DEL');
    } catch (error) {
      log.warn('cannot read a deferred removal', { file, error: errorMessage(error) });
      rmSync(file, { force: true });
    }
  }
  return found;
}
