import type { Pod, Service } from '@weft/kube';
import { expect, test } from 'vitest';
import { TriggerTimes } from '../../src/trigger-times.ts';

const service: Service = { metadata: { name: 'web', creationTimestamp: '2026-01-01T00:00:00Z' }, spec: {} };
const pod = (name: string, lastTransitionTime: string): Pod => ({
  metadata: { name },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime }] },
});

test('the time is that of the earliest change since the last look', () => {
  const times = new TriggerTimes();
  expect(times.compute('k', service, [pod('a', '2025-12-31T00:00:00Z')])).toBe('2026-01-01T00:00:00Z');
  expect(times.compute('k', service, [pod('a', '2025-12-31T00:00:00Z')])).toBeUndefined();
  const later = [pod('a', '2026-01-01T00:00:09Z'), pod('b', '2026-01-01T00:00:05Z')];
  expect(times.compute('k', service, later)).toBe('2026-01-01T00:00:05Z');
  expect(times.compute('k', service, later)).toBeUndefined();
});
