import type { IpvsChange } from '@weft/kernel';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serverKey, type Surroundings } from '../src/ipvs/compile.ts';
import { elementKey, type Found, IpvsFamily, type Steps } from '../src/ipvs/family.ts';
import { kernelSet, SET_NAMES } from '../src/ipvs/names.ts';
import { JUMPS, rulesText } from '../src/ipvs/rules.ts';
import { stepLines } from '../src/ipvs/text.ts';
import { packAddress, packPort } from '../src/model/packed.ts';
import { CONFIG, Feed, TWO_BLOCKS } from './support/harness.ts';
import { type Event, events, service, slice } from './support/worlds.ts';

const AROUND: Surroundings = {
  config: CONFIG,
  settings: {},
  local: new Set(['192.168.0.1']),
  nodePortAddresses: ['192.168.0.1'],
};

/** A kernel that does what it is told, and objects where the real one would. */
class ModelKernel {
  readonly found: Found = {
    servers: new Map(),
    elements: new Map(SET_NAMES.map((name) => [name, new Map()])),
    bound: new Set(),
  };

  play(steps: Steps): void {
    this.#sets(steps.addElements);
    for (const change of steps.servers) this.#server(change);
    for (const address of steps.bind) this.found.bound.add(address);
    for (const address of steps.unbind) if (!this.found.bound.delete(address)) throw new Error(`${address} not bound`);
    for (const change of steps.removeServers) this.#server(change);
    this.#sets(steps.removeElements);
  }

  #sets(changes: Steps['addElements']): void {
    for (const { do: what, set, element } of changes) {
      const name = SET_NAMES.find((n) => kernelSet(n, 4) === set);
      const list = name === undefined ? undefined : this.found.elements.get(name);
      if (list === undefined) throw new Error(`no set ${set}`);
      const key = elementKey(element);
      if (list.has(key) === (what === 'add')) throw new Error(`${what} ${set} ${key}`);
      if (what === 'add') list.set(key, element);
      else list.delete(key);
    }
  }

  #server(change: IpvsChange): void {
    const key = serverKey(change.service);
    const has = this.found.servers.get(key);
    if ((has === undefined) !== (change.do === 'addService')) throw new Error(`${change.do} ${key}`);
    if (change.do === 'addService') this.found.servers.set(key, { service: change.service, weights: new Map() });
    else if (change.do === 'delService') this.found.servers.delete(key);
    else if (change.do === 'setService') this.found.servers.set(key, { ...has, service: change.service } as never);
    else if ('destination' in change) {
      const { address, port, weight } = change.destination;
      const endpoint = (packAddress(address) ?? '') + packPort(port);
      const weights = has?.weights as Map<string, number>;
      if (weights.has(endpoint) === (change.do === 'addDestination')) throw new Error(`${change.do} ${address}`);
      if (change.do === 'delDestination') weights.delete(endpoint);
      else weights.set(endpoint, weight);
    }
  }

  /** Everything but servers that wait for their connections to end. */
  get text(): string[] {
    const out: string[] = [];
    for (const [key, { service: s, weights }] of this.found.servers) {
      out.push(`${key} ${s.scheduler} ${s.flags} ${s.flags === 0 ? '' : s.timeout}`);
      for (const [endpoint, weight] of weights)
        if (weight > 0) out.push(`${key} ${Buffer.from(endpoint, 'latin1').toString('hex')}`);
    }
    for (const [name, list] of this.found.elements) for (const key of list.keys()) out.push(`${name} ${key}`);
    for (const address of this.found.bound) out.push(`bound ${address}`);
    return out.sort();
  }
}

class Agent {
  readonly feed = new Feed();
  readonly family = new IpvsFamily(AROUND);
  readonly kernel: ModelKernel;

  constructor(kernel = new ModelKernel()) {
    this.kernel = kernel;
    this.family.read(structuredClone(kernel.found));
  }

  push(...history: readonly Event[]): Steps {
    for (const event of history) this.feed.push(event);
    this.family.update(this.feed.take());
    const steps = this.family.steps(true);
    this.kernel.play(steps);
    this.family.done(steps, new Set());
    return steps;
  }
}

