import http from 'node:http';
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder } from '../../src/kubelet/frames.ts';

export interface StreamResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: {
    status?: string;
    reason?: string;
    message?: string;
    details?: { causes?: { message?: string }[] };
  };
}

/** Opens an upgraded connection to a kubelet; rejects with the message of a refusal. */
export function upgrade(socketPath: string, path: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, path, headers: { connection: 'Upgrade', upgrade: 'weft-stream' } });
    request.on('upgrade', (_response, socket, head) => {
      // The first frames may come together with the answer.
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        reject(new Error(`${response.statusCode} ${(JSON.parse(text) as { message: string }).message}`)),
      );
    });
    request.on('error', reject);
    request.end();
  });
}

/** Plays one exec or attach session: frames in, everything out until the server ends it. */
export async function session(socketPath: string, path: string, input: [number, string][]): Promise<StreamResult> {
  const socket = await upgrade(socketPath, path);
  const decoder = new FrameDecoder();
  const out = { 1: '', 2: '' } as Record<number, string>;
  let status: StreamResult['status'] = {};
  socket.on('data', (chunk: Buffer) => {
    for (const { channel, payload } of decoder.push(chunk)) {
      if (channel === 3) status = JSON.parse(payload.toString()) as StreamResult['status'];
      else out[channel] = (out[channel] ?? '') + payload.toString();
    }
  });
  for (const [channel, text] of input) {
    socket.write(encodeFrame(channel, channel === 255 ? Buffer.from([Number(text)]) : Buffer.from(text)));
  }
  await new Promise((resolve) => socket.on('end', resolve));
  socket.destroy();
  return { stdout: out[1] ?? '', stderr: out[2] ?? '', status };
}

export function getText(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ socketPath, path }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${response.statusCode} ${(JSON.parse(text) as { message: string }).message}`));
        });
      })
      .on('error', reject);
  });
}
