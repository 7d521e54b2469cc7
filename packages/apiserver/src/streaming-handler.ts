import type { StreamingHandler } from './streaming-contract.ts';

/**
 * exec, attach, port-forward and logs by way of each node's unix socket. The code is loaded with the first of them:
 * most of the API's life needs none of it.
 */
export function createStreamingHandler(kubeletSocket: (node: string) => string): StreamingHandler {
  let loaded: Promise<StreamingHandler> | undefined;
  const load = (): Promise<StreamingHandler> => {
    loaded ??= import('./streaming/index.ts').then(({ createStreaming }) => createStreaming(kubeletSocket));
    return loaded;
  };
  return {
    upgrade(request, socket, head, route) {
      load().then(
        (handler) => handler.upgrade(request, socket, head, route),
        () => socket.destroy(),
      );
    },
    log: async (request, response, route) => (await load()).log(request, response, route),
  };
}
