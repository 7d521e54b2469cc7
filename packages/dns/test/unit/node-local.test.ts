import { describe, expect, it } from 'vitest';
import { checkCorefile, parseNodeLocal } from '../../src/index.ts';
import { renderCorefile } from '../../src/node-local/corefile.ts';
import { untracked } from '../../src/node-local/network.ts';

const IPS = ['-localip', '169.254.20.10,10.96.0.10'];

describe("node-cache's command line", () => {
  it('is read as the manifest of Kubernetes has it', () => {
    const args = [...IPS, '-conf', '/etc/Corefile', '-upstreamsvc', 'kube-dns-upstream'];
    expect(parseNodeLocal(args)).toEqual({
      localIps: ['169.254.20.10', '10.96.0.10'],
      conf: '/etc/Corefile',
      baseCorefile: '/etc/coredns/Corefile.base',
      upstreamService: 'kube-dns-upstream',
      kubeDnsConfig: '/etc/kube-dns',
      interfaceName: 'nodelocaldns',
      interfaceKind: 'dummy',
      setupInterface: true,
      setupRules: true,
      skipTeardown: false,
      syncInterval: 60,
      metricsAddress: '0.0.0.0:9353',
      healthPort: 8080,
      port: 53,
    });
  });

  it('has switches as Go has them, and values behind an equals sign', () => {
    const read = parseNodeLocal([
      '--localip=fd00::10',
      '-setupiptables=false',
      '-setupinterface=F',
      '-skipteardown',
      '-syncinterval=5',
      '-health-port=9000',
    ]);
    expect(read).toMatchObject({
      localIps: ['fd00::10'],
      setupRules: false,
      setupInterface: false,
      skipTeardown: true,
      syncInterval: 5,
      healthPort: 9000,
    });
  });

  it.each([
    [[], /-localip is missing/],
    [['-localip', 'me'], /"me" is not an address/],
    [[...IPS, '-bogus'], /unknown flag -bogus/],
    [[...IPS, 'word'], /unknown flag word/],
    [[...IPS, '-setupebtables'], /-setupebtables is not served/],
    [[...IPS, '-skipteardown=maybe'], /neither true nor false/],
    [[...IPS, '-conf'], /-conf needs a value/],
    [[...IPS, '-syncinterval', '0'], /not a number from 1/],
    [[...IPS, '-interfacekind', 'vxlan'], /-interfacekind vxlan/],
  ] as const)('refuses %j', (args, message) => {
    expect(() => parseNodeLocal(args)).toThrow(message);
  });
});

describe('the Corefile', () => {
  const options = parseNodeLocal([...IPS, '-upstreamsvc', 'kube-dns-upstream']);
  const env = { KUBE_DNS_UPSTREAM_SERVICE_HOST: '10.96.7.7' };
  const template = `cluster.local:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
    }
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
}
.:53 {
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__UPSTREAM__SERVERS__
}
`;

  it('has every variable filled in', () => {
    const { text, problems } = renderCorefile(template, { options, env });
    expect(problems).toEqual([]);
    expect(text).not.toContain('__PILLAR__');
    expect(text).toContain('bind 169.254.20.10 10.96.0.10\n');
    expect(text).toContain('bind 169.254.20.10\n');
    expect(text).toContain('forward . 10.96.7.7 {');
    expect(text).toContain('forward . /etc/resolv.conf\n');
    expect(checkCorefile(text).filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  it('has the stub domains and servers of the ConfigMap kube-dns', () => {
    const { text, problems } = renderCorefile(template, {
      options,
      env,
      stubDomains: '{"corp.example": ["192.0.2.1", "192.0.2.2:5353"]}',
      upstreamNameservers: '["192.0.2.9"]',
    });
    expect(problems).toEqual([]);
    expect(text).toContain('forward . 192.0.2.9\n');
    expect(text).toMatch(
      /^corp\.example:53 \{[^}]*bind 169\.254\.20\.10 10\.96\.0\.10\n[^}]*forward \. 192\.0\.2\.1 192\.0\.2\.2:5353\n\}$/m,
    ); // prettier-ignore
  });

  it.each([
    [{ env: {} }, /KUBE_DNS_UPSTREAM_SERVICE_HOST/],
    [{ stubDomains: '{' }, /stubDomains/],
    [{ stubDomains: '{"a": ["x { }"]}' }, /a has no list of addresses/],
    [{ stubDomains: '{"a {": ["192.0.2.1"]}' }, /has no list of addresses/],
    [{ upstreamNameservers: '["192.0.2.1", 5]' }, /not a list of addresses/],
  ])('leaves out what is wrong, and says so: %j', (more, message) => {
    const { text, problems } = renderCorefile(template, { options, env, ...more });
    expect(problems.join()).toMatch(message);
    expect(text).toContain('cluster.local:53 {');
    expect(text).not.toContain('x { }');
  });
});

it('queries, answers and the health check are not tracked', () => {
  const rules = untracked(parseNodeLocal(['-localip', '169.254.20.10']));
  expect(rules.map((r) => `${r.chain} ${r.side} ${r.protocol === 6 ? 'tcp' : 'udp'} ${r.port}`).sort()).toEqual([
    'output from tcp 53',
    'output from tcp 8080',
    'output from udp 53',
    'output to tcp 53',
    'output to tcp 8080',
    'output to udp 53',
    'prerouting to tcp 53',
    'prerouting to udp 53',
  ]);
});
