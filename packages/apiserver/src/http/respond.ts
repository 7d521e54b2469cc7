import type { IncomingMessage, ServerResponse } from 'node:http';
import { failure, type Status, StatusError } from '@weft/kube';
import { errorMessage, WeftError } from '@weft/plan';
import { isTrue } from './request-info.ts';

const CHUNK = 256 * 1024;

/** True when a human reads: `?pretty=true`, or curl and browsers unless they say otherwise. */
export function wantsPretty(request: IncomingMessage, query: URLSearchParams): boolean {
  const asked = query.get('pretty');
  if (asked !== null) return isTrue(asked) && asked !== '';
  return /^(curl|Wget|Mozilla)\b/.test(request.headers['user-agent'] ?? '');
}

/** Sends `Warning` headers (RFC 7234 §5.5, code 299), which kubectl prints. */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  response.setHeader(
    'Warning',
    [...new Set(warnings)].map((text) => `299 - "${text.replace(/[\\"]/g, '\\$&').replace(/[^\x20-\x7e]/g, '?')}"`),
  );
}

export function sendJson(
  response: ServerResponse,
  code: number,
  body: Buffer | object,
  options: { pretty?: boolean; type?: string } = {},
): void {
  let bytes: Buffer;
  if (Buffer.isBuffer(body)) {
    bytes = options.pretty === true ? Buffer.from(`${JSON.stringify(JSON.parse(body.toString()), null, 2)}\n`) : body;
  } else bytes = Buffer.from(`${JSON.stringify(body, null, options.pretty === true ? 2 : 0)}\n`);
  response.writeHead(code, {
    'Content-Type': options.type ?? 'application/json',
    'Content-Length': bytes.length,
    'Cache-Control': 'no-cache, private',
  });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}

/** Sends many small buffers in few writes, and waits for a slow reader. */
export async function sendChunks(response: ServerResponse, chunks: Iterable<Buffer>): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
  let pending: Buffer[] = [];
  let size = 0;
  for (const chunk of chunks) {
    pending.push(chunk);
    size += chunk.length;
    if (size < CHUNK) continue;
    if (!response.write(Buffer.concat(pending, size)) && !(await drained(response))) return;
    pending = [];
    size = 0;
  }
  response.end(Buffer.concat(pending, size));
}

/** False when the reader is gone. */
function drained(response: ServerResponse): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve(!response.destroyed);
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

export function sendText(
  response: ServerResponse,
  code: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(code, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-cache, private',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

/** The `Status` that tells a client of any error. */
export function statusOf(error: unknown): Status {
  if (error instanceof StatusError) return error.status;
  if (error instanceof WeftError && error.code === 'SELECTOR_INVALID') return failure('BadRequest', error.message);
  const message = errorMessage(error);
  return failure('InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

export function sendStatus(response: ServerResponse, status: Status, pretty = false): void {
  if (status.details?.retryAfterSeconds !== undefined) {
    response.setHeader('Retry-After', String(status.details.retryAfterSeconds));
  }
  sendJson(response, status.code ?? 500, status, { pretty });
}
