import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EndpointSlice, Node, Service } from '@weft/kube';
import { decide, frontendText } from '../src/explain/decide.ts';
import { explainService, planOf } from '../src/explain/service.ts';
import { ruleChanges } from '../src/explain/rules.ts';
import type { ServicePort } from '../src/model/types.ts';
import { CONFIG } from './support/harness.ts';
import { oracle, type Source } from './support/oracle.ts';
import { type EndpointInit, events, NODE, service, slice } from './support/worlds.ts';

const NODE_ADDRESS = '192.168.0.1';
const node = (name = NODE, zone = 'a'): Node =>
  ({
    metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } },
    status: { addresses: [{ type: 'InternalIP', address: NODE_ADDRESS }] },
  }) as Node;

function report(spec: Parameters<typeof service>[1], endpoints: readonly EndpointInit[], at = node()) {
  return explainService(
    { service: service('web', { clusterIP: '10.96.0.1', ...spec }), slices: [slice('web-1', 'web', endpoints)] },
    at,
  );
}

const whys = (spec: Parameters<typeof service>[1], endpoints: readonly EndpointInit[], at = node()): string[] =>
  report(spec, endpoints, at).ports[0]?.backends.map((b) => b.why) ?? [];

describe('why an endpoint is in or out', () => {
  const a = { address: '10.244.0.11', nodeName: NODE };
  const b = { address: '10.244.1.11', nodeName: 'n2' };

  it('by its conditions', () => {
    expect(
      whys({}, [
        a,
        { ...b, ready: false, serving: true, terminating: true },
        { ...b, address: '10.244.1.12', ready: false },
        { ...b, address: '10.244.1.13', ready: false, serving: false, terminating: true },
      ]),
    ).toEqual([
      'in: conditions.ready',
      'out: conditions.terminating, and others are ready',
      'out: conditions.ready is false',
      'out: conditions.terminating, and conditions.serving is false',
    ]);
    expect(whys({}, [{ ...b, ready: false, serving: true, terminating: true }])).toEqual([
      'in: conditions.serving, and no endpoint is ready',
    ]);
  });

  it('by policy and node', () => {
    expect(whys({ internalTrafficPolicy: 'Local' }, [a, b])).toEqual([
      'in for the Local policy: conditions.ready',
      'out: spec.internalTrafficPolicy Local, and it is on node n2',
    ]);
    const both = {
      type: 'NodePort' as const,
      externalTrafficPolicy: 'Local' as const,
      ports: [{ name: 'http', port: 80, nodePort: 30080 }],
    };
    expect(whys(both, [a, b])).toEqual(['in: conditions.ready', 'in for the Cluster policy: conditions.ready']);
  });

  it('by topology', () => {
    expect(
      whys({}, [
        { ...a, zones: ['a'] },
        { ...b, zones: ['b'] },
      ]),
    ).toEqual(['in: conditions.ready', 'out: hints.forZones b']);
    expect(
      whys({}, [
        { ...a, zones: ['a'], nodes: [NODE] },
        { ...b, zones: ['a'], nodes: ['n2'] },
      ]),
    ).toEqual(['in: conditions.ready', 'out: hints.forNodes n2']);
  });

  it('by its address, and once only', () => {
    expect(whys({}, [a, { ...a }, { address: '127.0.0.1' }])).toEqual([
      'in: conditions.ready',
      'also web-1 endpoints[0]: counted once',
      'out: its address is loopback, link-local, multicast or unspecified',
    ]);
  });

  it('says the same as the plan, in every generated world', () => {
    fc.assert(
      fc.property(events, (history) => {
        const { services, slices } = objectsOf(history);
        for (const object of services) {
          const { ports } = explainService({ service: object, slices }, node());
          for (const port of ports) {
            for (const backend of port.backends) {
              if (backend.why.startsWith('also ')) continue;
              expect(backend.why.startsWith('in'), JSON.stringify(backend)).toBe(backend.cluster || backend.local);
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('Services that are not served', () => {
  it.each([
    [{ clusterIP: 'None' }, 'spec.clusterIP None: headless, DNS answers with the endpoints'],
    [
      { type: 'ExternalName' as const, externalName: 'example.com' },
      'spec.type ExternalName: names only, DNS answers with example.com',
    ],
    [{ clusterIP: '' }, 'spec.clusterIP is not set yet'],
  ])('%j', (spec, why) => {
    expect(report(spec, []).unserved).toBe(why);
  });
});

function objectsOf(history: readonly { kind: string; name: string; object: unknown }[]): {
  services: Service[];
  slices: EndpointSlice[];
} {
  const services = new Map<string, Service>();
  const slices = new Map<string, EndpointSlice>();
  for (const event of history) {
    const map = (event.kind === 'service' ? services : slices) as Map<string, unknown>;
    if (event.object === undefined) map.delete(event.name);
    else map.set(event.name, event.object);
  }
  return { services: [...services.values()], slices: [...slices.values()] };
}

describe('the way of a packet', () => {
  const sources: readonly Source[] = [
    { kind: 'pod', address: '10.244.0.10' },
    { kind: 'node', address: NODE_ADDRESS },
    { kind: 'outside', address: '203.0.113.5' },
    { kind: 'outside', address: '100.64.0.1' },
  ];

  it('is the one that the specification gives, in every generated world', () => {
    fc.assert(
      fc.property(events, (history) => {
        const { services, slices } = objectsOf(history);
        const world = { services, slices, node: NODE, nodeAddress: NODE_ADDRESS };
        for (const object of services) {
          for (const { value } of planOf({ service: object, slices }, node(), [4]).values()) {
            const port = value as ServicePort;
            for (const frontend of port.frontends) {
              const [address = '', number = ''] = frontendText(frontend).split(':');
              const target = {
                address: address === 'node' ? NODE_ADDRESS : address,
                port: Number(number),
                protocol: port.protocol as 'TCP',
              };
              for (const source of sources) {
                const expected = oracle(world, source, target);
                if (expected.length !== 1) continue;
                const met = decide(port, frontend, source, { masqueradeAll: false, detects: true });
                expect({
                  verdict: met.verdict === 'refuse' ? 'reject' : met.verdict,
                  endpoints: [...met.endpoints].sort(),
                  masqueraded: [...met.endpoints].sort().map((e) => met.source === 'node' || met.hairpin.includes(e)),
                }).toEqual(expected[0]);
              }
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('names the field that decides', () => {
    const objects = {
      service: service('web', { clusterIP: '10.96.0.1', internalTrafficPolicy: 'Local' }),
      slices: [slice('web-1', 'web', [{ address: '10.244.1.11', nodeName: 'n2' }])],
    };
    const [entry] = planOf(objects, node()).values();
    const port = entry?.value as ServicePort;
    const [frontend] = port.frontends;
    if (frontend === undefined) throw new Error('no frontend');
    expect(
      decide(port, frontend, { kind: 'pod', address: '10.244.0.9' }, { masqueradeAll: false, detects: true }),
    ).toEqual({
      verdict: 'drop',
      endpoints: [],
      source: 'kept',
      hairpin: [],
      because: 'spec.internalTrafficPolicy Local, and this node has no endpoint',
    });
  });
});

describe('rules that a change brings', () => {
  const world = (addresses: readonly string[]) =>
    planOf(
      {
        service: service('web', { clusterIP: '10.96.0.1' }),
        slices: [
          slice(
            'web-1',
            'web',
            addresses.map((address) => ({ address, nodeName: NODE })),
          ),
        ],
      },
      node(),
      [4],
    );

  it('are those of iptables', () => {
    const texts = ruleChanges('iptables', CONFIG, world(['10.244.0.11']), world(['10.244.0.12'])).map(
      ({ sign, text }) => `${sign} ${text}`,
    );
    expect(texts.filter((t) => t.includes('DNAT'))).toEqual([
      expect.stringMatching(/^- .* --to-destination 10\.244\.0\.11:8080$/),
      expect.stringMatching(/^\+ .* --to-destination 10\.244\.0\.12:8080$/),
    ]);
    expect(ruleChanges('iptables', CONFIG, world(['10.244.0.11']), world(['10.244.0.11']))).toEqual([]);
  });

  it('are those of nftables', () => {
    expect(ruleChanges('nftables', CONFIG, new Map(), world(['10.244.0.11']))).toEqual([
      { sign: '+', text: expect.stringMatching(/^chain /) },
      { sign: '+', text: 'endpoints { id 1 . 0 : 10.244.0.11 . 8080 }' },
      { sign: '+', text: 'hairpin { 10.244.0.11 . 10.244.0.11 }' },
      { sign: '+', text: 'cluster-ips { 10.96.0.1 }' },
      { sign: '+', text: 'frontends { 10.96.0.1 . tcp . 80 : c-1, id 1 }' },
    ]);
    expect(
      ruleChanges('nftables', CONFIG, world(['10.244.0.11']), world(['10.244.0.12'])).map((l) => `${l.sign} ${l.text}`),
    ).toEqual(expect.arrayContaining(['- endpoints { id 1 . 0 }', '+ endpoints { id 1 . 0 : 10.244.0.12 . 8080 }']));
    expect(ruleChanges('nftables', CONFIG, new Map(), world([])).map((l) => l.text)).toContain(
      'frontends { 10.96.0.1 . tcp . 80 : reject }',
    );
  });

  it('lead from nothing to all and back, in every generated world', () => {
    fc.assert(
      fc.property(events, (history) => {
        const { services, slices } = objectsOf(history);
        const all = new Map(services.flatMap((s) => [...planOf({ service: s, slices }, node(), [4])]));
        for (const mode of ['iptables', 'nftables'] as const) {
          const there = ruleChanges(mode, CONFIG, new Map(), all);
          expect(there.some((line) => line.sign === '-')).toBe(false);
          const back = ruleChanges(mode, CONFIG, all, new Map());
          if (mode === 'iptables') expect(back.map((l) => l.text).sort()).toEqual(there.map((l) => l.text).sort());
          else expect(back.length > 0).toBe(all.size > 0);
        }
      }),
      { numRuns: 40 },
    );
  });
});
