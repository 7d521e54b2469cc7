import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { isStatus, type Pod, StatusError } from '@weft/kube';
import { afterEach, describe, expect, it } from 'vitest';
import type { StreamRoute } from '../../src/streaming-contract.ts';
import { createStreaming } from '../../src/streaming/index.ts';

describe('the log of a pod that has no node yet', () => {
  const pod: Pod = {
    metadata: { name: 'p', namespace: 'default' },
    spec: { initContainers: [{ name: 'i' }], containers: [{ name: 'c' }] },
  };
  const route = (query: string): StreamRoute => ({
    kind: 'log',
    namespace: 'default',
    pod,
    node: '',
    query: new URLSearchParams(query),
    user: { username: 'u' },
  });
  let server: http.Server | undefined;
  afterEach(() => {
    server?.close();
  });

  /** Status and body of the answer, or the Status that is thrown before it. */
  async function ask(query: string): Promise<[number, string] | StatusError> {
    const streaming = createStreaming(() => '/nowhere');
    let refused: unknown;
    server = http.createServer((request, response) => {
      streaming.log(request, response, route(query)).catch((error: unknown) => {
        refused = error;
        response.writeHead(500).end();
      });
    });
    await new Promise<void>((resolve) => {
      server?.listen(0, '127.0.0.1', resolve);
    });
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    if (refused instanceof StatusError) return refused;
    return [answer.status, await answer.text()];
  }

  it.each(['', 'container=c', 'container=i'])('is empty and no error ("%s")', async (query) => {
    expect(await ask(query)).toEqual([204, '']);
  });

  it('is refused for a container that the pod does not have', async () => {
    const refused = await ask('container=zz');
    expect(isStatus(refused, 'BadRequest')).toBe(true);
    expect((refused as StatusError).message).toBe('container zz is not valid for pod p');
  });
});
