import { describe, expect, it } from 'vitest';
import { compileAnnouncements } from '../src/announce/l2.ts';

describe('what a node announces', () => {
  const service = { key: 'default/web', node: 'n1', ips: ['192.0.2.1', 'fd00:0::1', 'nonsense'] };

  it('is the addresses of Services that it was chosen for, each with its cause', () => {
    const plan = compileAnnouncements(service, 'n1');
    expect([...plan.values()].map((entry) => entry.value.ip)).toEqual(['192.0.2.1', 'fd00::1']);
    expect([...plan.values()][1]?.cause).toEqual({
      kind: 'Service',
      namespace: 'default',
      name: 'web',
      field: 'status.loadBalancer.ingress[1].ip',
    });
  });

  it('is nothing of others', () => {
    expect(compileAnnouncements(service, 'n2').size).toBe(0);
    expect(compileAnnouncements({ ...service, node: undefined }, 'n1').size).toBe(0);
    expect(compileAnnouncements(undefined, 'n1').size).toBe(0);
  });
});
