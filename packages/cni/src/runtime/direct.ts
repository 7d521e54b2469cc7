import { readFileSync, realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { basename } from 'node:path';
import { Executables } from '../server/executables.ts';
import { decodeAnswer, encodeCall } from '../server/framing.ts';
import { CniCode } from '../spec/errors.ts';
import { parseObject, stringField } from '../spec/json.ts';

/** A call as the executable would get it. */
export interface DirectCall {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What the executable would have said. */
export interface DirectAnswer {
  readonly status: number;
  readonly signal: null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the shim hands on of its environment. */
const PASSED = /^(CNI_.*|TRACEPARENT|TRACESTATE|BAGGAGE)$/;

/**
 * Says to the agent what our plugin executable would say to it, without starting the executable. Whatever is out of the
 * ordinary (no agent, no socket, an agent that goes away, a plugin of somebody else's) is left to the executable.
 */
export class DirectAgent {
  readonly #executables = new Executables();
  readonly #sockets = new Map<string, string | undefined>();

  /** Undefined when the executable has to do it. */
  async call(file: string, { env, stdin, timeoutMs, signal }: DirectCall): Promise<DirectAnswer | undefined> {
    if (!this.#executables.isOurFile(file)) return undefined;
    const socket = this.#socket(file, env, stdin);
    if (socket === undefined) return undefined;
    const own = Object.entries(env).filter(([key]) => PASSED.test(key));
    const request = encodeCall({ env: new Map([['WEFT_PLUGIN', basename(file)], ...own]), stdin });
    return new Promise((resolve) => {
      const connection = connect(socket);
      let received: Buffer = Buffer.alloc(0);
      let sent = false;
      const end = (answer?: DirectAnswer): void => {
        signal?.removeEventListener('abort', cancel);
        connection.destroy();
        resolve(answer);
      };
      const cancel = (): void => end();
      // What may have been done is not done again, but for DEL, which the executable leaves for the next agent.
      const lost = (what: string): void =>
        end(sent && env['CNI_COMMAND'] !== 'DEL' ? away(env['CNI_COMMAND'], `${what} ${socket}`) : undefined);
      signal?.addEventListener('abort', cancel);
      connection.setTimeout(timeoutMs, () => lost('the weft agent did not answer in time at'));
      connection.on('error', () => lost('lost the weft agent at'));
      connection.on('close', () => lost('the weft agent went away during the call at'));
      connection.on('connect', () => {
        sent = true;
        connection.write(request);
      });
      connection.on('data', (chunk: Buffer) => {
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
        const answer = decodeAnswer(received);
        if (answer === undefined) return;
        end({ status: answer.exitCode, signal: null, stdout: answer.stdout, stderr: answer.stderr });
      });
    });
  }

  /** As the shim finds it: the configuration, the environment, the file beside the executable or beside its target. */
  #socket(file: string, env: Readonly<Record<string, string>>, stdin: string): string | undefined {
    const told = stringField(parseObject(stdin, 'network configuration'), 'agentSocket') || env['WEFT_AGENT_SOCKET'];
    if (told !== undefined && told !== '') return told;
    if (!this.#sockets.has(file)) this.#sockets.set(file, socketBeside(file));
    return this.#sockets.get(file);
  }
}

function away(command: string | undefined, msg: string): DirectAnswer {
  const code = command === 'STATUS' ? CniCode.unavailable : CniCode.tryAgainLater;
  const stdout = JSON.stringify({ code, msg, details: 'is the weft agent of this node running?' });
  return { status: 1, signal: null, stdout, stderr: '' };
}

function socketBeside(file: string): string | undefined {
  for (const find of [() => file, () => realpathSync(file)]) {
    try {
      const text = readFileSync(`${find()}.socket`, 'utf8').split(/[\r\n]/)[0];
      if (text) return text;
    } catch {
      // The other place may have it.
    }
  }
  return undefined;
}
