import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';

/** A protobuf message: field number → value. Texts, numbers (varint), messages, and lists of them. */
export interface Message {
  readonly [field: number]: string | number | Message | readonly (string | Message)[];
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function encode(message: Message): Buffer {
  const parts: Buffer[] = [];
  for (const [field, value] of Object.entries(message)) {
    for (const item of Array.isArray(value) ? (value as (string | Message)[]) : [value as string | number | Message]) {
      if (typeof item === 'number') parts.push(varint(Number(field) << 3), varint(item));
      else {
        const bytes = typeof item === 'string' ? Buffer.from(item) : encode(item);
        parts.push(varint((Number(field) << 3) | 2), varint(bytes.length), bytes);
      }
    }
  }
  return Buffer.concat(parts);
}

/** Fields with their values: numbers, or bytes that may be a text or another message. */
function decode(bytes: Buffer): Map<number, (number | Buffer)[]> {
  const fields = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = next();
    let value: number | Buffer = next();
    if ((tag & 7) === 2) {
      at += value;
      value = bytes.subarray(at - value, at);
    }
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

/** The first text at a path of field numbers; '' when there is none. */
export function textAt(bytes: Buffer, ...path: readonly number[]): string {
  const [field = 0, ...rest] = path;
  const [value] = decode(bytes).get(field) ?? [];
  if (!Buffer.isBuffer(value)) return '';
  return rest.length === 0 ? value.toString() : textAt(value, ...rest);
}

/** A pod as a kubelet describes it to its runtime (PodSandboxConfig). */
export interface PodSpec {
  readonly name: string;
  readonly uid: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ports?: readonly { readonly containerPort: number; readonly hostPort: number }[];
}

function podConfig({ name, uid, annotations = {}, ports = [] }: PodSpec): Message {
  return {
    1: { 1: name, 2: uid, 3: 'shop', 4: 0 },
    2: name,
    4: { 1: ['10.96.0.10'], 2: ['shop.svc.cluster.local'], 3: ['ndots:5'] },
    // The protocol of value 0 is TCP.
    5: ports.map((p) => ({ 2: p.containerPort, 3: p.hostPort })),
    7: Object.entries(annotations).map(([key, value]) => ({ 1: key, 2: value })),
    8: {},
  };
}

/** As much of a kubelet's client of its container runtime (CRI, runtime.v1) as pods' networks need. */
export class Cri {
  readonly #session: ClientHttp2Session;

  constructor(socket: string) {
    this.#session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  }

  /** Runs a sandbox; its id. */
  async runPod(pod: PodSpec): Promise<string> {
    return textAt(await this.#call('RunPodSandbox', { 1: podConfig(pod) }), 1);
  }

  async podIp(id: string): Promise<string> {
    return textAt(await this.#call('PodSandboxStatus', { 1: id }), 1, 5, 1);
  }

  async stopPod(id: string): Promise<void> {
    await this.#call('StopPodSandbox', { 1: id });
  }

  async removePod(id: string): Promise<void> {
    await this.#call('RemovePodSandbox', { 1: id });
  }

  close(): void {
    this.#session.close();
  }

  #call(method: string, request: Message): Promise<Buffer> {
    const body = encode(request);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': `/runtime.v1.RuntimeService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let status: string | undefined;
      let why = '';
      const look = (headers: Readonly<Record<string, unknown>>): void => {
        const { 'grpc-status': code, 'grpc-message': said } = headers;
        if (typeof code !== 'string') return;
        status = code;
        why = typeof said === 'string' ? decodeURIComponent(said) : '';
      };
      stream.on('response', look);
      stream.on('trailers', look);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () => {
        if (status === '0') resolve(Buffer.concat(chunks).subarray(5));
        else reject(new Error(`${method}: status ${status}: ${why}`));
      });
      stream.end(Buffer.concat([head, body]));
    });
  }
}
