import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NETWORKS_ANNOTATION, parseNetworkSelections } from '../../src/networks/annotations.ts';
import { CniError } from '../../src/index.ts';

const names = (text: string): string[] =>
  parseNetworkSelections(text, 'shop').map((s) => `${s.namespace}/${s.name}@${s.ifname ?? ''}`);

describe('the short form', () => {
  it.each([
    ['blue', ['shop/blue@']],
    ['blue,red', ['shop/blue@', 'shop/red@']],
    [' ops/blue@eth1 ,\n red@blue0 ', ['ops/blue@eth1', 'shop/red@blue0']],
    ['a.b-c/x'.slice(4), ['c/x@']],
    ['', []],
    ['  ', []],
  ])('%j', (text, expected) => {
    expect(names(text)).toEqual(expected);
  });

  it.each([
    ['a/b/c', 'not of the form'],
    ['a@b@c', 'not of the form'],
    ['blue,', '[1]: "" is not the name of a network'],
    ['/blue', '"" is not a namespace name'],
    ['Blue', '"Blue" is not the name'],
    ['blue@', 'no interface name behind the @'],
    ['blue@averyveryverylongname', 'too long'],
    ['blue@a b', 'whitespace'],
    ['blue@a:b', 'contains / or :'],
  ])('%j is refused', (text, why) => {
    expect(() => parseNetworkSelections(text, 'shop')).toThrow(why);
    expect(() => parseNetworkSelections(text, 'shop')).toThrow(NETWORKS_ANNOTATION);
  });

  it('reads back what it was written from', () => {
    const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?$/);
    const ifname = fc.stringMatching(/^[a-zA-Z0-9._-]{1,15}$/).filter((name) => name !== '.' && name !== '..');
    const one = fc.record({ namespace: fc.option(label), name: label, ifname: fc.option(ifname) });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 8 }), (all) => {
        const text = all.map(
          (o) => `${o.namespace === null ? '' : `${o.namespace}/`}${o.name}${o.ifname === null ? '' : `@${o.ifname}`}`,
        );
        expect(names(text.join(', '))).toEqual(all.map((o) => `${o.namespace ?? 'shop'}/${o.name}@${o.ifname ?? ''}`));
      }),
    );
  });
});

describe('the JSON form', () => {
  it('has everything that the specification and Multus name', () => {
    const [first, second] = parseNetworkSelections(
      JSON.stringify([
        {
          name: 'blue',
          namespace: 'ops',
          interface: 'eth1',
          ips: ['10.1.2.3/24', 'fd00::3'],
          mac: 'C2-B0-57-49-47-F1',
          'infiniband-guid': 'c2:11:22:33:44:55:66:77',
          deviceID: '0000:03:02.1',
          'default-route': ['10.1.2.1', 'fd00::1'],
          portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
          bandwidth: { ingressRate: 1000000 },
          'cni-args': { vf: 'trusted' },
        },
        { name: 'red' },
      ]),
      'shop',
    );
    expect(first).toEqual({
      namespace: 'ops',
      name: 'blue',
      ifname: 'eth1',
      ips: ['10.1.2.3/24', 'fd00::3'],
      mac: 'c2:b0:57:49:47:f1',
      infinibandGuid: 'c2:11:22:33:44:55:66:77',
      deviceId: '0000:03:02.1',
      defaultRoutes: ['10.1.2.1', 'fd00::1'],
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
      bandwidth: { ingressRate: 1000000 },
      cniArgs: { vf: 'trusted' },
    });
    expect(second).toMatchObject({ namespace: 'shop', name: 'red', ips: [], defaultRoutes: [] });
  });

  it.each([
    ['[{"name":"a"}', 'not valid JSON'],
    ['{"name":"a"}', 'not a JSON list'],
    ['[null]', '[0]: expected an object'],
    ['[{}]', '[0].name: is missing'],
    ['[{"name":"a","ips":["10.0.0.300"]}]', '[0].ips[0]: "10.0.0.300" is not an address'],
    ['[{"name":"a","ips":[5]}]', '[0].ips[0]: expected a string'],
    ['[{"name":"a","mac":"hello"}]', '[0].mac: "hello" is not a MAC address'],
    ['[{"name":"a","default-route":["10.0.0.1","10.0.0.2"]}]', '[0].default-route: more than one gateway of a family'],
    ['[{"name":"a","default-route":["gw"]}]', '[0].default-route[0]: "gw" is not an address'],
    ['[{"name":"a","interface":"x/y"}]', '[0].interface: "x/y"'],
    ['[{"name":"a","infiniband-guid":"00:11"}]', '[0].infiniband-guid'],
    ['[{"name":"a","cni-args":[]}]', '[0].cni-args: expected an object'],
    ['[{"name":"a","namespace":"No"}]', '"No" is not a namespace name'],
  ])('%s is refused', (text, why) => {
    expect(() => parseNetworkSelections(text, 'shop')).toThrow(why);
  });

  it('refuses more networks than anybody means', () => {
    expect(() => parseNetworkSelections(Array.from({ length: 65 }, (_, i) => `n${i}`).join(), 'shop')).toThrow(
      '65 networks',
    );
  });
});

it('fails on any other text with an error of CNI, and on nothing else', () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .array(
        fc.dictionary(
          fc.constantFrom('name', 'ips', 'mac', 'interface', 'default-route', 'portMappings', '__proto__'),
          fc.jsonValue(),
        ),
      )
      .map((v) => JSON.stringify(v)),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      try {
        for (const s of parseNetworkSelections(text, 'shop')) expect(s.name).toMatch(/^[-.a-z0-9]+$/);
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
        expect((error as Error).message).toContain(NETWORKS_ANNOTATION);
      }
    }),
  );
});
