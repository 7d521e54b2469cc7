import type { Env } from '../registry/context.ts';
import { commit } from '../registry/context.ts';

/** kube-apiserver's `--event-ttl`. */
const TTL_MS = 3600 * 1000;
const BATCH = 500;

/** Deletes events that were last written more than an hour ago. */
export async function expireEvents(env: Env): Promise<void> {
  const limit = env.now().getTime() - TTL_MS;
  const old = env.store
    .collection('/events')
    .list()
    .filter((state) => lastSeen(state.object) < limit);
  for (let i = 0; i < old.length; i += BATCH) {
    const batch = old
      .slice(i, i + BATCH)
      .map((state) => ({ collection: '/events', key: state.key, object: undefined }));
    await commit(env, batch).durable;
  }
}

function lastSeen(event: { metadata: { creationTimestamp?: string }; [field: string]: unknown }): number {
  const series = event.series as { lastObservedTime?: string } | undefined;
  const times = [series?.lastObservedTime, event.lastTimestamp, event.eventTime, event.metadata.creationTimestamp];
  return Math.max(0, ...times.map((t) => (typeof t === 'string' ? Date.parse(t) : 0)).filter((t) => !Number.isNaN(t)));
}
