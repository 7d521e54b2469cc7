// The link of node-local mode as it is on real nodes: a dummy, which the usual kernel of a development machine lacks.
import { execFileSync } from 'node:child_process';
import { NetNs } from '@weft/kernel';
import { expect, it } from 'vitest';
import { parseNodeLocal } from '../../src/index.ts';
import { NodeLocalNetwork } from '../../src/node-local/network.ts';

it('is a dummy with the local addresses, goes to the instance that comes last, and is taken away by that one', async () => {
  const ns = NetNs.anonymous();
  const sh = (...argv: string[]): string =>
    ns.run(() => execFileSync(argv[0] as string, argv.slice(1), { encoding: 'utf8' }));
  const failures: unknown[] = [];
  const failed = (what: string, error: unknown): void => void failures.push([what, error]);
  const options = parseNodeLocal(['-localip', '169.254.20.10,10.96.0.10,fd00::10']);
  const old = new NodeLocalNetwork(options, 'old', ns);
  const next = new NodeLocalNetwork(options, 'next', ns);
  try {
    await old.claimLink(failed);
    await old.claimRules(failed);
    expect(sh('ip', '-d', 'link', 'show', 'nodelocaldns')).toMatch(/\bdummy\b/);
    const addresses = sh('ip', '-o', 'addr', 'show', 'nodelocaldns');
    for (const address of ['169.254.20.10/32', '10.96.0.10/32', 'fd00::10/128']) expect(addresses).toContain(address);
    await next.claimLink(failed);
    await next.claimRules(failed);
    await old.audit(failed);
    await old.tearDownRules();
    await old.tearDownLink();
    expect(sh('ip', '-o', 'link')).toContain('nodelocaldns');
    expect(sh('nft', 'list', 'tables')).toContain('weft-node-local-dns');
    await next.tearDownRules();
    await next.tearDownLink();
    expect(sh('ip', '-o', 'link')).not.toContain('nodelocaldns');
    expect(sh('nft', 'list', 'tables')).not.toContain('weft-node-local-dns');
    expect(failures).toEqual([]);
  } finally {
    old.close();
    next.close();
    ns.close();
  }
});
