import http, { type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** Frames between the API server and a node: u8 channel, u32be length, payload. */
const HEADER_BYTES = 5;

/** Channels, numbered as in Kubernetes' v5.channel.k8s.io. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** What became of a request to a node: an open stream, or its refusal. */
export type NodeAnswer =
  | { readonly kind: 'stream'; readonly socket: Duplex; readonly head: Buffer }
  | { readonly kind: 'refused'; readonly status: number; readonly body: Buffer };

/** Asks a node for a stream. Rejects when the node cannot be reached. */
export function openNodeStream(socketPath: string, target: string): Promise<NodeAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath,
      path: target,
      headers: { connection: 'Upgrade', upgrade: 'weft-stream' },
    });
    request.on('upgrade', (_response, socket, head) => resolve({ kind: 'stream', socket, head }));
    request.on('response', (response) => {
      collect(response).then((body) => resolve({ kind: 'refused', status: response.statusCode ?? 500, body }), reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** Reads a message to its end. */
export async function collect(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** One framed message. */
export function frame(channel: number, payload: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  out.writeUInt8(channel, 0);
  out.writeUInt32BE(payload.length, 1);
  out.set(payload, HEADER_BYTES);
  return out;
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  readonly #onFrame: (channel: number, payload: Buffer) => void;

  constructor(onFrame: (channel: number, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (data.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + data.readUInt32BE(1);
      if (data.length < end) break;
      this.#onFrame(data.readUInt8(0), data.subarray(HEADER_BYTES, end));
      data = data.subarray(end);
    }
    this.#rest = data;
  }
}
