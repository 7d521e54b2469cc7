import { spawn } from 'node:child_process';
import { spawnInNetNs } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import type { NodeNetwork } from '../../wiring/node.ts';

/** Seconds that a program waits for the lock that all writers of x_tables share. */
const LOCK_SECONDS = '5';

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(node: NodeNetwork, program: string, args: readonly string[], input?: string): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const options = { stdio: ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'] };
    const child = node.ns === undefined ? spawn(program, args, options) : spawnInNetNs(node.ns, program, args, options);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'ENOENT'
          ? new CniError(CniCode.io, `the program ${program} is missing`, 'install the Debian package iptables', cause)
          : cause,
      ),
    );
    // A program that ends without reading all has said why on its standard error.
    child.stdin?.on('error', () => {});
    child.on('close', (code) =>
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: Buffer.concat(err).toString('utf8').trim(),
      }),
    );
    child.stdin?.end(input);
  });
}

/** The iptables of one family, as the node's other programs use it. */
export class Xtables {
  readonly #node: NodeNetwork;
  readonly #name: string;

  constructor(node: NodeNetwork, family: 4 | 6) {
    this.#node = node;
    this.#name = family === 4 ? 'iptables' : 'ip6tables';
  }

  /** Rules of table `filter` as `iptables -S` prints them: `-N CHAIN`, `-A CHAIN …`. */
  async rules(): Promise<string[]> {
    const done = await run(this.#node, this.#name, ['-w', LOCK_SECONDS, '-t', 'filter', '-S']);
    if (done.code !== 0) throw failed(`${this.#name} -S`, done);
    return done.stdout.split('\n').filter((line) => line !== '');
  }

  /** Makes changes to table `filter` in one go; chains that `lines` does not declare stay as they are. */
  async change(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const text = ['*filter', ...lines, 'COMMIT', ''].join('\n');
    const done = await run(this.#node, `${this.#name}-restore`, ['-w', LOCK_SECONDS, '--noflush'], text);
    if (done.code !== 0) throw failed(`${this.#name}-restore`, done);
  }
}

function failed(what: string, done: Finished): CniError {
  return new CniError(CniCode.io, `${what} ended with ${done.code}: ${done.stderr.split('\n')[0] || 'no message'}`);
}
