import { HEADER_BYTES } from './types.ts';

/** A whole message: marker, length, type and body (RFC 4271 §4.1). */
export function frame(type: number, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_BYTES + body.length).fill(0xff, 0, 16);
  message[16] = message.length >>> 8;
  message[17] = message.length;
  message[18] = type;
  message.set(body, HEADER_BYTES);
  return message;
}
