import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { silentLogger } from '@weft/plan';
import { expect, it } from 'vitest';
import { expireEvents } from '../../src/controllers/events.ts';
import { ResourceTable } from '../../src/registry/resource.ts';
import { Store } from '../../src/store/store.ts';

it('events go an hour after they were last seen, more of them than fit one batch', async () => {
  const directory = mkdtempSync(`${tmpdir()}/weft-events-`);
  const store = new Store({ directory, durability: 'none', log: silentLogger });
  const now = new Date('2026-01-01T12:00:00Z');
  const put = (name: string, times: object): void => {
    const metadata = { name, namespace: 'default', creationTimestamp: '2026-01-01T01:00:00Z' };
    store.commit([{ collection: '/events', key: `default/${name}`, object: { metadata, ...times } }]);
  };
  for (let i = 0; i < 1200; i++) put(`old-${i}`, { lastTimestamp: '2026-01-01T10:59:59Z' });
  put('repeated', { lastTimestamp: '2026-01-01T11:30:00Z' });
  put('series', { eventTime: '2026-01-01T02:00:00Z', series: { lastObservedTime: '2026-01-01T11:59:00.000000Z' } });
  await expireEvents({ store, table: new ResourceTable(), now: () => now, log: silentLogger });
  expect(
    store
      .collection('/events')
      .list()
      .map((s) => s.object.metadata.name),
  ).toEqual(['repeated', 'series']);
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});
