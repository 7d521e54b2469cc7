import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { connectTcp, listenTcp, NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, sh } from './bed.ts';

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
});
afterEach(async () => {
  await bed.close();
});

const mapping = (hostPort: number, more: object = {}): object => ({
  hostPort,
  containerPort: 80,
  protocol: 'tcp',
  ...more,
});
const ports = (...list: object[]) => ({ capabilityArgs: { portMappings: list } });

/** What a server in one namespace sees of a client in another; undefined when there is no connection. */
async function reach(
  from: string,
  server: string,
  listen: string,
  address: string,
  port: number,
): Promise<string | undefined> {
  const [client, host] = [NetNs.open(from), NetNs.open(server)];
  const listener = createServer((socket) => socket.on('error', () => {}));
  listener.listen({ fd: listenTcp(listen, 80, host) });
  await once(listener, 'listening');
  try {
    const accepted = once(listener, 'connection') as Promise<[Socket]>;
    const fd = await Promise.race([
      connectTcp(address, port, client).catch(() => undefined),
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 1500)),
    ]);
    if (fd === undefined) return undefined;
    const socket = new Socket({ fd });
    const [far] = await accepted;
    const seen = far.remoteAddress;
    socket.destroy();
    far.destroy();
    return seen;
  } finally {
    listener.close();
    client.close();
    host.close();
  }
}

/** A neighbour of the node, beyond its out0. */
async function outsider(): Promise<string> {
  const { netns } = bed.pod();
  sh(node, 'ip', 'link', 'set', 'out1', 'netns', netns);
  sh(netns, 'ip', 'link', 'set', 'out1', 'up');
  sh(netns, 'ip', 'addr', 'add', '192.0.2.20/24', 'dev', 'out1');
  return netns;
}