const put = (name: string, spec: Parameters<typeof service>[1], status?: Parameters<typeof service>[2]): Event => ({
  kind: 'service',
  name,
  object: service(name, spec, status),
});
const endpoints = (name: string, list: Parameters<typeof slice>[2], ports?: Parameters<typeof slice>[3]): Event => ({
  kind: 'slice',
  name: `${name}-1`,
  object: slice(`${name}-1`, name, list, ports),
});

describe('IPVS state', () => {
  it('ends the same by any sequence of changes as by a cold start', () => {
    fc.assert(
      fc.property(events, (history) => {
        const agent = new Agent();
        for (const event of history) agent.push(event);
        const cold = new Agent();
        cold.push(...history);
        expect(agent.kernel.text).toEqual(cold.kernel.text);
      }),
      { numRuns: 150 },
    );
  });

  it('is taken over by a restart without a change, whatever was missed in between is made up for', () => {
    fc.assert(
      fc.property(events, fc.nat(), (history, at) => {
        const cut = history.slice(0, at % (history.length + 1));
        const first = new Agent();
        first.push(...cut);
        const again = new Agent(first.kernel);
        const steps = again.push(...cut);
        expect(Object.values(steps).flat()).toEqual([]);
        const later = new Agent(first.kernel);
        later.push(...history);
        const cold = new Agent();
        cold.push(...history);
        expect(later.kernel.text).toEqual(cold.kernel.text);
      }),
      { numRuns: 60 },
    );
  });

  it('is empty again when all Services are gone', () => {
    fc.assert(
      fc.property(events, (history) => {
        const agent = new Agent();
        agent.push(...history);
        const names = new Set(history.filter((e) => e.kind === 'service').map((e) => e.name));
        agent.push(...[...names].map((name): Event => ({ kind: 'service', name, object: undefined })));
        expect(agent.kernel.text).toEqual([]);
        expect(agent.kernel.found.servers.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps TCP servers that go until told, with UDP ones that drain', () => {
    const agent = new Agent();
    const ep = (i: number, more = {}) => ({ address: `10.244.0.${i}`, nodeName: 'n1', ...more });
    agent.push(put('a', { clusterIP: '10.96.0.1' }), endpoints('a', [ep(1), ep(2)]));
    const steps = agent.push(endpoints('a', [ep(2)]));
    expect(steps.removeServers).toEqual([
      expect.objectContaining({ do: 'setDestination', destination: { address: '10.244.0.1', port: 8080, weight: 0 } }),
    ]);
    const [waiting] = agent.family.terminating();
    expect(waiting?.endpoints).toHaveLength(1);
    agent.family.terminated({
      do: 'delDestination',
      service: waiting?.service as never,
      destination: { address: '10.244.0.1', port: 8080, weight: 0 },
    });
    expect(agent.family.terminating()).toEqual([]);

    const dns = [{ name: 'dns', port: 53, protocol: 'UDP' as const }];
    agent.push(put('u', { clusterIP: '10.96.0.2', ports: dns }), endpoints('u', [ep(3), ep(4)], dns));
    const draining = agent.push(
      endpoints('u', [ep(3, { ready: false, serving: true, terminating: true }), ep(4)], dns),
    );
    expect(draining.removeServers).toEqual([expect.objectContaining({ do: 'setDestination' })]);
    const gone = agent.push(endpoints('u', [ep(4)], dns));
    expect(gone.removeServers).toEqual([expect.objectContaining({ do: 'delDestination' })]);
  });

  it('asks again for what was refused, and serves a contested address by one Service', () => {
    const agent = new Agent();
    agent.feed.push(put('b', { clusterIP: '10.96.0.2', externalIPs: ['192.0.2.1'] }));
    agent.feed.push(put('a', { clusterIP: '10.96.0.1', externalIPs: ['192.0.2.1'] }));
    agent.family.update(agent.feed.take());
    const steps = agent.family.steps(true);
    agent.family.done(steps, new Set(steps.servers.slice(0, 1)));
    expect(agent.family.steps(true).servers).toEqual(steps.servers.slice(0, 1));
    expect(agent.family.ownerOf('192.0.2.1|6|80')).toBe('default/a:http/TCP/4');
  });

  it('leaves virtual services of others alone, and moves NodePorts with the addresses of the node', () => {
    const kernel = new ModelKernel();
    const foreign = { address: '198.18.0.1', protocol: 6 as const, port: 80, scheduler: 'wlc', flags: 0, timeout: 0 };
    kernel.found.servers.set(serverKey(foreign), { service: foreign, weights: new Map() });
    const family = new IpvsFamily({ ...AROUND, settings: { excludeCIDRs: ['198.18.0.0/15'], scheduler: 'sh' } });
    family.read(structuredClone(kernel.found));
    const feed = new Feed();
    feed.push(
      put('a', { type: 'NodePort', clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
    );
    family.update(feed.take());
    let steps = family.steps(true);
    kernel.play(steps);
    family.done(steps, new Set());
    expect([...kernel.found.servers.keys()].sort()).toEqual([
      '10.96.0.1|6|80',
      '192.168.0.1|6|30080',
      '198.18.0.1|6|80',
    ]);
    expect(kernel.found.servers.get('10.96.0.1|6|80')?.service.scheduler).toBe('sh');
    family.moved({ ...family.around, local: new Set(['192.168.0.9']), nodePortAddresses: ['192.168.0.9'] });
    steps = family.steps(true);
    kernel.play(steps);
    expect([...kernel.found.servers.keys()].sort()).toEqual([
      '10.96.0.1|6|80',
      '192.168.0.9|6|30080',
      '198.18.0.1|6|80',
    ]);
  });

  it('reads as ipvsadm, ipset and ip write it', () => {
    const agent = new Agent();
    const steps = agent.push(
      put(
        'a',
        {
          type: 'LoadBalancer',
          clusterIP: '10.96.0.1',
          sessionAffinity: 'ClientIP',
          sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
          loadBalancerSourceRanges: ['192.0.2.0/24'],
        },
        { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
      ),
      endpoints('a', [{ address: '10.244.0.1', nodeName: 'n1' }]),
    );
    expect(stepLines(steps)).toEqual(
      expect.arrayContaining([
        '-A -t 10.96.0.1:80 -s rr -p 60',
        '-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1',
        'add KUBE-LOAD-BALANCER-SOURCE-CIDR 198.51.100.1,tcp:80,192.0.2.0/24',
        'add KUBE-LOOP-BACK 10.244.0.1,tcp:8080,10.244.0.1',
        'add KUBE-IPVS-IPS 198.51.100.1',
        'address add 198.51.100.1/32 dev kube-ipvs0',
      ]),
    );
    expect(agent.family.closed).toEqual([{ address: '198.51.100.1', protocol: 'tcp', port: 80 }]);
  });
});

describe('the rules beside IPVS', () => {
  it('have names of sets that the kernel takes, in both families', () => {
    const names = ([4, 6] as const).flatMap((family) => SET_NAMES.map((name) => kernelSet(name, family)));
    for (const name of names) expect(name.length).toBeLessThanOrEqual(31);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are one restore per family, with the jumps that are missing', () => {
    const text = rulesText(CONFIG, [{ address: '198.51.100.1', protocol: 'tcp', port: 80 }], JUMPS.slice(0, 1));
    expect(text).toContain('-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES');
    expect(text).toContain('--match-set KUBE-CLUSTER-IP dst,dst ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ');
    expect(text).toContain(
      '-A KUBE-IPVS-OUT-FILTER -s 198.51.100.1 -m ipvs --vaddr 198.51.100.1 --vproto tcp --vport 80 -j DROP',
    );
    const open = rulesText({ ...CONFIG, detector: { by: 'none' } }, []);
    expect(open).toContain('--match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ');
    expect(open).not.toContain('-I ');
    expect(open).not.toContain('WEFT-MARK-OUTSIDE');
    const two = rulesText(TWO_BLOCKS, []).split('\n');
    expect(two.find((line) => line.includes('KUBE-CLUSTER-IP dst,dst'))).toMatch(/dst,dst -j WEFT-MARK-OUTSIDE$/);
    expect(two.filter((line) => line.startsWith('-A WEFT-MARK-OUTSIDE'))).toEqual([
      '-A WEFT-MARK-OUTSIDE -s 10.244.0.0/17 -j RETURN',
      '-A WEFT-MARK-OUTSIDE -s 10.244.128.0/17 -j RETURN',
      '-A WEFT-MARK-OUTSIDE -j KUBE-MARK-MASQ',
    ]);
  });
});
