// Executes CNI plugins as a foreign runtime does: a small process that starts the executable with posix_spawn, writes the
// configuration to it and waits for its answer and its end. Node's own way of starting a program costs a millisecond that
// runtimes written in Go do not pay.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

const PROGRAM = `
import json, os, sys, time
for line in sys.stdin:
    call = json.loads(line)
    stdin = call["stdin"].encode()
    start = time.monotonic()
    ir, iw = os.pipe2(os.O_CLOEXEC)
    orr, ow = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, ir, 0), (os.POSIX_SPAWN_DUP2, ow, 1)]
    pid = os.posix_spawn(call["file"], [call["file"]], call["env"], file_actions=actions)
    os.close(ir)
    os.close(ow)
    try:
        os.write(iw, stdin)
    except BrokenPipeError:
        pass
    os.close(iw)
    parts = []
    while True:
        part = os.read(orr, 65536)
        if not part:
            break
        parts.append(part)
    status = os.waitpid(pid, 0)[1]
    took = time.monotonic() - start
    os.close(orr)
    print(json.dumps({"ms": took * 1000, "status": status, "stdout": b"".join(parts).decode()}), flush=True)
`;

export interface PluginExecution {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

interface Executed {
  /** From before the executable was started until it had ended, milliseconds. */
  readonly ms: number;
  readonly stdout: string;
}

/** The process that executes. It starts in the network namespace of the one that makes it. */
export class Caller {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor() {
    this.#child = spawn('python3', ['-c', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
  }

  /** Executes a plugin; rejects when it fails. Calls are made one at a time. */
  async execute(call: PluginExecution): Promise<Executed> {
    const line = await new Promise<string>((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin?.write(`${JSON.stringify(call)}\n`);
    });
    const answer = JSON.parse(line) as Executed & { readonly status: number };
    if (answer.status !== 0) throw new Error(`${call.file}: status ${answer.status}: ${answer.stdout}`);
    return answer;
  }

  close(): void {
    this.#child.stdin?.end();
    this.#lines.close();
  }
}
