import type { Family } from '@weft/net';
import type { Logger } from '@weft/plan';
import { errorMessage } from '@weft/plan';
import type { Jump } from './base.ts';
import {
  CANARY,
  EXTERNAL_SERVICES,
  FORWARD,
  KUBELET_CANARY,
  LOCALNET_MARK,
  MARK_MASQ,
  MARK_OUTSIDE,
  NODEPORTS,
  POSTROUTING,
  PROXY_FIREWALL,
  SERVICE_CHAIN,
  SERVICES,
} from './names.ts';
import { failed, Iptables, type Run } from './program.ts';
import { canonical, parseTable, words } from './saved.ts';

/** What a data plane has in x_tables. */
export interface XtablesUse {
  readonly has: (chain: string) => boolean;
  readonly jumps: readonly Jump[];
}

const OURS = new Set([
  SERVICES,
  EXTERNAL_SERVICES,
  NODEPORTS,
  POSTROUTING,
  MARK_MASQ,
  MARK_OUTSIDE,
  FORWARD,
  PROXY_FIREWALL,
  CANARY,
]);

/** What an iptables plane has left that is not a chain of its own. */
export interface Leftovers {
  /** KUBE-FIREWALL is kubelet's as well. */
  readonly kubelet: boolean;
  /** 127.0.0.0/8 is routed because of us. */
  readonly localnet: boolean;
}

/** Looks in both variants. */
export async function findLeftovers(run: Run): Promise<Leftovers> {
  let mangle = '';
  for (const variant of ['legacy', 'nft'] as const) {
    // A node may have only one variant.
    mangle += await new Iptables(run, 4, variant).save('mangle').catch(() => '');
  }
  return { kubelet: mangle.includes(`:${KUBELET_CANARY} `), localnet: mangle.includes(`:${LOCALNET_MARK} `) };
}

/** Whether a chain is one of the iptables mode's. */
export function isIptablesChain(chain: string): boolean {
  return OURS.has(chain) || SERVICE_CHAIN.test(chain);
}

/**
 * What removes every chain of ours, and every rule that leads to one, from a table; '' when there is nothing. What `next`
 * has under the same names stays, and of rules that lead there only its own.
 */
export function cleanupText(
  table: string,
  saved: string,
  isOurs: (chain: string) => boolean = isIptablesChain,
  next?: XtablesUse,
): string {
  const chains = parseTable(saved, table);
  const gone = [...chains.keys()].filter((chain) => isOurs(chain) && next?.has(chain) !== true);
  const lines = gone.map((chain) => `:${chain} - [0:0]`);
  const kept = new Set(
    (next?.jumps ?? []).filter((j) => j.table === table).map((j) => `${j.from} ${canonical(`-A ${j.from} ${j.rule}`)}`),
  );
  for (const [chain, rules] of chains) {
    if (isOurs(chain) || next?.has(chain) === true) continue;
    for (const rule of rules) {
      const list = words(rule);
      const target = list[Math.max(list.indexOf('-j'), list.indexOf('-g')) + 1] ?? '';
      if (isOurs(target) && !kept.has(`${chain} ${canonical(rule)}`)) lines.push(rule.replace(/^-A /, '-D '));
    }
  }
  lines.push(...gone.map((chain) => `-X ${chain}`));
  return lines.length === 0 ? '' : [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
}

/** Removes chains from both variants and both families. `next` gives what the data plane that takes over has. */
export async function cleanXtables(
  run: Run,
  isOurs: (chain: string) => boolean,
  next: (family: Family) => XtablesUse | undefined,
  log: Logger,
): Promise<void> {
  for (const family of [4, 6] as const) {
    for (const variant of ['legacy', 'nft'] as const) {
      const iptables = new Iptables(run, family, variant);
      let text = '';
      try {
        for (const table of ['filter', 'nat', 'mangle'])
          text += cleanupText(table, await iptables.save(table), isOurs, next(family));
      } catch (error) {
        // A node may have only one variant.
        log.debug('nothing to clean', { family, variant, error: errorMessage(error) });
        continue;
      }
      if (text === '') continue;
      const done = await iptables.restore(text);
      if (done.code !== 0) throw failed('iptables-restore of the clean-up', done);
    }
  }
}
