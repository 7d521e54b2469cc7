import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '@weft/apiserver';
import {
  EventRecorder,
  Informer,
  KubeClient,
  networkAttachmentDefinitionCrd,
  networkAttachmentDefinitions,
  type Node,
  type Pod,
  resources,
} from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AddressCache } from '../src/addresses/cache.ts';
import { PodNetworks } from '../src/networks/pod-networks.ts';

const pod = (name: string, annotations: Record<string, string> = {}): Pod => ({
  metadata: { name, namespace: 'default', annotations },
  spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'busybox' }] },
});

describe('what the agent knows and tells of networks', () => {
  const stop = new AbortController();
  let directory: string;
  let server: ApiServer;
  let client: KubeClient;
  let networks: PodNetworks;
  let events: EventRecorder;

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'weft-networks-'));
    const socketPath = path.join(directory, 'api.sock');
    server = await startApiServer({
      dataDir: path.join(directory, 'data'),
      listen: undefined,
      unixPath: socketPath,
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: [30_000, 32_767],
      clusterDomain: 'cluster.local',
      durability: 'none',
      log: silentLogger,
      metrics: new Metrics(),
    });
    client = new KubeClient({ transport: { kind: 'unix', path: socketPath } });
    await client.create(resources.customresourcedefinitions, networkAttachmentDefinitionCrd());
    const common = { client, log: silentLogger, metrics: new Metrics() };
    const nodes = new Informer<Node>({ ...common, type: resources.nodes });
    const cache = new AddressCache({ ...common, nodeName: 'n1', nodes });
    events = new EventRecorder({ client, component: 'test' });
    networks = new PodNetworks({ client, cache, events, log: silentLogger, signal: stop.signal, objectMs: 200 });
    nodes.start(stop.signal);
    cache.start(stop.signal);
  });
  afterAll(async () => {
    stop.abort();
    client?.close();
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('is what an object says that is made while it is asked for', async () => {
    expect(await networks.definition('default', 'nothing')).toBeUndefined();
    const asked = networks.definition('default', 'blue');
    const annotations = { 'k8s.v1.cni.cncf.io/resourceName': 'example.com/vf' };
    await client.create(networkAttachmentDefinitions, {
      metadata: { name: 'blue', namespace: 'default', annotations },
      spec: { config: '{"type":"bridge"}' },
    });
    expect(await asked).toEqual({
      namespace: 'default',
      name: 'blue',
      config: '{"type":"bridge"}',
      resourceName: 'example.com/vf',
    });
  });

  it('is the pod of the uid that the runtime names, and no other', async () => {
    const { metadata } = await client.create(resources.pods, pod('a', { x: 'y' }));
    const reference = { namespace: 'default', name: 'a' };
    expect(await networks.annotations(reference)).toMatchObject({ x: 'y' });
    expect(await networks.annotations({ ...reference, uid: metadata.uid as string })).toMatchObject({ x: 'y' });
    expect(await networks.annotations({ ...reference, uid: 'of-another-life' })).toBeUndefined();
  });

  it('is written on the pod, and not on one that has taken its name', async () => {
    const { metadata } = await client.create(resources.pods, pod('b', { keep: 'me' }));
    const { metadata: other } = await client.create(resources.pods, pod('c'));
    const status = { name: 'default/blue', interface: 'net1', ips: ['10.1.0.5'], dns: {} };
    networks.attached({ namespace: 'default', name: 'c', uid: `not-${other.uid}` }, [status]);
    networks.attached({ namespace: 'default', name: 'gone', uid: 'x' }, [status]);
    networks.attached({ namespace: 'default', name: 'b', uid: metadata.uid as string }, [status, status]);
    const annotationsOf = async (name: string): Promise<Record<string, string>> =>
      (await client.get(resources.pods, 'default', name)).metadata.annotations ?? {};
    await expect.poll(() => annotationsOf('b')).toHaveProperty(['k8s.v1.cni.cncf.io/network-status']);
    const { keep, ...rest } = await annotationsOf('b');
    expect(keep).toBe('me');
    expect(JSON.parse(rest['k8s.v1.cni.cncf.io/network-status'] as string)).toEqual([status, status]);
    expect(await annotationsOf('c')).not.toHaveProperty(['k8s.v1.cni.cncf.io/network-status']);
  });

  it('is told as events of the pod', async () => {
    networks.event({ namespace: 'default', name: 'b' }, 'Warning', 'InvalidNetworks', 'no such thing');
    await events.flush();
    const { items } = await client.list(resources.events, 'default');
    expect(items.map((e) => [e.involvedObject.name, e.reason, e.message])).toEqual([
      ['b', 'InvalidNetworks', 'no such thing'],
    ]);
  });
});
