import { createServer, type Server, type ServerResponse } from 'node:http';
import { ENDPOINTS_PER_SERVICE, makeService, makeSlice } from './services-world.ts';

type Kind = 'services' | 'endpointslices' | 'nodes';

/**
 * The least API server that informers can follow: streams what exists, then what happens. The real one would measure
 * itself here; this one costs next to nothing.
 */
export class WatchServer {
  readonly #server: Server;
  readonly #count: number;
  readonly #watchers = new Map<Kind, Set<ServerResponse>>();
  #version: number;

  constructor(path: string, count: number) {
    this.#count = count;
    this.#version = count + ENDPOINTS_PER_SERVICE;
    this.#server = createServer((request, response) => {
      const kind = (['services', 'endpointslices', 'nodes'] as const).find((k) => request.url?.includes(`/${k}?`));
      if (kind === undefined || request.url?.includes('watch=') !== true) {
        response.writeHead(404).end('{}');
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      void this.#initial(kind, response);
      const list = this.#watchers.get(kind) ?? new Set();
      this.#watchers.set(kind, list.add(response));
      response.on('close', () => list.delete(response));
    });
    this.#server.listen(path);
  }

  /** Sends an event to whoever watches. */
  emit(kind: Kind, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: object): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    for (const response of this.#watchers.get(kind) ?? []) response.write(line);
  }

  nextVersion(): number {
    this.#version += 1;
    return this.#version;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #initial(kind: Kind, response: ServerResponse): Promise<void> {
    const count = kind === 'nodes' ? 1 : this.#count;
    for (let i = 0; i < count; i++) {
      const object =
        kind === 'services'
          ? makeService(i, i + 1)
          : kind === 'endpointslices'
            ? makeSlice(i, i + 1)
            : {
                metadata: { name: 'node-1', resourceVersion: '1' },
                status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
              };
      if (!response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`)) {
        await new Promise((resolve) => response.once('drain', resolve));
      }
    }
    const end = {
      type: 'BOOKMARK',
      object: {
        metadata: { resourceVersion: String(this.#version), annotations: { 'k8s.io/initial-events-end': 'true' } },
      },
    };
    response.write(`${JSON.stringify(end)}\n`);
  }
}
