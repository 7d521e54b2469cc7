import { setTimeout as sleep } from 'node:timers/promises';
import type { LifecycleHandler } from '@weft/kube';
import { type AskContext, askExec, askHttp } from './ask.ts';

/** Runs a postStart or preStop handler. Resolves with what went wrong, or undefined. Never throws. */
export async function runHook(
  handler: LifecycleHandler,
  context: AskContext,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (handler.sleep !== undefined) {
    await sleep(Math.min(handler.sleep.seconds * 1000, timeoutMs), undefined, { ...(signal && { signal }) }).catch(
      () => {},
    );
    return undefined;
  }
  const result =
    handler.exec !== undefined
      ? await askExec(handler.exec.command ?? [], context, timeoutMs)
      : handler.httpGet !== undefined
        ? await askHttp(handler.httpGet, context, timeoutMs)
        : { ok: true, message: '' };
  return result.ok ? undefined : result.message;
}
