import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** A piece of work on a query: the whole of it, or what one plugin did. */
export interface Span {
  /** Hexadecimal: 16 or 32 digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly parentId: string | undefined;
  readonly name: string;
  /** Microseconds since the epoch. */
  readonly start: number;
  /** Microseconds. */
  duration: number;
  /** True for the span of the whole query. */
  readonly top: boolean;
  /** The client has a span of the same id. */
  readonly shared: boolean;
  readonly tags: Record<string, string>;
  error: string | undefined;
}

/** What a client says about the trace that its query belongs to, in the headers of DNS over HTTPS (B3). */
export interface Parent {
  readonly traceId: string;
  readonly id: string;
}

const ID = /^[0-9a-f]{16}$/i;
const TRACE_ID = /^(?:[0-9a-f]{16}){1,2}$/i;

/** The trace that the headers name; `false` when the client wants none. */
export function parentOf(headers: IncomingHttpHeaders | undefined): Parent | false | undefined {
  if (headers === undefined) return undefined;
  const single = headers['b3'];
  if (single === '0') return false;
  const [traceId, id, sampled] =
    typeof single === 'string'
      ? single.split('-')
      : [headers['x-b3-traceid'], headers['x-b3-spanid'], headers['x-b3-sampled']];
  if (sampled === '0') return false;
  if (typeof traceId !== 'string' || typeof id !== 'string' || !TRACE_ID.test(traceId) || !ID.test(id))
    return undefined;
  return { traceId: traceId.toLowerCase(), id: id.toLowerCase() };
}

/** Now, in microseconds since the epoch. */
export function microseconds(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

/** An unpredictable id that fits into a number, as some collectors read it. */
function newId(): string {
  const bytes = randomBytes(8);
  bytes[0] = 0;
  bytes[1] = (bytes[1] as number) & 0x0f;
  return bytes.toString('hex');
}

/** Begins the span of a query. With `shared` it takes the span of a client that names one. */
export function topSpan(name: string, parent: Parent | undefined, shared: boolean): Span {
  const same = shared && parent !== undefined;
  const id = same ? parent.id : newId();
  return {
    traceId: parent?.traceId ?? id,
    id,
    parentId: same ? undefined : parent?.id,
    name,
    start: microseconds(),
    duration: 0,
    top: true,
    shared: same,
    tags: {},
    error: undefined,
  };
}

export function childSpan(parent: Span, name: string): Span {
  return {
    traceId: parent.traceId,
    id: newId(),
    parentId: parent.id,
    name,
    start: microseconds(),
    duration: 0,
    top: false,
    shared: false,
    tags: {},
    error: undefined,
  };
}
