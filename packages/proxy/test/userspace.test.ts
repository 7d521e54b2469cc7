import { KernelError } from '@weft/kernel';
import { describe, expect, it } from 'vitest';
import { packAddress, packPort } from '../src/model/packed.ts';
import { Affinity, Pool } from '../src/userspace/pool.ts';
import { openInRange, parsePortRange } from '../src/userspace/ports.ts';
import { compilePort, restoreText, type Sockets } from '../src/userspace/rules.ts';
import { CONFIG, Feed } from './support/harness.ts';
import { type EndpointInit, service, slice } from './support/worlds.ts';

const endpoint = (address: string, port = 80): string => (packAddress(address) ?? '') + packPort(port);
const LIST = ['10.244.0.1', '10.244.0.2', '10.244.0.3'].map((a) => endpoint(a)).join('');

describe('ports of the userspace proxy', () => {
  it.each([
    ['', undefined],
    ['0-0', undefined],
    ['0', undefined],
    ['8000-9000', [8000, 9000]],
    ['8000+10', [8000, 8010]],
    ['65530+100', [65_530, 65_535]],
    ['8000', [8000, 8000]],
  ])('%j means %j', (text, range) => {
    expect(parsePortRange(text)).toEqual(range);
  });

  it.each(['9000-8000', '1-65536', 'x', '80-', '-80', '0-80', '80,90'])('%j is no range', (text) => {
    expect(() => parsePortRange(text)).toThrow(`portRange: "${text}" is not a range of ports`);
  });

  it('are tried from anywhere in the range until one is free', () => {
    const taken = new Set([8002, 8003]);
    const tried: number[] = [];
    const open = (port: number): number => {
      tried.push(port);
      if (taken.has(port)) throw new KernelError({ errno: 98, operation: 'listen on', object: String(port) });
      return port;
    };
    expect(openInRange([8000, 8003], open, () => 0.5)).toBe(8000);
    expect(tried).toEqual([8002, 8003, 8000]);
    for (const port of [8000, 8001]) taken.add(port);
    expect(() => openInRange([8000, 8003], open)).toThrow('all 4 ports from 8000 to 8003 are in use');
    expect(() =>
      openInRange([8000, 8003], () => {
        throw new Error('no more files');
      }),
    ).toThrow('no more files');
  });
});

describe('a pool of endpoints', () => {
  it('is taken in turns, in an order of its own', () => {
    const pool = new Pool(4, new Affinity());
    pool.set(LIST);
    const first = [0, 1, 2].map(() => pool.take('c')?.address);
    expect(new Set(first)).toEqual(new Set(['10.244.0.1', '10.244.0.2', '10.244.0.3']));
    expect([0, 1, 2].map(() => pool.take('c')?.address)).toEqual(first);
    pool.set('');
    expect(pool.take('c')).toBeUndefined();
  });

  it('keeps clients for their time since they last came, in every pool of the port', () => {
    let now = 0;
    const affinity = new Affinity(() => now);
    affinity.seconds = 10;
    const [all, local] = [new Pool(4, affinity), new Pool(4, affinity)];
    all.set(LIST);
    local.set(LIST.slice(0, 12));
    const friend = all.take('c')?.key;
    for (let i = 0; i < 5; i++) {
      now += 9000;
      expect(all.take('c')?.key).toBe(friend);
    }
    now += 10_000;
    expect(all.take('c')?.key).not.toBe(friend);
    // An endpoint that does not answer loses its clients, and so does one that has gone.
    const second = all.take('c')?.key;
    all.failed('c');
    expect(all.take('c')?.key).not.toBe(second);
    local.set(endpoint('10.244.0.9'));
    expect(local.take('c')?.address).toBe('10.244.0.9');
  });

  it('forgets clients that stay away, however many they are', () => {
    let now = 0;
    const affinity = new Affinity(() => now);
    affinity.seconds = 1;
    for (let i = 0; i < 100_000; i++) {
      now += 10;
      affinity.set(`client ${i}`, 'x');
    }
    expect(affinity.size).toBeLessThan(2000);
  });
});

