import {
  CANARY,
  EXTERNAL_SERVICES,
  FORWARD,
  MARK_MASQ,
  NODEPORTS,
  POSTROUTING,
  PROXY_FIREWALL,
  SERVICE_CHAIN,
  SERVICES,
} from './names.ts';
import { parseTable, words } from './saved.ts';

// KUBE-FIREWALL is kubelet's too, and does no harm without us.
const OURS = new Set([SERVICES, EXTERNAL_SERVICES, NODEPORTS, POSTROUTING, MARK_MASQ, FORWARD, PROXY_FIREWALL, CANARY]);

function isOurs(chain: string): boolean {
  return OURS.has(chain) || SERVICE_CHAIN.test(chain);
}

/** What removes every chain of ours, and every rule that leads to one, from a table; '' when there is none. */
export function cleanupText(table: string, saved: string): string {
  const chains = parseTable(saved, table);
  const ours = [...chains.keys()].filter(isOurs);
  if (ours.length === 0) return '';
  const lines = [`*${table}`, ...ours.map((chain) => `:${chain} - [0:0]`)];
  for (const [chain, rules] of chains) {
    if (isOurs(chain)) continue;
    for (const rule of rules) {
      const list = words(rule);
      const target = list[Math.max(list.indexOf('-j'), list.indexOf('-g')) + 1] ?? '';
      if (isOurs(target)) lines.push(rule.replace(/^-A /, '-D '));
    }
  }
  lines.push(...ours.map((chain) => `-X ${chain}`), 'COMMIT', '');
  return lines.join('\n');
}