describe('host ports', () => {
  it('lead from outside, from the node, from 127.0.0.1, from other pods and from the pod itself to the pod', async () => {
    const out = await outsider();
    const [pod, other] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), { ...pod, ...ports(mapping(8080)) });
    await bed.runtime.add(bed.list(), other);
    const to = (from: string, address: string): Promise<string | undefined> =>
      reach(from, pod.netns, '10.244.1.2', address, 8080);
    expect(await to(out, '192.0.2.10')).toBe('192.0.2.20');
    expect(await to(other.netns, '192.0.2.10')).toBe('10.244.1.3');
    expect(await to(node, '192.0.2.10')).toBe('192.0.2.10');
    expect(await to(node, '127.0.0.1')).toBe('192.0.2.10');
    expect(await to(pod.netns, '192.0.2.10')).toBe('192.0.2.10');
    await bed.runtime.check(bed.list(), { ...pod, ...ports(mapping(8080)) });
    await bed.runtime.del(bed.list(), { ...pod, ...ports(mapping(8080)) });
    expect(sh(node, 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4')).not.toContain('8080');
  });

  it('are compared with the kernel by CHECK', async () => {
    const pod = { ...bed.pod(), ...ports(mapping(8080)) };
    await bed.runtime.add(bed.list(), pod);
    await bed.runtime.check(bed.list(), pod);
    sh(node, 'nft', 'delete', 'element', 'inet', 'weft-portmap', 'any4', '{ tcp . 8080 }');
    await expect(bed.runtime.check(bed.list(), pod)).rejects.toMatchObject({
      cniCode: 101,
      message: expect.stringContaining('maps of host ports lack 0.0.0.0:8080/tcp'),
    });
  });

  it('keep pods away from what listens on 127.0.0.1 of the node', async () => {
    const pod = bed.pod();
    await bed.runtime.add(bed.list(), { ...pod, ...ports(mapping(8080)) });
    sh(pod.netns, 'ip', 'route', 'add', '127.0.0.5/32', 'via', '169.254.1.1', 'dev', 'eth0', 'onlink');
    sh(pod.netns, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
    sh(pod.netns, 'ip', 'rule', 'add', 'pref', '0', 'to', '127.0.0.5', 'lookup', 'main');
    sh(pod.netns, 'ip', 'rule', 'add', 'pref', '10', 'lookup', 'local');
    sh(pod.netns, 'ip', 'rule', 'del', 'pref', '0', 'lookup', 'local');
    const attack = (): Promise<string | undefined> => reach(pod.netns, node, '127.0.0.5', '127.0.0.5', 80);
    expect(await attack()).toBeUndefined();
    // Nothing but the guard stops it.
    sh(node, 'nft', 'flush', 'chain', 'inet', 'weft-portmap', 'guard');
    expect(await attack()).toBe('10.244.1.2');
  });

  it('understand what containerd sends, Go-cased and with empty host addresses', async () => {
    const out = await outsider();
    const pod = bed.pod();
    const go = { HostPort: 18081, ContainerPort: 80, Protocol: 'tcp', HostIP: '' };
    await bed.runtime.add(bed.list(), { ...pod, ...ports(go) });
    expect(await reach(out, pod.netns, '10.244.1.2', '192.0.2.10', 18081)).toBe('192.0.2.20');
  });

  it('bind to one address of the node when asked to', async () => {
    const out = await outsider();
    sh(node, 'ip', 'addr', 'add', '192.0.2.11/24', 'dev', 'out0');
    const pod = bed.pod();
    await bed.runtime.add(bed.list(), { ...pod, ...ports(mapping(8080, { hostIP: '192.0.2.11' })) });
    expect(await reach(out, pod.netns, '10.244.1.2', '192.0.2.11', 8080)).toBe('192.0.2.20');
    expect(await reach(out, pod.netns, '10.244.1.2', '192.0.2.10', 8080)).toBeUndefined();
  });

  it('belong to one pod at a time, also across a restart of the agent', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), { ...a, ...ports(mapping(8080)) });
    await bed.restart();
    await expect(bed.runtime.add(bed.list(), { ...b, ...ports(mapping(8080)) })).rejects.toThrow(
      /host port 0\.0\.0\.0:8080\/tcp is in use by weft\/c1\/eth0/,
    );
    await bed.runtime.del(bed.list(), b);
    await bed.runtime.del(bed.list(), a);
    await bed.runtime.add(bed.list(), { ...b, ...ports(mapping(8080)) });
  });

  it('are written anew when somebody deleted the table', async () => {
    const out = await outsider();
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), { ...a, ...ports(mapping(8080)) });
    sh(node, 'nft', 'delete', 'table', 'inet', 'weft-portmap');
    await bed.runtime.add(bed.list(), { ...b, ...ports(mapping(8081)) });
    expect(await reach(out, a.netns, '10.244.1.2', '192.0.2.10', 8080)).toBe('192.0.2.20');
    expect(await reach(out, b.netns, '10.244.1.3', '192.0.2.10', 8081)).toBe('192.0.2.20');
    sh(node, 'nft', 'delete', 'table', 'inet', 'weft-portmap');
    await bed.runtime.del(bed.list(), a);
    expect(await reach(out, b.netns, '10.244.1.3', '192.0.2.10', 8081)).toBe('192.0.2.20');
  });

  it('of UDP leave no flow that leads to a pod that is gone', async () => {
    const out = await outsider();
    const [a, b] = [bed.pod(), bed.pod()];
    const udp = ports(mapping(5353, { protocol: 'udp' }));
    const send = (): void => {
      const script = `const s=require('dgram').createSocket('udp4');s.bind(4000,()=>s.send('x',5353,'192.0.2.10',()=>s.close()))`;
      spawnSync('nsenter', [`--net=${out}`, process.execPath, '-e', script]);
    };
    await bed.runtime.add(bed.list(), { ...a, ...udp });
    send();
    await bed.runtime.del(bed.list(), a);
    await bed.runtime.add(bed.list(), { ...b, ...udp });
    const script = `const s=require('dgram').createSocket('udp4');s.on('message',(m,r)=>{console.log('got',r.address);s.close()});s.bind(80,()=>console.log('bound'))`;
    const server = spawn('nsenter', [`--net=${b.netns}`, process.execPath, '-e', script]);
    let said = '';
    server.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await expect.poll(() => said, { timeout: 10_000 }).toContain('bound');
    send();
    await expect.poll(() => said, { timeout: 10_000 }).toContain('got 192.0.2.20');
    server.kill();
  });
});
