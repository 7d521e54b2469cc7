/** Frames between the API server and a node: u8 channel, u32be length, payload. */
const HEADER = 5;
/** Longer frames than this come from nobody who speaks the protocol. */
const MAX_PAYLOAD = 16 * 1024 * 1024;

/** Channels as in Kubernetes' v5.channel.k8s.io; `close` half-closes the channel that its one byte names. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export function encodeFrame(channel: number, payload: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(HEADER + payload.length);
  out.writeUInt8(channel, 0);
  out.writeUInt32BE(payload.length, 1);
  out.set(payload, HEADER);
  return out;
}

/** Cuts a byte stream into frames. Throws RangeError for a frame that cannot be meant. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): { channel: number; payload: Buffer }[] {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const out: { channel: number; payload: Buffer }[] = [];
    while (data.length >= HEADER) {
      const length = data.readUInt32BE(1);
      if (length > MAX_PAYLOAD) throw new RangeError(`frame of ${length} bytes`);
      if (data.length < HEADER + length) break;
      out.push({ channel: data.readUInt8(0), payload: Buffer.from(data.subarray(HEADER, HEADER + length)) });
      data = data.subarray(HEADER + length);
    }
    this.#rest = Buffer.from(data);
    return out;
  }
}
