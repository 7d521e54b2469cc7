import type { Duplex, Readable, Writable } from 'node:stream';
import type { Status } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { type Container, type ExecSession, readLog, type Runtime } from '../runtime/index.ts';
import { CHANNEL, encodeFrame, FrameDecoder } from './frames.ts';

/** How long a terminal's process waits for the client's word on its size, in milliseconds. */
const SIZE_WAIT_MS = 150;

const SUCCESS: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' };

function exitStatus(code: number): Status {
  if (code === 0) return SUCCESS;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    reason: 'NonZeroExitCode',
    message: `command terminated with non-zero exit code: error executing command, exit code ${code}`,
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

function failure(message: string): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    reason: 'InternalError',
    message: `Internal error occurred: ${message}`,
    details: { causes: [{ message }] },
    code: 500,
  };
}

interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** The client's side of a session: frames over one connection. */
class Session {
  readonly #socket: Duplex;
  readonly #decoder = new FrameDecoder();
  stdin: Writable | undefined;
  onResize: ((size: Size) => void) | undefined;
  onGone: (() => void) | undefined;
  #early: Buffer[] = [];
  #earlyEnd = false;
  #firstSize: Size | undefined;
  #ended = false;

  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      if (!this.#ended) this.onGone?.();
    });
    if (head.length > 0) this.#receive(head);
  }

  /** The first size the client tells, or undefined when it tells none soon. */
  async size(): Promise<Size | undefined> {
    if (this.#firstSize !== undefined) return this.#firstSize;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, SIZE_WAIT_MS);
      this.onResize = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.onResize = undefined;
    return this.#firstSize;
  }

  /** Connects the process; what the client sent before is handed over. */
  start(stdin: Writable | undefined): void {
    this.stdin = stdin;
    stdin?.on('drain', () => this.#socket.resume());
    for (const payload of this.#early) stdin?.write(payload);
    this.#early = [];
    if (this.#earlyEnd) stdin?.end();
  }

  /** Sends what a stream gives on a channel, at the pace of the client. */
  forward(channel: number, source: Readable | undefined): void {
    source?.on('data', (chunk: Buffer) => {
      if (this.send(channel, chunk) || this.#socket.destroyed) return;
      source.pause();
      this.#socket.once('drain', () => source.resume());
    });
    source?.on('error', () => {});
    // A client that went away must not stop the process from writing.
    this.#socket.once('close', () => source?.resume());
  }

  send(channel: number, payload: Uint8Array): boolean {
    return this.#socket.destroyed || this.#socket.write(encodeFrame(channel, payload));
  }

  /** Resolves when the client can take more. */
  drained(): Promise<void> {
    if (this.#socket.destroyed || !this.#socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.once('drain', resolve);
      this.#socket.once('close', resolve);
    });
  }

  end(status: Status): void {
    this.#ended = true;
    this.send(CHANNEL.error, Buffer.from(JSON.stringify(status)));
    this.#socket.end();
  }

  #receive(chunk: Buffer): void {
    let frames: ReturnType<FrameDecoder['push']>;
    try {
      frames = this.#decoder.push(chunk);
    } catch {
      this.#socket.destroy();
      return;
    }
    for (const { channel, payload } of frames) {
      if (channel === CHANNEL.stdin) {
        if (this.stdin === undefined) this.#early.push(payload);
        else if (!this.stdin.destroyed && !this.stdin.write(payload)) this.#socket.pause();
      } else if (channel === CHANNEL.close && payload[0] === CHANNEL.stdin) {
        if (this.stdin === undefined) this.#earlyEnd = true;
        else this.stdin.end();
      } else if (channel === CHANNEL.resize) this.#resize(payload);
    }
  }

  #resize(payload: Buffer): void {
    try {
      const { Width: columns, Height: rows } = JSON.parse(payload.toString('utf8')) as {
        Width: number;
        Height: number;
      };
      if (!(columns > 0 && rows > 0)) return;
      this.#firstSize ??= { columns, rows };
      this.onResize?.({ columns, rows });
    } catch {}
  }
}

export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** Runs a command in a container for a client. */
export async function serveExec(
  runtime: Runtime,
  container: Container,
  command: readonly string[],
  options: StreamOptions,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const session = new Session(socket, head);
  const size = options.tty ? await session.size() : undefined;
  let exec: ExecSession;
  try {
    const { tty, stdin } = options;
    exec = runtime.exec(container.id, { command, tty, stdin, ...(size === undefined ? {} : { size }) });
  } catch (error) {
    return session.end(failure(`error executing command in container: ${errorMessage(error)}`));
  }
  session.onResize = ({ columns, rows }) => exec.resize(columns, rows);
  session.onGone = () => {
    if (options.tty) exec.hangUp();
    exec.stdin?.end();
  };
  session.start(exec.stdin);
  session.forward(CHANNEL.stdout, exec.stdout);
  session.forward(CHANNEL.stderr, exec.stderr);
  try {
    session.end(exitStatus(await exec.done));
  } catch (error) {
    const why = `error executing command in container: failed to exec in container: failed to start exec: ${errorMessage(error)}`;
    session.end(failure(why));
  }
}

/** Containers somebody has attached to, so that the first one sees what was written before it came. */
const attached = new Set<string>();

/** Shows a client what a container's own process writes from now on, and hands it the client's input. */
export async function serveAttach(
  runtime: Runtime,
  container: Container,
  options: StreamOptions,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const session = new Session(socket, head);
  const first = container.stdin && !attached.has(container.id);
  attached.add(container.id);
  const abort = new AbortController();
  let stdin: Writable | undefined;
  try {
    if (options.stdin && container.stdin) stdin = runtime.attachStdin(container.id);
  } catch (error) {
    return session.end(failure(errorMessage(error)));
  }
  session.onResize = ({ columns, rows }) => {
    if (container.tty) runtime.resize(container.id, columns, rows);
  };
  session.onGone = () => {
    abort.abort();
    stdin?.destroy();
  };
  session.start(stdin);
  const newline = Buffer.from('\n');
  try {
    const records = readLog(container.logPath, {
      follow: true,
      ...(first ? {} : { tailLines: 0 }),
      signal: abort.signal,
      running: () => runtime.containers.get(container.id)?.state === 'running',
    });
    for await (const { stream, text, partial } of records) {
      const channel = stream === 'stderr' && !container.tty ? CHANNEL.stderr : CHANNEL.stdout;
      if (channel === CHANNEL.stderr ? !options.stderr : !options.stdout) continue;
      session.send(channel, partial ? text : Buffer.concat([text, newline]));
      await session.drained();
    }
    session.end(SUCCESS);
  } catch (error) {
    session.end(failure(errorMessage(error)));
  } finally {
    stdin?.destroy();
    if (runtime.containers.get(container.id)?.state !== 'running') attached.delete(container.id);
  }
}
