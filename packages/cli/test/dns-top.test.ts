import type { Recording } from '@weft/dns';
import { expect, it } from 'vitest';
import { mergeRecordings } from '../src/dns/top.ts';

const recording = (more: Partial<Recording>): Recording => ({
  seconds: 2,
  queries: 0,
  nxdomain: 0,
  names: [],
  clients: [],
  suffixes: [],
  forgotten: 0,
  ...more,
});

it('adds up what the DNS pods were asked, and names the pods that asked', () => {
  const report = mergeRecordings(
    [
      {
        server: 'a',
        recording: recording({
          queries: 10,
          nxdomain: 6,
          names: [{ name: 'x.', type: 'A', count: 4, nxdomain: 0 }],
          clients: [{ client: '10.0.0.1', count: 10, nxdomain: 6 }],
          suffixes: [
            { client: '10.0.0.1', suffix: 'shop.svc.cluster.local.', count: 2 },
            { client: '10.0.0.1', suffix: 'com.svc.cluster.local.', count: 3 },
            { client: '10.0.0.1', suffix: 'cluster.local.', count: 1 },
          ],
        }),
      },
      {
        server: 'b',
        recording: recording({
          queries: 5,
          names: [{ name: 'x.', type: 'A', count: 5, nxdomain: 0 }],
          clients: [{ client: '10.0.0.2', count: 5, nxdomain: 0 }],
          forgotten: 1,
        }),
      },
    ],
    (address) => (address === '10.0.0.1' ? { namespace: 'shop', name: 'cart' } : undefined),
  );
  expect(report).toEqual({
    seconds: 2,
    servers: ['a', 'b'],
    queries: 15,
    nxdomain: 6,
    names: [{ name: 'x.', type: 'A', count: 9, nxdomain: 0 }],
    clients: [
      { client: '10.0.0.1', pod: 'shop/cart', count: 10, nxdomain: 6, search: 6 },
      { client: '10.0.0.2', count: 5, nxdomain: 0, search: 0 },
    ],
    // A name that ends in "com" with "svc.cluster.local" behind it.
    suffixes: [
      { suffix: 'svc.cluster.local.', count: 3 },
      { suffix: 'shop.svc.cluster.local.', count: 2 },
      { suffix: 'cluster.local.', count: 1 },
    ],
    forgotten: 1,
  });
});
