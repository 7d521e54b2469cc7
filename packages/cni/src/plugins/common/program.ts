import { spawn } from 'node:child_process';
import { spawnInNetNs } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import type { NodeNetwork } from '../../wiring/node.ts';

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramCall {
  readonly program: string;
  readonly args: readonly string[];
  /** For its standard input. */
  readonly input?: string;
  /** Debian package that has it, for the error when it is missing. */
  readonly debianPackage: string;
}

/** Runs a program in the node's network namespace to its end, whatever its exit status. */
export function runProgram(node: NodeNetwork, { program, args, input, debianPackage }: ProgramCall): Promise<Finished> {
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
          ? new CniError(
              CniCode.io,
              `the program ${program} is missing`,
              `install the Debian package ${debianPackage}`,
              cause,
            )
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

/** The error of a program that ended with another status than 0. */
export function programFailed(what: string, done: Finished): CniError {
  return new CniError(CniCode.io, `${what} ended with ${done.code}: ${done.stderr.split('\n')[0] || 'no message'}`);
}
