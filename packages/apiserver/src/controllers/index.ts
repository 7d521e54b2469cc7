import type { ApiServerOptions } from '../options.ts';
import type { Env } from '../registry/context.ts';
import { expireEvents } from './events.ts';
import { ensureKubernetesService } from './kubernetes-service.ts';
import { emptyNamespace, ensureNamespaces, fillNamespace } from './namespaces.ts';

const EVENT_SWEEP_MS = 60_000;
const RETRY_MS = 1000;
/** How often a namespace that waits for something is looked at. */
const WAIT_MS = 500;

/**
 * The controllers that belong to the API itself: default objects, namespace content and deletion, the Service
 * `kubernetes`, the end of old events. Default objects exist when it returns. Gives the function that stops them.
 */
export function startControllers(env: Env, options: ApiServerOptions, caPem: string): () => Promise<void> {
  const log = env.log.child({ component: 'apiserver-controllers' });
  const timers = new Set<NodeJS.Timeout>();
  const queued = new Set<string>();
  let stopped = false;

  const later = (ms: number, run: () => void): void => {
    if (stopped) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      run();
    }, ms);
    timers.add(timer);
  };
  const look = (name: string): void => {
    if (queued.has(name) || stopped) return;
    queued.add(name);
    // Not in the tick of the commit: a listener must not write.
    setImmediate(() => {
      queued.delete(name);
      if (stopped) return;
      try {
        fillNamespace(env, name, caPem);
        if (emptyNamespace(env, name)) later(WAIT_MS, () => look(name));
      } catch (error) {
        log.warn('a namespace could not be brought in order; it will be tried again', { namespace: name, error });
        later(RETRY_MS, () => look(name));
      }
    });
  };

  ensureNamespaces(env);
  for (const state of env.store.collection('/namespaces').list()) {
    fillNamespace(env, state.key, caPem);
    look(state.key);
  }
  ensureKubernetesService(env, {
    serviceCidrs: options.serviceCidrs,
    address: options.advertiseAddress,
    port: options.advertisePort ?? (options.listen?.port || 6443),
  });

  const namespaceOf = (key: string): string => key.slice(0, key.indexOf('/'));
  const stops = [
    env.store.collection('/namespaces').subscribe((event) => {
      if (event.type !== 'DELETED') look(event.current.key);
    }),
    ...['/serviceaccounts', '/configmaps'].map((id) =>
      env.store.collection(id).subscribe((event) => {
        if (event.type === 'DELETED') look(namespaceOf(event.current.key));
      }),
    ),
  ];
  const sweep = setInterval(() => {
    expireEvents(env).catch((error: unknown) => log.warn('old events could not be deleted', { error }));
  }, EVENT_SWEEP_MS);
  sweep.unref();

  return async () => {
    stopped = true;
    clearInterval(sweep);
    for (const timer of timers) clearTimeout(timer);
    for (const stop of stops) stop();
  };
}
