/**
 * The messages between the shim and the agent (native/cni-shim/shim.c has the other end):
 *
 * - request: `WCNI`, u32 length of the rest, `KEY=VALUE\0` …, `\0`, standard input
 * - answer: u32 exit status, u32 length of stdout, u32 length of stderr, stdout, stderr
 *
 * Numbers are big endian. One request and one answer per connection.
 */
const MAGIC = 0x57434e49;
/** Largest request, bytes. */
const LIMIT = 8 << 20;

/** One call of a plugin executable. */
export interface Call {
  /** CNI_* variables, and WEFT_PLUGIN: the name the executable was called by. */
  readonly env: ReadonlyMap<string, string>;
  readonly stdin: string;
}

/** What the executable does in the end. */
export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function encodeCall(call: Call): Buffer {
  const parts = [...call.env].map(([key, value]) => `${key}=${value}\0`);
  const body = Buffer.from(`${parts.join('')}\0${call.stdin}`);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(MAGIC, 0);
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

export function encodeAnswer(answer: Answer): Buffer {
  const out = Buffer.from(answer.stdout);
  const err = Buffer.from(answer.stderr);
  const head = Buffer.alloc(12);
  head.writeUInt32BE(answer.exitCode, 0);
  head.writeUInt32BE(out.length, 4);
  head.writeUInt32BE(err.length, 8);
  return Buffer.concat([head, out, err]);
}

/** Reads a request that may be incomplete: undefined until all of it is there. Throws when it is none. */
export function decodeCall(bytes: Buffer): Call | undefined {
  if (bytes.length < 8) return undefined;
  const length = bytes.readUInt32BE(4);
  if (bytes.readUInt32BE(0) !== MAGIC || length > LIMIT) throw new RangeError('not a call of the CNI shim');
  if (bytes.length < 8 + length) return undefined;
  const env = new Map<string, string>();
  let at = 8;
  for (;;) {
    const end = bytes.indexOf(0, at);
    if (end < 0 || end >= 8 + length) throw new RangeError('the environment of the call has no end');
    if (end === at) return { env, stdin: bytes.toString('utf8', at + 1, 8 + length) };
    const pair = bytes.toString('utf8', at, end);
    const equals = pair.indexOf('=');
    if (equals > 0) env.set(pair.slice(0, equals), pair.slice(equals + 1));
    at = end + 1;
  }
}

/** Reads an answer that may be incomplete. */
export function decodeAnswer(bytes: Buffer): Answer | undefined {
  if (bytes.length < 12) return undefined;
  const out = bytes.readUInt32BE(4);
  const err = bytes.readUInt32BE(8);
  if (bytes.length < 12 + out + err) return undefined;
  return {
    exitCode: bytes.readUInt32BE(0),
    stdout: bytes.toString('utf8', 12, 12 + out),
    stderr: bytes.toString('utf8', 12 + out, 12 + out + err),
  };
}