describe('rules of the userspace proxy', () => {
  const AT = { config: CONFIG, host: '192.168.0.1', nodeAddresses: ['192.168.0.1'] };

  function rules(spec: object, endpoints: readonly EndpointInit[], sockets: Sockets, status?: object) {
    const feed = new Feed();
    feed.push({ kind: 'service', name: 'a', object: service('a', { clusterIP: '10.96.0.1', ...spec }, status) });
    feed.push({ kind: 'slice', name: 'a-1', object: slice('a-1', 'a', endpoints) });
    const [entry] = [...feed.take().added.values()].filter(({ value }) => value.type === 'ServicePort');
    if (entry?.value.type !== 'ServicePort') throw new Error('no port');
    const { nat, filter } = compilePort(entry.value, sockets, AT);
    const plain = (rule: string): string => rule.replace(/ -m comment --comment "default\/a:http"/, '');
    return { nat: nat.map(plain), filter: filter.map(plain) };
  }

  const HERE = [{ address: '10.244.0.1', nodeName: 'n1' }];
  const THERE = [{ address: '10.244.1.1', nodeName: 'n2' }];
  const tcp = '-p tcp -m tcp --dport';
  const to = (port: number): string => `-j DNAT --to-destination 192.168.0.1:${port}`;
  const socket = (port: number): string[] => [
    `-A KUBE-NODEPORT-NON-LOCAL -d 192.168.0.1 ${tcp} ${port} -m conntrack --ctstate DNAT -j ACCEPT`,
    `-A KUBE-NODEPORT-NON-LOCAL -d 192.168.0.1 ${tcp} ${port} -j REJECT --reject-with tcp-reset`,
  ];

  it('lead clients of pods and of the node to a socket', () => {
    expect(rules({}, HERE, { cluster: 5000 })).toEqual({
      nat: [
        `-A KUBE-PORTALS-CONTAINER -d 10.96.0.1 ${tcp} 80 ${to(5000)}`,
        `-A KUBE-PORTALS-HOST -d 10.96.0.1 ${tcp} 80 ${to(5000)}`,
      ],
      filter: socket(5000),
    });
  });

  it('refuse where there is no endpoint, and drop where there is none on this node', () => {
    expect(rules({}, [], {})).toEqual({
      nat: [],
      filter: [`-A KUBE-PORTALS-FIREWALL -d 10.96.0.1 ${tcp} 80 -j REJECT --reject-with tcp-reset`],
    });
    expect(rules({ internalTrafficPolicy: 'Local' }, THERE, {})).toEqual({
      nat: [],
      filter: [`-A KUBE-PORTALS-FIREWALL -d 10.96.0.1 ${tcp} 80 -j DROP`],
    });
  });

  it('keep the external Local policy for clients from beyond only', () => {
    const spec = {
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ports: [{ name: 'http', port: 80, nodePort: 30080 }],
    };
    const { nat, filter } = rules(spec, [...HERE, ...THERE], { cluster: 5000, local: 5001 });
    expect(nat.slice(2)).toEqual([
      `-A KUBE-NODEPORT-CONTAINER -s 10.244.0.0/16 -d 192.168.0.1 ${tcp} 30080 ${to(5000)}`,
      `-A KUBE-NODEPORT-CONTAINER -d 192.168.0.1 ${tcp} 30080 ${to(5001)}`,
      `-A KUBE-NODEPORT-HOST -d 192.168.0.1 ${tcp} 30080 ${to(5000)}`,
    ]);
    expect(filter).toEqual([...socket(5000), ...socket(5001)]);
    const without = rules(spec, THERE, { cluster: 5000 });
    expect(without.nat).toHaveLength(4);
    expect(without.filter[0]).toBe(`-A KUBE-PORTALS-FIREWALL -d 192.168.0.1 ${tcp} 30080 -j DROP`);
  });

  it('let only the listed sources use the balancer address, pods by the smaller of two blocks that meet', () => {
    const { nat, filter } = rules(
      {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        loadBalancerSourceRanges: ['10.244.7.0/24', '10.0.0.0/8', '203.0.113.0/24'],
      },
      HERE,
      { cluster: 5000, local: 5001 },
      { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
    );
    const vip = `-d 198.51.100.1 ${tcp} 80`;
    expect(nat.slice(2)).toEqual([
      `-A KUBE-PORTALS-CONTAINER -s 10.244.0.0/16 ${vip} ${to(5000)}`,
      `-A KUBE-PORTALS-CONTAINER -s 10.0.0.0/8 ${vip} ${to(5001)}`,
      `-A KUBE-PORTALS-HOST -s 10.0.0.0/8 ${vip} ${to(5000)}`,
      `-A KUBE-PORTALS-CONTAINER -s 10.244.7.0/24 ${vip} ${to(5000)}`,
      `-A KUBE-PORTALS-CONTAINER -s 10.244.7.0/24 ${vip} ${to(5001)}`,
      `-A KUBE-PORTALS-HOST -s 10.244.7.0/24 ${vip} ${to(5000)}`,
      `-A KUBE-PORTALS-CONTAINER -s 203.0.113.0/24 ${vip} ${to(5001)}`,
      `-A KUBE-PORTALS-HOST -s 203.0.113.0/24 ${vip} ${to(5000)}`,
    ]);
    expect(filter[0]).toBe(`-A KUBE-PORTALS-FIREWALL ${vip} -j DROP`);
  });

  it('are written as one text that knows whose each line is', () => {
    const { text, owner } = restoreText(
      new Map([
        ['a', { filter: ['-A KUBE-PORTALS-FIREWALL -d 10.96.0.1 -j DROP'], nat: [] }],
        ['b', { filter: [], nat: ['-A KUBE-PORTALS-HOST -d 10.96.0.2 -j DNAT --to-destination 192.168.0.1:1'] }],
      ]),
      [{ table: 'nat', from: 'OUTPUT', rule: '-j KUBE-PORTALS-HOST', last: true }],
    );
    const lines = text.split('\n');
    expect(owner(lines.findIndex((line) => line.includes('10.96.0.1')) + 1)).toBe('a');
    expect(owner(lines.findIndex((line) => line.includes('10.96.0.2')) + 1)).toBe('b');
    expect(owner(1)).toBeUndefined();
    expect(lines).toContain('-A OUTPUT -j KUBE-PORTALS-HOST');
  });
});
