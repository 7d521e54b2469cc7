import { spawn } from 'node:child_process';
import { type NetNs, spawnInNetNs } from '@weft/kernel';
import { WeftError } from '@weft/plan';
import type { Family } from '@weft/net';

/** Which kernel interface the program speaks: x_tables, or x_tables rules kept in nftables. */
export type Variant = 'legacy' | 'nft';

/** What a finished program said. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Run = (program: string, args: readonly string[], input?: string) => Promise<Finished>;

/** Seconds that a program waits for the lock that all writers of x_tables share. */
const LOCK_SECONDS = '5';

/** Runs programs in the node's namespace. */
export function runner(ns: NetNs | undefined): Run {
  return (program, args, input) =>
    new Promise((resolve, reject) => {
      const options = { stdio: ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'] };
      const child = ns === undefined ? spawn(program, args, options) : spawnInNetNs(ns, program, args, options);
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
      child.on('error', (cause: NodeJS.ErrnoException) => {
        reject(
          cause.code === 'ENOENT'
            ? new WeftError({
                code: 'PROXY_IPTABLES_MISSING',
                message: `the iptables data plane needs the program ${program}, which is not here`,
                hint: 'install the Debian package iptables, or use --proxy-mode nftables',
                cause,
              })
            : cause,
        );
      });
      // A program that ends without reading all has said why on its standard error.
      child.stdin?.on('error', () => {});
      child.on('close', (code, signal) =>
        resolve({
          code: code ?? (signal === null ? 0 : 128),
          stdout: Buffer.concat(out).toString('utf8'),
          stderr: Buffer.concat(err).toString('utf8').trim(),
        }),
      );
      child.stdin?.end(input);
    });
}

/** The iptables programs of one family, of one variant. */
export class Iptables {
  readonly family: Family;
  readonly variant: Variant;
  readonly #run: Run;
  readonly #name: string;

  constructor(run: Run, family: Family, variant: Variant) {
    this.#run = run;
    this.family = family;
    this.variant = variant;
    this.#name = `${family === 4 ? 'iptables' : 'ip6tables'}-${variant}`;
  }

  /** Loads rules into the tables that `text` names; chains it does not name stay. Never rejects for a refused rule. */
  restore(text: string): Promise<Finished> {
    return this.#run(`${this.#name}-restore`, ['-w', LOCK_SECONDS, '--noflush', '--counters'], text);
  }

  /** A table as `iptables-save` prints it; '' where the kernel does not have it. */
  async save(table: string): Promise<string> {
    const done = await this.#run(`${this.#name}-save`, ['-t', table]);
    if (done.code === 0) return done.stdout;
    if (/does not exist|not supported|can't initialize/i.test(done.stderr)) return '';
    throw failed(`${this.#name}-save -t ${table}`, done);
  }

  async hasChain(table: string, chain: string): Promise<boolean> {
    const done = await this.#run(this.#name, ['-w', LOCK_SECONDS, '-t', table, '-S', chain]);
    if (done.code === 0) return true;
    if (/no chain|does not exist|incompatible/i.test(done.stderr)) return false;
    // A lock that is held says nothing about the chain.
    throw failed(`${this.#name} -t ${table} -S ${chain}`, done);
  }
}

/** The error for a program that did not do what it was asked. */
export function failed(what: string, done: Finished): WeftError {
  const locked = /xtables lock/i.test(done.stderr);
  return new WeftError({
    code: locked ? 'PROXY_IPTABLES_LOCKED' : 'PROXY_IPTABLES_FAILED',
    message: `${what} ended with ${done.code}: ${done.stderr.split('\n').slice(0, 3).join('; ') || 'no message'}`,
    hint: locked
      ? 'another program holds the xtables lock for longer than 5 s; see /run/xtables.lock'
      : 'run the command by hand on the node to see all of it',
  });
}

/** Chains by which kubelet tells which variant this node's other programs use. */
const HINTS = /KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY|KUBE-PROXY-CANARY/;

/**
 * The variant this node uses: the one whose tables hold kubelet's hint or our own canary, else the one that holds more
 * rules, else that of the plain program `iptables`. Two variants side by side would each see only half of the rules.
 */
export async function detectVariant(run: Run): Promise<Variant> {
  const saved: Record<Variant, string> = { legacy: '', nft: '' };
  for (const variant of ['nft', 'legacy'] as const) {
    try {
      const done = await run(`iptables-${variant}-save`, []);
      if (done.code === 0) saved[variant] = done.stdout;
    } catch {
      // A node may have only one of them.
    }
    if (HINTS.test(saved[variant])) return variant;
  }
  const rules = (text: string): number => text.split('\n').filter((line) => line.startsWith('-A')).length;
  const [nft, legacy] = [rules(saved.nft), rules(saved.legacy)];
  if (nft !== legacy) return nft > legacy ? 'nft' : 'legacy';
  const done = await run('iptables', ['--version']);
  return done.stdout.includes('nf_tables') ? 'nft' : 'legacy';
}
