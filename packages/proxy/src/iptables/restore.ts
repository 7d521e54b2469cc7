import type { FamilyConfig } from '../config.ts';
import {
  baseChains,
  CANARY_TABLES,
  filterHead,
  filterTail,
  type Jump,
  natHead,
  natTail,
  type TableName,
} from './base.ts';
import { CANARY } from './names.ts';

/** A service port as a restore sees it. */
export interface PortText {
  readonly key: string;
  /** Rules of shared chains. */
  readonly filter: readonly string[];
  readonly nat: readonly string[];
  /** How many rules its own chains have. */
  readonly size: number;
  /** Its own chains and their rules; absent when the kernel has them already. */
  readonly own?: { readonly chains: readonly string[]; readonly rules: readonly string[] };
}

/** Everything that decides what one restore says. */
export interface RestoreInput {
  readonly config: FamilyConfig;
  /** All service ports, in the order in which their rules stand. */
  readonly ports: Iterable<PortText>;
  /** Chains of table `nat` that nothing leads to any more. */
  readonly stale: Iterable<string>;
  /** Addresses that answer on NodePorts, when these are not all. */
  readonly nodeAddresses: readonly string[];
  readonly dropInvalid: boolean;
  /** Jumps that are missing. */
  readonly jumps: readonly Jump[];
  /** The canaries are to be made. */
  readonly canaries: boolean;
}

/** The text of one restore. */
export interface Restore {
  readonly text: string;
  /** Number of rules by table that are there after it, and that it brings itself. */
  readonly total: Readonly<Record<'filter' | 'nat', number>>;
  readonly written: Readonly<Record<'filter' | 'nat', number>>;
  /** Whose line it is, for lines (from 1) that a service port brought. */
  owner(line: number): string | undefined;
}

/**
 * Writes a whole or a partial restore (KEP-3453): shared chains are flushed and written again, the chains of service
 * ports only where they changed. Each table is one atomic change in the kernel.
 */
export function writeRestore(input: RestoreInput): Restore {
  const { config } = input;
  const filter: string[] = [];
  const nat: string[] = [];
  const chains: string[] = [];
  const owners: { readonly table: 'filter' | 'nat'; readonly end: number; readonly key: string }[] = [];
  let kept = 0;
  for (const { key, size, own, ...shared } of input.ports) {
    filter.push(...shared.filter);
    nat.push(...shared.nat);
    if (own === undefined) kept += size;
    // A Service may have more rules than a call has room for arguments.
    else for (const rule of own.rules) nat.push(rule);
    if (own !== undefined) for (const chain of own.chains) chains.push(chain);
    if (shared.filter.length > 0) owners.push({ table: 'filter', end: filter.length, key });
    if (shared.nat.length > 0 || own !== undefined) owners.push({ table: 'nat', end: nat.length, key });
  }
  const head = { filter: filterHead(config), nat: natHead(config) };
  const tail = { filter: filterTail(config, input.dropInvalid), nat: natTail(config, input.nodeAddresses) };
  const stale = [...input.stale];
  const lines: string[] = [];
  const starts = { filter: 0, nat: 0 };
  const table = (name: TableName, body: () => void): void => {
    lines.push(`*${name}`);
    for (const chain of baseChains(name, config)) lines.push(`:${chain} - [0:0]`);
    if (input.canaries && CANARY_TABLES.includes(name)) lines.push(`:${CANARY} - [0:0]`);
    body();
    lines.push('COMMIT');
  };
  const jump = (name: TableName): void => {
    for (const { table: of, from, rule } of input.jumps) if (of === name) lines.push(`-I ${from} ${rule}`);
  };
  const push = (list: readonly string[]): void => {
    for (const line of list) lines.push(line);
  };
  if (input.canaries) table('mangle', () => {});
  table('filter', () => {
    jump('filter');
    push(head.filter);
    starts.filter = lines.length;
    push(filter);
    push(tail.filter);
  });
  table('nat', () => {
    for (const chain of chains) lines.push(`:${chain} - [0:0]`);
    // Flushed first, so that none of them leads to another one when it is deleted.
    for (const chain of stale) lines.push(`:${chain} - [0:0]`);
    jump('nat');
    push(head.nat);
    starts.nat = lines.length;
    push(nat);
    push(tail.nat);
    for (const chain of stale) lines.push(`-X ${chain}`);
  });
  const written = {
    filter: head.filter.length + filter.length + tail.filter.length,
    nat: head.nat.length + nat.length + tail.nat.length,
  };
  return {
    text: `${lines.join('\n')}\n`,
    total: { ...written, nat: written.nat + kept },
    written,
    owner(line) {
      for (const name of ['filter', 'nat'] as const) {
        const size = name === 'filter' ? filter.length : nat.length;
        const at = line - 1 - starts[name];
        if (at < 0 || at >= size) continue;
        return owners.find((owner) => owner.table === name && at < owner.end)?.key;
      }
      return undefined;
    },
  };
}
