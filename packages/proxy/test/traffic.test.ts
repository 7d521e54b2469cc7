import type { Flow } from '@weft/kernel';
import { describe, expect, it } from 'vitest';
import { trafficOf } from '../src/explain/traffic.ts';
import type { ServicePort } from '../src/model/types.ts';
import { Feed } from './support/harness.ts';
import { service, slice } from './support/worlds.ts';

function flow(to: string, answers: string, proto = 6, packets?: number): Flow {
  const [dst = '', dport = '0'] = to.split(':');
  const [src = '', sport = '0'] = answers.split(':');
  return {
    family: 4,
    proto,
    orig: { src: '10.244.0.9', dst, sport: 40_000, dport: Number(dport) },
    reply: { src, dst: '10.244.0.9', sport: Number(sport), dport: 40_000 },
    status: 0,
    mark: 0,
    timeout: 1,
    id: 1,
    ...(packets === undefined
      ? {}
      : {
          counters: {
            orig: { packets: BigInt(packets), bytes: 100n },
            reply: { packets: 1n, bytes: 50n },
          },
        }),
  };
}

describe('traffic of a Service', () => {
  const feed = new Feed();
  feed.push({
    kind: 'service',
    name: 'a',
    object: service('a', {
      type: 'NodePort',
      clusterIP: '10.96.0.1',
      ports: [
        { name: 'http', port: 80, nodePort: 30_080 },
        { name: 'dns', port: 80, protocol: 'UDP' },
      ],
    }),
  });
  const ports = [
    { name: 'http', port: 8080, protocol: 'TCP' as const },
    { name: 'dns', port: 5353, protocol: 'UDP' as const },
  ];
  feed.push({
    kind: 'slice',
    name: 'a-1',
    object: slice('a-1', 'a', [{ address: '10.244.0.1' }, { address: '10.244.0.2' }], ports),
  });
  const plan = [...feed.take().added.values()].flatMap(({ value }) =>
    value.type === 'ServicePort' ? [value as ServicePort] : [],
  );

  it('is counted by port and endpoint, those that are gone and idle ones included', () => {
    const report = trafficOf(plan, [
      flow('10.96.0.1:80', '10.244.0.1:8080', 6, 10),
      flow('192.168.0.1:30080', '10.244.0.1:8080', 6, 20),
      flow('10.96.0.1:80', '10.244.0.7:8080'),
      flow('10.96.0.1:80', '10.244.0.2:5353', 17),
      { ...flow('10.96.0.1:80', '10.244.0.1:8080'), tcpState: 7 },
      // Straight to a pod, to another Service, and to a port 30080 somewhere else.
      flow('10.244.0.1:80', '10.244.0.1:80'),
      flow('10.96.0.2:80', '10.244.0.1:8080'),
      flow('8.8.8.8:30080', '8.8.8.8:30080'),
    ]);
    expect(report).toEqual([
      {
        port: 'http',
        protocol: 'TCP',
        family: 4,
        backends: [
          { endpoint: '10.244.0.1:8080', inUse: true, connections: 2, packets: 32, bytes: 300 },
          { endpoint: '10.244.0.2:8080', inUse: true, connections: 0 },
          { endpoint: '10.244.0.7:8080', inUse: false, connections: 1 },
        ],
      },
      {
        port: 'dns',
        protocol: 'UDP',
        family: 4,
        backends: [
          { endpoint: '10.244.0.1:5353', inUse: true, connections: 0 },
          { endpoint: '10.244.0.2:5353', inUse: true, connections: 1 },
        ],
      },
    ]);
  });
});
