import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/plan';
import { StatusError } from '../status.ts';
import type { Status } from '../types/meta.ts';
import { JsonLines } from './json-lines.ts';
import type { QueryValue } from './options.ts';

/** `?key=valueexport function formatQuery…` in the order given; undefined and empty values are left out. */
export function formatQuery(query: Readonly<Record<string, QueryValue>> | undefined): string {
  let text = '';
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === '') continue;
    text += `${text === '' ? '?' : '&'}${key}=${encodeURIComponent(String(value))}`;
  }
  return text;
}

/** The StatusError of an answer; a proxy in between may answer with something that is not a Status. */
export function refusal(code: number, text: string, what: string): StatusError {
  try {
    const status = JSON.parse(text) as Status;
    if (status !== null && typeof status === 'object' && status.kind === 'Status') {
      return new StatusError({ ...status, code: status.code ?? code });
    }
  } catch {
    // Not JSON: the text is the message.
  }
  const line = text.trim().slice(0, 200);
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code,
    message: `${what}: the server answered ${code}${line === '' ? '' : `: ${line}`}`,
  });
}

/** The whole body as text. */
export async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return chunks.length === 1 ? (chunks[0] as Buffer).toString('utf8') : Buffer.concat(chunks).toString('utf8');
}

/** Hands every JSON line to `onValue`. Resolves at the end of the stream or on abort, rejects when it breaks. */
export function readLines(
  response: IncomingMessage,
  onValue: (value: unknown) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const lines = new JsonLines(onValue);
    const fail = (error: unknown): void => {
      if (signal?.aborted) resolve();
      else reject(error instanceof Error ? error : new Error(String(error)));
    };
    response.on('data', (chunk: Buffer) => {
      if (signal?.aborted) return;
      try {
        lines.push(chunk);
      } catch (error) {
        fail(error);
        response.destroy();
      }
    });
    response.once('end', () => {
      try {
        lines.end();
        resolve();
      } catch (error) {
        fail(error);
      }
    });
    response.on('error', fail);
    response.once('close', () => fail(new WeftError({ code: 'API_UNREACHABLE', message: 'the watch was cut off' })));
  });
}

/** Resolves after `ms`; rejects with the signal's reason. */
export function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
