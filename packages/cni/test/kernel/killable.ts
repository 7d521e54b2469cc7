import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { PodAttachment } from '../../src/index.ts';
import type { Bed } from './bed.ts';

const MODULES = join(import.meta.dirname, '../../../../node_modules');

/** An agent's CNI server in a process of its own, in the place of a bed's, to be killed with SIGKILL. */
export class KillableAgent {
  readonly #bed: Bed;
  #child: ChildProcess | undefined;

  private constructor(bed: Bed) {
    this.#bed = bed;
  }

  static async open(bed: Bed): Promise<KillableAgent> {
    await bed.server.stop();
    await build({
      entryPoints: [join(import.meta.dirname, 'agent-process.ts')],
      outfile: join(bed.dir, 'agent.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
      nodePaths: [MODULES],
      logLevel: 'error',
    });
    const agent = new KillableAgent(bed);
    await agent.start();
    return agent;
  }

  async start(): Promise<void> {
    const { dir, socket } = this.#bed;
    const args = [`--net=${join(dir, 'node')}`, process.execPath, join(dir, 'agent.mjs'), socket, join(dir, 'state')];
    const env = { ...process.env, NODE_PATH: MODULES };
    const child = spawn('nsenter', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env });
    this.#child = child;
    const [first] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    if (first !== 'ready') throw new Error(`the agent ended at once: ${first}`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** `flush`, or a list of valid attachments to reconcile with; answers what is attached afterwards. */
  async ask(question: unknown): Promise<readonly PodAttachment[]> {
    const child = this.#child as ChildProcess;
    const answer = once(child, 'message');
    child.send(question as object);
    return (await answer)[0] as PodAttachment[];
  }
}
