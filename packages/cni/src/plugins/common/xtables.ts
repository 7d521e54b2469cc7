import { createHash } from 'node:crypto';
import type { NodeNetwork } from '../../wiring/node.ts';
import { type Finished, programFailed, runProgram } from './program.ts';

/** Seconds that a program waits for the lock that all writers of x_tables share. */
const LOCK_SECONDS = '5';
/** Longest name of a chain that the reference plugins make, bytes. */
const CHAIN_LENGTH = 28;
/** Longest comment that x_tables takes, bytes. */
const COMMENT_LENGTH = 255;

/** Name of the chain of a container, as the reference plugins form it: `CNI-DN-…` with the prefix `DN-`. */
export function containerChain(network: string, containerId: string, prefix = ''): string {
  const hash = createHash('sha512').update(`${network}${containerId}`).digest('hex');
  return `CNI-${prefix}${hash}`.slice(0, CHAIN_LENGTH);
}

/** Comment by which rules of a container are recognized, in the reference plugins' form. */
export function containerComment(network: string, containerId: string, prefix = ''): string {
  const text = `${prefix}name: "${network}" id: "${containerId}"`;
  return text.length <= COMMENT_LENGTH ? text : `${text.slice(0, COMMENT_LENGTH - 3)}...`;
}

/** The comment of a rule as `iptables -S` prints it; undefined when it has none. */
export function commentOf(rule: string): string | undefined {
  const match = /--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))/.exec(rule);
  return match?.[1]?.replaceAll(/\\(.)/g, '$1') ?? match?.[2];
}

/** A word of a rule as `iptables -S` prints it and `iptables-restore` reads it. */
export function quoted(word: string): string {
  return /^[\w.,:/![\]=@%+-]+$/.test(word) ? word : `"${word.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** Container ids in comments of a network's rules, for GC. */
export function containersOf(network: string, rules: readonly string[], prefix = ''): Set<string> {
  const start = `${prefix}name: "${network}" id: "`;
  const ids = rules.map(commentOf).flatMap((text) => (text?.startsWith(start) ? [text.slice(start.length, -1)] : []));
  return new Set(ids);
}

/** The iptables of one family, as the node's other programs use it. */
export class Xtables {
  readonly #node: NodeNetwork;
  readonly #name: string;
  readonly #table: string;

  constructor(node: NodeNetwork, family: 4 | 6, table: 'filter' | 'nat' = 'filter') {
    this.#node = node;
    this.#name = family === 4 ? 'iptables' : 'ip6tables';
    this.#table = table;
  }

  #run(program: string, args: readonly string[], input?: string): Promise<Finished> {
    return runProgram(this.#node, {
      program,
      args: ['-w', LOCK_SECONDS, ...args],
      debianPackage: 'iptables',
      ...(input === undefined ? {} : { input }),
    });
  }

  /** Rules of the table as `iptables -S` prints them: `-N CHAIN`, `-A CHAIN …`. */
  async rules(): Promise<string[]> {
    const done = await this.#run(this.#name, ['-t', this.#table, '-S']);
    if (done.code !== 0) throw programFailed(`${this.#name} -S`, done);
    return done.stdout.split('\n').filter((line) => line !== '');
  }

  /** Makes changes to the table in one go; chains that `lines` does not declare stay as they are. */
  async change(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const text = [`*${this.#table}`, ...lines, 'COMMIT', ''].join('\n');
    const done = await this.#run(`${this.#name}-restore`, ['--noflush'], text);
    if (done.code !== 0) throw programFailed(`${this.#name}-restore`, done);
  }

  /** Takes down chains with what leads to them, when they are there. */
  async removeChains(which: (chain: string) => boolean): Promise<void> {
    const present = await this.rules();
    const chains = present.flatMap((rule) => /^-N (\S+)$/.exec(rule)?.[1] ?? []).filter(which);
    const gone = new Set(chains);
    const leading = present.filter((rule) => gone.has(/ -j (\S+)$/.exec(rule)?.[1] ?? ''));
    await this.change([
      ...leading.map((rule) => rule.replace(/^-A /, '-D ')),
      ...chains.map((chain) => `-F ${chain}`),
      ...chains.map((chain) => `-X ${chain}`),
    ]);
  }
}

/**
 * Does the same to the tables of both families. One of them may be missing on a node that never used it; only when none
 * can be had is that an error.
 */
export async function eachXtables(
  node: NodeNetwork,
  table: 'filter' | 'nat',
  work: (xtables: Xtables) => Promise<void>,
): Promise<void> {
  const families = [4, 6] as const;
  const done = await Promise.allSettled(families.map((family) => work(new Xtables(node, family, table))));
  const failures = done.filter((one) => one.status === 'rejected');
  if (failures.length === families.length) throw failures[0]?.reason;
}
