import type { Jump } from './base.ts';
import { SERVICE_CHAIN } from './names.ts';
import { type Chains, canonical, parseTable } from './saved.ts';

/** Rules from which on only their number is compared: comparing their text would hold the agent up for seconds. */
const TEXT_LIMIT = 20_000;

export interface AuditInput {
  /** A whole restore, as it would be written now. */
  readonly wanted: string;
  /** What iptables-save shows. */
  readonly filter: string;
  readonly nat: string;
  readonly jumps: readonly Jump[];
}

/** Names of chains that are not as they should be, with their table: missing, left over, or with other rules. */
export function differences(input: AuditInput): string[] {
  const out: string[] = [];
  for (const table of ['filter', 'nat'] as const) {
    const wanted = parseTable(input.wanted, table);
    const found = parseTable(input[table], table);
    const size = [...wanted.values()].reduce((sum, rules) => sum + rules.length, 0);
    const same = size > TEXT_LIMIT ? sameCount : sameText;
    for (const [chain, rules] of wanted) if (!same(rules, found.get(chain))) out.push(`${table} ${chain}`);
    for (const chain of found.keys()) {
      if (table === 'nat' && SERVICE_CHAIN.test(chain) && !wanted.has(chain)) out.push(`${table} ${chain}`);
    }
    out.push(...missingJumps(table, input.jumps, found));
  }
  return out;
}

function missingJumps(table: string, jumps: readonly Jump[], found: Chains): string[] {
  return jumps
    .filter((jump) => jump.table === table)
    .filter(({ from, rule }) => {
      const wanted = canonical(`-A ${from} ${rule}`);
      return !(found.get(from) ?? []).some((other) => canonical(other) === wanted);
    })
    .map(({ from, rule }) => `${table} ${from}: ${rule}`);
}

function sameCount(wanted: readonly string[], found: readonly string[] | undefined): boolean {
  return found?.length === wanted.length;
}

function sameText(wanted: readonly string[], found: readonly string[] | undefined): boolean {
  return (
    found?.length === wanted.length && wanted.every((rule, i) => canonical(rule) === canonical(found[i] as string))
  );
}
