import { serveCustomResources } from '../crd/controller.ts';
import type { ApiServerOptions } from '../options.ts';
import type { Env } from '../registry/context.ts';
import { expireEvents } from './events.ts';
import { ensureKubernetesService, KUBERNETES_KEY } from './kubernetes-service.ts';
import { emptyNamespace, ensureNamespaces, ensurePriorityClasses, fillNamespace } from './namespaces.ts';
import { WorkQueue } from './queue.ts';

const EVENT_SWEEP_MS = 60_000;

/**
 * The controllers that belong to the API itself: default objects, namespace content and deletion, custom resources, the
 * Service `kubernetes`, the end of old events. Default objects exist when it returns. Gives the function that stops
 * them.
 */
export function startControllers(env: Env, options: ApiServerOptions, caPem: string): () => void {
  const log = env.log.child({ component: 'apiserver-controllers' });
  const queue = new WorkQueue(log);
  const look = (name: string): void =>
    queue.add(`namespace/${name}`, () => {
      fillNamespace(env, name, caPem);
      return emptyNamespace(env, name);
    });

  ensureNamespaces(env);
  ensurePriorityClasses(env);
  const stopCustom = serveCustomResources(env, (key, run) => queue.add(key, run));
  for (const state of env.store.collection('/namespaces').list()) {
    fillNamespace(env, state.key, caPem);
    look(state.key);
  }
  const keepKubernetes = (): boolean => {
    ensureKubernetesService(env, {
      serviceCidrs: options.serviceCidrs,
      address: options.advertiseAddress,
      port: options.advertisePort ?? (options.listen?.port || 6443),
    });
    return false;
  };
  keepKubernetes();
  const keepNamespaces = (): boolean => {
    ensureNamespaces(env);
    return false;
  };

  const namespaceOf = (key: string): string => key.slice(0, key.indexOf('/'));
  const stops = [
    stopCustom,
    env.store.collection('/namespaces').subscribe((event) => {
      if (event.type !== 'DELETED') look(event.current.key);
      else queue.add('system-namespaces', keepNamespaces);
    }),
    // `kubectl delete service --all` takes it as well; pods would lose their way to the API.
    ...['/services', '/endpoints', 'discovery.k8s.io/endpointslices'].map((id) =>
      env.store.collection(id).subscribe((event) => {
        if (event.current.key === KUBERNETES_KEY) queue.add('service/kubernetes', keepKubernetes);
      }),
    ),
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

  return () => {
    queue.stop();
    clearInterval(sweep);
    for (const stop of stops) stop();
  };
}
