import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkContainerId,
  checkEnvironment,
  checkIfname,
  checkKnownArgs,
  checkNetworkName,
  parseCniArgs,
} from '../../src/spec/environment.ts';
import { CniError, formatCniError } from '../../src/spec/errors.ts';
import { field, parseObject } from '../../src/spec/json.ts';
import { checkResult, formatResult, parseResult, resultToVersion } from '../../src/spec/result.ts';
import type { CniResult } from '../../src/spec/types.ts';
import { compareVersions, negotiateVersion, SUPPORTED_VERSIONS } from '../../src/spec/versions.ts';

const FULL: CniResult = {
  interfaces: [
    { name: 'veth0', mac: 'ee:ee:ee:ee:ee:ee', mtu: 1450 },
    { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '10.1.0.2/32', gateway: '169.254.1.1', interface: 1 },
    { address: 'fd00::2/128', gateway: 'fe80::1', interface: 1 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1400 },
    { dst: '::/0', gw: 'fe80::1' },
  ],
  dns: { nameservers: ['10.96.0.10'] },
};

describe('results', () => {
  it('have the shape of the first versions', () => {
    for (const version of ['0.1.0', '0.2.0']) {
      expect(resultToVersion(FULL, version)).toEqual({
        cniVersion: version,
        ip4: { ip: '10.1.0.2/32', gateway: '169.254.1.1', routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }] },
        ip6: { ip: 'fd00::2/128', gateway: 'fe80::1', routes: [{ dst: '::/0', gw: 'fe80::1' }] },
        dns: { nameservers: ['10.96.0.10'] },
      });
      expect(resultToVersion({}, version)).toEqual({ cniVersion: version, dns: {} });
    }
  });

  it('have the shape of 0.3.0 to 0.4.0: a version per address, dns always', () => {
    for (const version of ['0.3.0', '0.3.1', '0.4.0']) {
      const value = resultToVersion({ ...FULL, dns: {} }, version);
      expect(value['ips']).toEqual([
        { version: '4', interface: 1, address: '10.1.0.2/32', gateway: '169.254.1.1' },
        { version: '6', interface: 1, address: 'fd00::2/128', gateway: 'fe80::1' },
      ]);
      expect(value['interfaces']).toEqual([
        { name: 'veth0', mac: 'ee:ee:ee:ee:ee:ee' },
        { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x' },
      ]);
      expect(value['dns']).toEqual({});
    }
  });

  it('have the shape of 1.0.0 and 1.1.0', () => {
    const { dns: _dns, ...withoutDns } = FULL;
    expect(resultToVersion(withoutDns, '1.0.0')).not.toHaveProperty('dns');
    expect(resultToVersion(FULL, '1.0.0')['interfaces']).toEqual([
      { name: 'veth0', mac: 'ee:ee:ee:ee:ee:ee' },
      { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x' },
    ]);
    expect(resultToVersion(FULL, '1.1.0')).toEqual({ cniVersion: '1.1.0', ...FULL });
  });

  it('keep attributes of routes in versions that do not know them yet, as libcni does', () => {
    for (const version of ['0.3.1', '1.0.0']) expect(resultToVersion(FULL, version)['routes']).toEqual(FULL.routes);
  });

  it('are printed as Go prints them: sorted keys from 1.0.0 on, four spaces, no newline at the end', () => {
    const result: CniResult = {
      interfaces: [{ name: 'eth0', mac: 'ee:ee:ee:ee:ee:ee' }],
      ips: [{ address: '10.0.0.2/24', interface: 0 }],
    };
    expect(formatResult(result, '1.0.0')).toBe(`{
    "cniVersion": "1.0.0",
    "interfaces": [
        {
            "mac": "ee:ee:ee:ee:ee:ee",
            "name": "eth0"
        }
    ],
    "ips": [
        {
            "address": "10.0.0.2/24",
            "interface": 0
        }
    ]
}`);
    expect(formatResult({ ips: result.ips ?? [] }, '0.4.0').replaceAll(/\s/g, '')).toBe(
      '{"cniVersion":"0.4.0","ips":[{"version":"4","interface":0,"address":"10.0.0.2/24"}],"dns":{}}',
    );
  });

  it('are refused when they exceed limits or name interfaces they do not have', () => {
    const ips = (index: number) => [{ address: '10.0.0.2/24', interface: index }];
    checkResult({ interfaces: [{ name: 'eth0' }], ips: ips(0) });
    for (const index of [1, -1, 0.5]) {
      expect(() => checkResult({ interfaces: [{ name: 'eth0' }], ips: ips(index) })).toThrow(
        `ips[0].interface: ${index} is none of the 1 interfaces`,
      );
    }
    const routes = Array.from({ length: 1025 }, () => ({ dst: '10.0.0.0/8' }));
    expect(() => checkResult({ routes })).toThrow('routes: 1025 are more than 1024');
  });

  it('come back as they were, in every version that has room for them', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const ip = fc.tuple(octet, octet, octet, octet).map((o) => `${o.join('.')}/24`);
    const result = fc.record({
      interfaces: fc.array(fc.record({ name: fc.constantFrom('a', 'b'), mac: fc.constant('02:00:00:00:00:01') })),
      ips: fc.array(fc.record({ address: ip, interface: fc.nat(3) })),
      routes: fc.array(fc.record({ dst: ip, gw: fc.constant('10.0.0.1') })),
    });
    fc.assert(
      fc.property(result, fc.constantFrom('0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'), (value, version) => {
        expect(parseResult(parseObject(formatResult(value, version), 'result'))).toEqual(value);
      }),
    );
  });

  it('are read whatever the case of their keys', () => {
    expect(parseResult({ CNIVersion: '1.0.0', IPs: [{ Address: '10.0.0.2/24', Gateway: '' }] })).toMatchObject({
      ips: [{ address: '10.0.0.2/24' }],
    });
  });

  it('name what is wrong in them', () => {
    const bad = (value: object) => () => parseResult({ cniVersion: '1.0.0', ...value });
    expect(bad({ ips: [{ address: '10.0.0.2' }] })).toThrow(
      'ips[0].address: not an address with a prefix length: 10.0.0.2',
    );
    expect(bad({ routes: [{}] })).toThrow('routes[0].dst is missing');
    expect(bad({ interfaces: {} })).toThrow('interfaces: expected a list');
    expect(() => parseResult({ cniVersion: '7.0.0' })).toThrow('unsupported CNI version "7.0.0"');
  });
});

