// Debian's containerd runs containers (ctr) and pods (CRI) on our plugins.
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultConflist, networksConflist } from '../../src/index.ts';
import { Containerd, IMAGE } from './foreign/containerd.ts';
import { Cri } from './foreign/cri.ts';
import { Enclosure } from './foreign/enclosure.ts';

describe.skipIf(!existsSync('/usr/bin/containerd'))('containerd', () => {
  let node: Enclosure;
  let containerd: Containerd;

  beforeAll(async () => {
    node = await Enclosure.open();
    const ipam = { type: 'host-local', subnet: '10.50.0.0/24', routes: [{ dst: '10.60.0.0/16' }] };
    await node.startAgent({
      'shop/blue': {
        cniVersion: '1.0.0',
        type: 'weft',
        mode: 'bridge',
        bridge: 'blue0',
        ipam,
        agentSocket: node.socket,
      },
    });
    const first = defaultConflist({ mtu: 1450, podCidrs: ['10.244.1.0/24'], agentSocket: node.socket });
    node.writeConflist('10-weft.conflist', networksConflist(first, { agentSocket: node.socket }));
    containerd = await Containerd.start(node);
  }, 60_000);
  afterAll(() => node?.close());

  const fetch = (url: string): Promise<string> => node.must(['timeout', '5', 'busybox', 'wget', '-q', '-O', '-', url]);
  /** The container has been started; its server may need a moment. */
  const greets = (url: string): Promise<void> =>
    expect.poll(() => fetch(url).catch(String), { timeout: 10_000 }).toBe('hello from a container\n');
  const addresses = async (): Promise<string[]> => (await node.attachments()).flatMap((a) => a.addresses).sort();

  const own = (): string[] => ['--snapshotter', 'native', '--runc-binary', node.runc, '--cni'];

  it('ctr run --cni gives a container its network for as long as it runs', async () => {
    const said = await containerd.ctr('run', '--rm', ...own(), IMAGE, 'short', '/bin/ip', 'addr', 'show', 'eth0');
    expect(said).toMatch(/inet 10\.244\.1\.\d+\/32/);
    expect(await addresses()).toEqual([]);
  });

  it('a container whose network ctr forgets leaves no address behind', async () => {
    await containerd.ctr('run', '-d', ...own(), IMAGE, 'long');
    const [address] = await addresses();
    await greets(`http://${address}/index.html`);
    await containerd.ctr('task', 'rm', '-f', 'long');
    await containerd.ctr('container', 'rm', 'long');
    await expect.poll(() => node.attachments('sweep')).toEqual([]);
  });

  describe('CRI', () => {
    let cri: Cri;
    beforeAll(() => {
      cri = new Cri(containerd.socket);
    });
    afterAll(() => cri?.close());

    it('gives pods addresses and host ports, and takes them back however often it says so', async () => {
      // containerd writes the keys of capability arguments with capitals: HostPort.
      const ports = [{ containerPort: 80, hostPort: 18082 }];
      const bandwidth = { 'kubernetes.io/ingress-bandwidth': '10M' };
      const id = await cri.runPod({ name: 'web', uid: 'u1', ports, annotations: bandwidth });
      const ip = await cri.podIp(id);
      expect(await addresses()).toEqual([ip]);
      for (const at of [ip, '192.0.2.10:18082', '127.0.0.1:18082']) {
        await greets(`http://${at}/index.html`);
      }
      const [attachment] = await node.attachments();
      expect(attachment).toMatchObject({ ifname: 'eth0', pod: { namespace: 'shop', name: 'web', uid: 'u1' } });
      for (const _ of ['stop', 'stop again']) await cri.stopPod(id);
      await cri.removePod(id);
      expect(await addresses()).toEqual([]);
      expect(await node.must(['ip', '-o', 'link', 'show', 'type', 'veth'])).not.toContain('veth');
    });

    it('gives pods the networks that their annotations ask for', async () => {
      const annotations = { 'k8s.v1.cni.cncf.io/networks': 'blue@blue' };
      const ids = await Promise.all(['a', 'b'].map((name) => cri.runPod({ name, uid: name, annotations })));
      const all = (await node.attachments()).filter((a) => a.ifname === 'blue');
      expect(all.map((a) => a.pod?.name ?? '').sort()).toEqual(['a', 'b']);
      for (const { addresses: own } of all) {
        expect(await node.must(['ping', '-c1', '-W5', own[0] as string])).toContain('1 received');
      }
      for (const id of ids) await cri.stopPod(id);
      for (const id of ids) await cri.removePod(id);
      expect(await addresses()).toEqual([]);
    });

    it('tells the kubelet what is wrong, and leaves nothing behind', async () => {
      const annotations = { 'k8s.v1.cni.cncf.io/networks': 'blue,red' };
      await expect(cri.runPod({ name: 'c', uid: 'c', annotations })).rejects.toThrow(
        'annotation k8s.v1.cni.cncf.io/networks[1]: cannot find a network-attachment-definition (red) in namespace (shop)',
      );
      expect(await addresses()).toEqual([]);
    });
  });
});
