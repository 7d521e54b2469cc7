// Debian's podman with its CNI backend runs containers on our plugins.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultConflist, networksConflist } from '../../src/index.ts';
import { Enclosure } from './foreign/enclosure.ts';

describe.skipIf(!existsSync('/usr/bin/podman'))('podman', () => {
  let node: Enclosure;
  let env: Record<string, string>;

  beforeAll(async () => {
    node = await Enclosure.open();
    await node.startAgent();
    const file = (name: string, text: string): string => {
      writeFileSync(join(node.dir, name), text);
      return join(node.dir, name);
    };
    const data = join(node.dir, 'data');
    env = {
      CONTAINERS_CONF: file(
        'containers.conf',
        `[network]
network_backend = "cni"
cni_plugin_dirs = ["${node.binDir}"]
network_config_dir = "${node.confDir}"
default_network = "weft"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "none"
[engine.runtimes]
crun = ["${node.runc}"]
`,
      ),
      CONTAINERS_STORAGE_CONF: file(
        'storage.conf',
        `[storage]\ndriver = "vfs"\ngraphroot = "${data}/root"\nrunroot = "${data}/run"\n`,
      ),
    };
    const common = { mtu: 1450, agentSocket: node.socket };
    const first = defaultConflist({ ...common, podCidrs: ['10.244.1.0/24', 'fd00:1::/64'] });
    node.writeConflist('10-weft.conflist', { ...first, cniVersion: '1.0.0' });
    const second = { ...defaultConflist({ ...common, podCidrs: ['10.244.2.0/24'] }), name: 'many' };
    node.writeConflist('20-many.conflist', networksConflist(second, { agentSocket: node.socket }));
  });
  afterAll(() => node?.close());

  const podman = (...args: string[]): Promise<string> => node.must(['podman', ...args], env);
  const start = (name: string, ...options: string[]): Promise<string> => {
    const serve = ['/bin/httpd', '-f', '-p', '80', '-h', '/'];
    return podman('run', '-d', '--name', name, '--cgroups=disabled', ...options, '--rootfs', node.rootfs, ...serve);
  };
  const fetch = (url: string): Promise<string> => node.must(['timeout', '5', 'busybox', 'wget', '-q', '-O', '-', url]);
  const addresses = async (): Promise<string[]> => (await node.attachments()).flatMap((a) => a.addresses).sort();

  it.each(['weft', 'many'])('runs containers on network %s, whose published ports answer', async (network) => {
    const prefix = network === 'weft' ? '10.244.1' : '10.244.2';
    await start(
      'a',
      '--network',
      network,
      '-p',
      '18080:80',
      '--ip',
      `${prefix}.77`,
      '--mac-address',
      '02:00:00:00:00:77',
    );
    await start('b', '--network', network, '-p', '127.0.0.1:18081:80/tcp');
    const inside = await podman('exec', 'a', 'ip', 'addr', 'show', 'eth0');
    expect(inside).toContain(`inet ${prefix}.77/32`);
    expect(inside).toContain('link/ether 02:00:00:00:00:77');
    const settings = JSON.parse(
      await podman('inspect', 'a', '--format', '{{json .NetworkSettings.Networks}}'),
    ) as Record<string, { readonly IPAddress: string; readonly MacAddress: string }>;
    expect(settings[network]).toMatchObject({ IPAddress: `${prefix}.77`, MacAddress: '02:00:00:00:00:77' });
    for (const url of ['127.0.0.1:18080', '192.0.2.10:18080', '127.0.0.1:18081', `${prefix}.77`]) {
      expect(await fetch(`http://${url}/index.html`)).toBe('hello from a container\n');
    }
    expect(
      (await node.run(['timeout', '5', 'busybox', 'wget', '-q', '-O', '-', 'http://192.0.2.10:18081/'])).status,
    ).not.toBe(0);
    expect(await podman('exec', 'b', 'ping', '-c1', '-W5', `${prefix}.77`)).toContain('1 packets received');
    expect(await addresses()).toContain(`${prefix}.77`);
    await podman('rm', '-f', '-t', '0', 'a', 'b');
    expect(await addresses()).toEqual([]);
    expect(await node.must(['ip', '-o', 'link', 'show', 'type', 'veth'])).not.toContain('veth');
    expect(
      (await node.run(['timeout', '5', 'busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:18080/'])).status,
    ).not.toBe(0);
  });

  it('says what is wrong when an address is taken, and leaves nothing behind', async () => {
    await start('a', '--ip', '10.244.1.50');
    const second = await node.run(
      [
        'podman',
        'run',
        '--rm',
        '--cgroups=disabled',
        '--ip',
        '10.244.1.50',
        '--rootfs',
        node.rootfs,
        '/bin/sleep',
        '1',
      ],
      env,
    );
    expect(second.status).not.toBe(0);
    expect(second.stderr).toContain('10.244.1.50');
    await podman('rm', '-f', '-t', '0', 'a');
    expect(await addresses()).toEqual([]);
  });
});
