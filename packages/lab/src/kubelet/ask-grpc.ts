import http2 from 'node:http2';
import type { GRPCAction } from '@weft/kube';
import type { ProbeResult } from './probes.ts';

/** HealthCheckRequest{service}: field 1, a string. */
function request(service: string): Buffer {
  const name = Buffer.from(service).subarray(0, 127);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** HealthCheckResponse{status}: field 1, an enum of which 1 is SERVING. */
function isServing(body: Buffer): boolean {
  return body.length >= 7 && body[5] === 0x08 && body[6] === 1;
}

/** The gRPC health checking protocol (grpc.health.v1.Health/Check) over plain HTTP/2. */
export function askGrpc(action: GRPCAction, host: string, timeoutMs: number): Promise<ProbeResult> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${action.port}`;
  return new Promise((resolve) => {
    const session = http2.connect(`http://${address}`);
    const end = (ok: boolean, message: string): void => {
      clearTimeout(timer);
      session.destroy();
      resolve({ ok, message });
    };
    const timer = setTimeout(() => {
      end(
        false,
        `timeout: failed to connect service "${address}" within ${timeoutMs / 1000}s: context deadline exceeded`,
      );
    }, timeoutMs);
    const failed = (error: Error): void => end(false, `error: health rpc probe failed: ${error.message}`);
    session.once('error', failed);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const parts: Buffer[] = [];
    let status = '';
    stream.once('error', failed);
    stream.once('trailers', (trailers) => {
      status = String(trailers['grpc-status'] ?? '');
    });
    stream.once('response', (headers) => {
      status ||= String(headers['grpc-status'] ?? '');
    });
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.once('end', () => {
      if (status !== '' && status !== '0') {
        const unknown =
          status === '12'
            ? 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health)'
            : `error: health rpc failed with status ${status}`;
        end(false, unknown);
      } else if (isServing(Buffer.concat(parts))) end(true, '');
      else end(false, 'service unhealthy (responded with "NOT_SERVING")');
    });
    stream.end(request(action.service ?? ''));
  });
}
