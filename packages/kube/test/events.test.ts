import { describe, expect, it } from 'vitest';
import { type Event, EventRecorder, failure, type KubeClient, type Pod, resources, StatusError } from '../src/index.ts';
import { answer, FakeApi } from './support/fake-api.ts';
import { KubeClient as Client } from '../src/index.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', uid: 'u1', resourceVersion: '7' },
  spec: { containers: [] },
};

/** Stores events as the server would, and lets a test hold or fail the next write. */
function setup() {
  const stored = new Map<string, Event>();
  const writes: string[] = [];
  const state: { now: number; hold: Promise<void> | undefined; fail: Error | undefined } = {
    now: Date.UTC(2024, 0, 2, 3, 4, 5),
    hold: undefined,
    fail: undefined,
  };
  const gate = async (what: string): Promise<void> => {
    writes.push(what);
    const { fail } = state;
    state.fail = undefined;
    await state.hold;
    if (fail) throw fail;
  };
  const client = {
    create: async (_type: unknown, event: Event) => {
      await gate('create');
      stored.set(event.metadata.name, event);
      return event;
    },
    patch: async (_type: unknown, _ns: unknown, name: string, body: Partial<Event>) => {
      await gate('patch');
      const old = stored.get(name);
      if (!old) throw new StatusError(failure('NotFound', 'events not found'));
      stored.set(name, { ...old, ...body });
      return stored.get(name);
    },
  } as unknown as Pick<KubeClient, 'create' | 'patch'>;
  const recorder = new EventRecorder({ client, component: 'weft-agent', host: 'n1', now: () => state.now });
  return { recorder, stored, writes, state, events: () => [...stored.values()] };
}

describe('EventRecorder', () => {
  it('writes a complete event', async () => {
    const { recorder, events } = setup();
    recorder.event(pod, 'Warning', 'FailedMount', 'no such volume');
    await recorder.flush();
    expect(events()).toEqual([
      {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: expect.stringMatching(/^web\.[0-9a-f]{16}$/), namespace: 'shop' },
        involvedObject: {
          apiVersion: 'v1',
          kind: 'Pod',
          name: 'web',
          namespace: 'shop',
          uid: 'u1',
          resourceVersion: '7',
        },
        type: 'Warning',
        reason: 'FailedMount',
        message: 'no such volume',
        count: 1,
        firstTimestamp: '2024-01-02T03:04:05Z',
        lastTimestamp: '2024-01-02T03:04:05Z',
        source: { component: 'weft-agent', host: 'n1' },
        reportingComponent: 'weft-agent',
        reportingInstance: 'n1',
      },
    ]);
  });

  it('counts repetitions in the stored event', async () => {
    const { recorder, events, state } = setup();
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    state.now += 60_000;
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    expect(events()).toHaveLength(1);
    expect(events()[0]).toMatchObject({
      count: 2,
      firstTimestamp: '2024-01-02T03:04:05Z',
      lastTimestamp: '2024-01-02T03:05:05Z',
    });
  });

  it('makes one write of what happens during a write', async () => {
    const { recorder, events, writes, state } = setup();
    let release = (): void => {};
    state.hold = new Promise((resolve) => {
      release = resolve;
    });
    for (let i = 0; i < 9; i++) recorder.event(pod, 'Normal', 'Pulled', 'm');
    release();
    await recorder.flush();
    expect(writes).toEqual(['create', 'patch']);
    expect(events()[0]?.count).toBe(9);
  });

  it('combines many different messages', async () => {
    const { recorder, events, state } = setup();
    for (let i = 0; i < 14; i++) recorder.event(pod, 'Warning', 'Failed', `try ${i}`);
    await recorder.flush();
    expect(events()).toHaveLength(11);
    expect(events().at(-1)).toMatchObject({ count: 4, message: '(combined from similar events): try 13' });
    state.now += 600_001;
    recorder.event(pod, 'Warning', 'Failed', 'try later');
    await recorder.flush();
    expect(events().at(-1)?.message).toBe('try later');
  });

  it('limits what one object may cause, not others', async () => {
    const { recorder, events, state } = setup();
    for (let i = 0; i < 40; i++) recorder.event(pod, 'Normal', `Reason${i}`, 'm');
    recorder.event({ ...pod, metadata: { ...pod.metadata, name: 'other' } }, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    expect(events()).toHaveLength(26);
    state.now += 300_000;
    recorder.event(pod, 'Normal', 'Again', 'm');
    recorder.event(pod, 'Normal', 'TooSoon', 'm');
    await recorder.flush();
    expect(events()).toHaveLength(27);
  });

  it('writes anew an event that expired, and survives failing writes', async () => {
    const { recorder, stored, writes, state, events } = setup();
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    stored.clear();
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    expect(writes).toEqual(['create', 'patch', 'create']);
    expect(events()[0]?.count).toBe(2);
    state.fail = new Error('down');
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await recorder.flush();
    expect(events()[0]?.count).toBe(4);
  });

  it('puts events about cluster-scoped objects into default', async () => {
    const api = await new FakeApi().listen();
    const client = new Client({ transport: { kind: 'unix', path: api.path } });
    api.intercept.push((_, res) => (answer(res, 201, {}), true));
    const recorder = new EventRecorder({ client, component: 'weft' });
    recorder.event({ kind: 'Node', name: 'n1', uid: 'n1' }, 'Normal', 'Starting', 'm');
    await recorder.flush();
    expect(api.requests[0]?.pathname).toBe(`/api/v1/namespaces/default/${resources.events.plural}`);
    client.close();
    await api.close();
  });
});
