import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { delegateConf, parseSubnetEnv } from '../../src/plugins/flannel-conf.ts';
import { subnetKeys } from '../../src/plugins/shaping.ts';
import { formatIp, ipFromBytes, prefixContains, prefixOf } from '@weft/net';

const env = `FLANNEL_NETWORK=10.1.0.0/16,10.9.0.0/16,10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_IPV6_NETWORK=fd00:1::/48
FLANNEL_IPV6_SUBNET=fd00:1:0:5::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false`;

describe('subnet.env', () => {
  it('is read with all its networks, each once', () => {
    expect(parseSubnetEnv(env, 'f')).toEqual({
      networks: ['10.1.0.0/16', '10.9.0.0/16', 'fd00:1::/48'],
      subnets: ['10.1.17.0/24', 'fd00:1:0:5::/64'],
      mtu: 1450,
      ipMasq: false,
    });
  });

  it('names all that is missing, and what cannot be read', () => {
    expect(() => parseSubnetEnv('', 'f')).toThrow(
      'f is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ',
    );
    expect(() => parseSubnetEnv(env.replace('10.1.17.1/24', '10.1.17'), 'f')).toThrow(
      /f: FLANNEL_SUBNET: not a subnet/,
    );
    expect(() => parseSubnetEnv(env.replace('=1450', '=big'), 'f')).toThrow(/FLANNEL_MTU/);
  });

  it('never ends otherwise than with an answer or a named error', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => parseSubnetEnv(text, 'f')).toThrow(/^f/);
      }),
    );
  });
});

describe('the configuration of the delegate', () => {
  const subnets = parseSubnetEnv(env, 'f');

  it('is a bridge with all that flannel knows', () => {
    const config = { name: 'n', cniVersion: '1.0.0', type: 'flannel', runtimeConfig: { mac: 'x' } };
    expect(delegateConf(config, {}, subnets)).toEqual({
      name: 'n',
      cniVersion: '1.0.0',
      type: 'bridge',
      ipMasq: true,
      mtu: 1450,
      isGateway: true,
      runtimeConfig: { mac: 'x' },
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.1.17.0/24' }], [{ subnet: 'fd00:1:0:5::/64' }]],
        routes: [{ dst: '10.1.0.0/16' }, { dst: '10.9.0.0/16' }, { dst: 'fd00:1::/48' }],
      },
    });
  });

  it('keeps what it was told, in any case of letters', () => {
    const config = { name: 'n', ipam: { type: 'other', routes: [{ dst: '0.0.0.0/0' }], dataDir: '/d' } };
    const conf = delegateConf(config, { type: 'ipvlan', MTU: 1300, ipmasq: true, master: 'eth0' }, subnets);
    expect(conf).toMatchObject({
      type: 'ipvlan',
      MTU: 1300,
      ipmasq: true,
      master: 'eth0',
      ipam: { type: 'other', dataDir: '/d' },
    });
    for (const key of ['mtu', 'ipMasq', 'isGateway']) expect(conf).not.toHaveProperty(key);
    expect(conf['ipam']).toMatchObject({ routes: [{ dst: '0.0.0.0/0' }, { dst: '10.1.0.0/16' }, {}, {}] });
  });
});

it('the words of a subnet match its addresses and no others', () => {
  const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
  const pair = fc.oneof(fc.tuple(bytes(4), bytes(4)), fc.tuple(bytes(16), bytes(16)));
  fc.assert(
    fc.property(
      pair,
      fc.nat(128),
      fc.constantFrom('source' as const, 'destination' as const),
      fc.boolean(),
      ([a, b], n, peer, near) => {
        const length = Math.min(n, a.length * 8);
        const subnet = prefixOf(ipFromBytes(a), length);
        const address = Uint8Array.from(b, (byte, i) => (near && i < length >> 3 ? (a[i] as number) : byte));
        const header = new Uint8Array(40);
        const offset = a.length === 4 ? { source: 12, destination: 16 } : { source: 8, destination: 24 };
        header.set(address, offset[peer]);
        const view = new DataView(header.buffer);
        const hit = subnetKeys(subnet, peer).every(
          (key) => (view.getUint32(key.offset) & key.mask) >>> 0 === key.value,
        );
        expect(hit, `${formatIp(address)} in ${formatIp(a)}/${length}`).toBe(
          prefixContains(subnet, ipFromBytes(address)),
        );
      },
    ),
  );
});
