import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pod } from '@weft/kube';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatResolvConf, parseResolvConf, podHostname, podHosts, podResolvConf } from '../../src/kubelet/dns.ts';
import { writeAtomically } from '../../src/kubelet/volumes/atomic.ts';

const pod = (spec: Partial<Pod['spec']> = {}): Pod => ({
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u' },
  spec: { containers: [{ name: 'a' }], ...spec },
});
const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };
const node = parseResolvConf(
  '# mine\nnameserver 192.0.2.1 ; old\ndomain lan\nsearch corp.example. lan\noptions timeout:1 rotate\n',
);

describe('resolv.conf', () => {
  it('of the node is read', () => {
    expect(node).toEqual({
      nameservers: ['192.0.2.1'],
      searches: ['corp.example', 'lan'],
      options: ['timeout:1', 'rotate'],
    });
  });

  it('of a pod asks the cluster first', () => {
    expect(formatResolvConf(podResolvConf(pod(), cluster, node))).toBe(
      'search shop.svc.cluster.local svc.cluster.local cluster.local corp.example lan\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
  });

  it.each([
    ['Default', {}, ['192.0.2.1']],
    ['ClusterFirst', { hostNetwork: true }, ['192.0.2.1']],
    ['ClusterFirstWithHostNet', { hostNetwork: true }, ['10.96.0.10']],
    ['None', {}, []],
  ] as const)('with policy %s %j', (dnsPolicy, more, nameservers) => {
    expect(podResolvConf(pod({ dnsPolicy, ...more }), cluster, node).nameservers).toEqual(nameservers);
  });

  it('is amended by dnsConfig', () => {
    const dnsConfig = {
      nameservers: ['1.1.1.1', '10.96.0.10'],
      searches: ['x.example', 'svc.cluster.local'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    const conf = podResolvConf(pod({ dnsConfig }), cluster, { nameservers: [], searches: [], options: [] });
    expect(conf).toEqual({
      nameservers: ['10.96.0.10', '1.1.1.1'],
      searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'x.example'],
      options: ['ndots:2', 'edns0'],
    });
  });

  it('keeps to the limits', () => {
    const dnsConfig = {
      nameservers: ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4'],
      searches: Array.from({ length: 40 }, (_, i) => `s${i}.example`),
    };
    const told: string[] = [];
    const conf = podResolvConf(pod({ dnsPolicy: 'None', dnsConfig }), cluster, node, (message) => told.push(message));
    expect(told.map((message) => message.split(' ')[0])).toEqual(['Search', 'Nameserver']);
    expect(told[1]).toMatch(/line is: 1\.1\.1\.1 1\.1\.1\.2 1\.1\.1\.3$/);
    expect([conf.nameservers.length, conf.searches.length]).toEqual([3, 32]);
    const long = podResolvConf(
      pod({
        dnsPolicy: 'None',
        dnsConfig: { searches: Array.from({ length: 12 }, (_, i) => `${i}${'x'.repeat(250)}`) },
      }),
      cluster,
      node,
    );
    expect(long.searches.join(' ').length).toBeLessThanOrEqual(2048);
  });
});

describe('names', () => {
  it('of a pod, with and without subdomain', () => {
    expect(podHostname(pod(), 'cluster.local')).toEqual({ host: 'web-0' });
    expect(podHostname(pod({ hostname: 'h', subdomain: 'sub' }), 'cluster.local')).toEqual({
      host: 'h',
      fqdn: 'h.sub.shop.svc.cluster.local',
    });
    expect(podHostname(pod({ subdomain: 'sub', setHostnameAsFQDN: true }), 'cluster.local').host).toBe(
      'web-0.sub.shop.svc.cluster.local',
    );
    const long = pod();
    long.metadata.name = `${'a'.repeat(62)}-bcd`;
    expect(podHostname(long, 'cluster.local').host).toBe('a'.repeat(62));
  });

  it('in /etc/hosts', () => {
    const text = podHosts(
      pod({ subdomain: 'sub', hostAliases: [{ ip: '192.0.2.9', hostnames: ['db', 'db.local'] }] }),
      ['10.0.0.5', 'fd00::5'],
      'cluster.local',
      '',
    );
    expect(text).toContain('10.0.0.5\tweb-0.sub.shop.svc.cluster.local\tweb-0\n');
    expect(text).toContain('fd00::5\tweb-0.sub.shop.svc.cluster.local\tweb-0\n');
    expect(text.endsWith('192.0.2.9\tdb\tdb.local\n')).toBe(true);
    expect(podHosts(pod({ hostNetwork: true }), ['10.0.0.1'], 'cluster.local', '127.0.0.1 me\n')).toBe(
      '# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n',
    );
  });
});

describe('files made from objects', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'weft-vol-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const payload = (files: Record<string, string>, mode = 0o644): Map<string, { data: Buffer; mode: number }> =>
    new Map(Object.entries(files).map(([path, text]) => [path, { data: Buffer.from(text), mode }]));

  it('change all at once, by one link', () => {
    expect(writeAtomically(dir, payload({ a: '1', 'sub/b': '2' }))).toBe(true);
    expect(readFileSync(join(dir, 'a'), 'utf8') + readFileSync(join(dir, 'sub/b'), 'utf8')).toBe('12');
    expect(readlinkSync(join(dir, 'a'))).toBe('..data/a');
    const before = readlinkSync(join(dir, '..data'));
    expect(writeAtomically(dir, payload({ a: '1', 'sub/b': '2' }))).toBe(false);
    expect(readlinkSync(join(dir, '..data'))).toBe(before);
    expect(writeAtomically(dir, payload({ a: 'new', c: '3' }, 0o400))).toBe(true);
    expect(
      readdirSync(dir)
        .filter((name) => !name.startsWith('..'))
        .sort(),
    ).toEqual(['a', 'c']);
    expect(readdirSync(dir).filter((name) => name.startsWith('..')).length).toBe(2);
    expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('new');
    expect(statSync(join(dir, 'a')).mode & 0o777).toBe(0o400);
  });

  it('cannot be anywhere else', () => {
    for (const path of ['../x', '/x', 'a/../../x', '..data', '']) {
      expect(() => writeAtomically(dir, payload({ [path]: 'x' }))).toThrow(/invalid path/);
    }
    expect(readdirSync(dir)).toEqual([]);
  });
});