describe('versions', () => {
  it('are negotiated: the highest that both know', () => {
    expect(negotiateVersion('0.4.0', ['1.1.0', '9.9.9', '1.0.0'])).toBe('1.1.0');
    expect(negotiateVersion('0.4.0', [])).toBe('0.4.0');
    expect(negotiateVersion(undefined, [])).toBe('0.1.0');
    expect(negotiateVersion('9.9.9', [])).toBe('9.9.9');
    expect(negotiateVersion('1.1', [])).toBe('1.1');
  });

  it('are listed in order', () => {
    expect([...SUPPORTED_VERSIONS].sort(compareVersions)).toEqual(SUPPORTED_VERSIONS);
  });
});

describe('the environment', () => {
  it('is checked, all missing variables at once', () => {
    const env = (pairs: Record<string, string>) => new Map(Object.entries(pairs));
    expect(() => checkEnvironment(env({ CNI_COMMAND: 'CHECK', CNI_IFNAME: 'eth0' }))).toThrow(
      'required env variables [CNI_CONTAINERID,CNI_NETNS] missing',
    );
    expect(checkEnvironment(env({ CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'a', CNI_IFNAME: 'eth0' }))).toBe('DEL');
    expect(checkEnvironment(env({ CNI_COMMAND: 'STATUS' }))).toBe('STATUS');
    expect(() => checkEnvironment(env({ CNI_COMMAND: 'toString' }))).toThrow('unknown CNI_COMMAND: toString');
  });

  it('holds names by the rules of the specification', () => {
    expect(() => checkContainerId('')).toThrow(expect.objectContaining({ cniCode: 3 }));
    expect(() => checkContainerId('../x')).toThrow(expect.objectContaining({ cniCode: 4 }));
    for (const bad of ['', '.', '..', 'a/b', 'a:b', 'a b', 'a234567890123456', 'ääääääää']) {
      expect(() => checkIfname(bad)).toThrow(expect.objectContaining({ cniCode: 4 }));
    }
    expect(checkIfname('a23456789012345')).toBe('a23456789012345');
    expect(() => checkNetworkName('-x')).toThrow(expect.objectContaining({ cniCode: 7 }));
  });

  it('may have arguments nobody knows only with IgnoreUnknown', () => {
    const check = (text: string) => checkKnownArgs(parseCniArgs(text), ['IP']);
    check('IP=10.0.0.2;K8S_POD_NAME=p');
    for (const yes of ['1', 'true', 'True']) check(`X=1;IgnoreUnknown=${yes}`);
    for (const no of ['', 'IgnoreUnknown=0;', 'IgnoreUnknown=false;']) {
      expect(() => check(`${no}X=1;ip=2`)).toThrow(
        expect.objectContaining({ cniCode: 4, message: 'CNI_ARGS: unknown arguments X, ip' }),
      );
    }
    expect(() => check('IgnoreUnknown=maybe')).toThrow('IgnoreUnknown: "maybe" is not true or false');
  });

  it('has arguments in pairs', () => {
    expect([...parseCniArgs('A=1;B=2')]).toEqual([
      ['A', '1'],
      ['B', '2'],
    ]);
    expect(parseCniArgs('').size).toBe(0);
    expect(() => parseCniArgs('A=1=2')).toThrow('CNI_ARGS: invalid pair "A=1=2"');
  });
});

describe('JSON', () => {
  it('is read as Go reads it: exact names first, then any case, null as absent', () => {
    expect(field({ hostport: 1, hostPort: 2 }, 'hostPort')).toBe(2);
    expect(field({ HOSTPORT: 1 }, 'hostPort')).toBe(1);
    expect(field({ hostPort: null }, 'hostPort')).toBeUndefined();
    expect(field({}, 'constructor')).toBeUndefined();
  });

  it('prints errors without empty details', () => {
    expect(JSON.parse(formatCniError(new CniError(7, 'no', ''), '1.0.0'))).toEqual({
      cniVersion: '1.0.0',
      code: 7,
      msg: 'no',
    });
  });
});
