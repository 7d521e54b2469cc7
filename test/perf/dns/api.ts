import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubeObject, ResourceType, WatchEvent } from '@weft/kube';
import { FakeApi } from '../../../packages/dns/test/support/fake-api.ts';
import { namespace, service, slice } from '../../../packages/dns/test/support/objects.ts';

const PORTS = [{ name: 'http', port: 80 }];

/** A cluster of so many Services, with so many endpoints and as many pods each, behind the watch protocol. */
export class ClusterApi {
  readonly api = new FakeApi();
  readonly #server: Server;

  constructor(services: number, endpoints: number) {
    for (let i = 0; i < 10; i++) this.api.put('namespaces', namespace(`ns-${i}`));
    for (let i = 0; i < services; i++) {
      const key = `ns-${i % 10}/svc-${i}`;
      this.setAddress(i, `10.96.${i >> 8}.${i & 255}`);
      const list = Array.from({ length: endpoints }, (_, n) => {
        const at = i * endpoints + n;
        const name = `svc-${i}-7d4b9c6f5-${n}`;
        return { ip: `10.${128 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`, name };
      });
      this.api.put(
        'endpointslices',
        slice(
          key,
          list.map(({ ip, name }) => ({ ip, pod: name })),
          PORTS,
        ),
      ); // prettier-ignore
      for (const { ip, name } of list) {
        this.api.put('pods', { metadata: { namespace: `ns-${i % 10}`, name }, status: { podIP: ip } } as never);
      }
    }
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://api');
      const plural = url.pathname.split('/').at(-1) ?? '';
      const type = { plural } as ResourceType<KubeObject>;
      response.writeHead(200, { 'content-type': 'application/json' });
      if (url.searchParams.get('watch') !== 'true') {
        void this.api.list(type).then(({ items, resourceVersion }) => {
          response.end(JSON.stringify({ metadata: { resourceVersion }, items }));
        });
        return;
      }
      response.flushHeaders();
      const stop = new AbortController();
      request.on('close', () => stop.abort());
      const write = (event: WatchEvent<KubeObject>): void => void response.write(`${JSON.stringify(event)}\n`);
      const sendInitialEvents = url.searchParams.get('sendInitialEvents') === 'true';
      void this.api.watch(type, undefined, { sendInitialEvents }, write, stop.signal);
    });
  }

  setAddress(i: number, ip: string): void {
    this.api.put('services', service(`ns-${i % 10}/svc-${i}`, { clusterIPs: [ip], ports: PORTS }));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
