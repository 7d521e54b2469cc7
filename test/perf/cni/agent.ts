// The agent's CNI server in a process of its own, as it is where a foreign runtime calls the plugins.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { CniServer } from '@weft/cni';
import { Metrics, silentLogger } from '@weft/plan';

interface AgentPaths {
  readonly socketPath: string;
  readonly stateDir: string;
}

/** The process: serves until it is told to stop. */
export async function serveAgent({ socketPath, stateDir }: AgentPaths): Promise<void> {
  const server = new CniServer({ socketPath, stateDir, log: silentLogger, metrics: new Metrics(), reuseDelayMs: 0 });
  await server.start();
  process.on('message', (message: { readonly ask: 'flush' | 'stop' }) => {
    const work = message.ask === 'flush' ? server.flush() : server.stop();
    void work.then(() => {
      process.send?.('done');
      if (message.ask === 'stop') process.disconnect?.();
    });
  });
  process.send?.('ready');
}

/** An agent started by the benchmark. */
export class AgentProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start({ socketPath, stateDir }: AgentPaths): Promise<AgentProcess> {
    const child = fork(process.argv[1] ?? '', ['cni', '--agent', socketPath, stateDir]);
    await once(child, 'message');
    return new AgentProcess(child);
  }

  /** Resolves when links of removed pods are gone from the kernel. */
  async flush(): Promise<void> {
    await this.#ask('flush');
  }

  async stop(): Promise<void> {
    await this.#ask('stop');
  }

  async #ask(ask: 'flush' | 'stop'): Promise<void> {
    const done = once(this.#child, 'message');
    this.#child.send({ ask });
    await done;
  }
}
