// A runtime that says to the agent what the executables would say to it.
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CniRuntime } from '../../src/index.ts';
import { Bed, ipj } from './bed.ts';
import { haveReference, network } from './side-by-side.ts';

let bed: Bed;
let runtime: CniRuntime;
beforeEach(async () => {
  bed = await Bed.open();
  const options = { confDir: join(bed.dir, 'net.d'), cacheDir: join(bed.dir, 'direct-cache'), direct: true };
  runtime = new CniRuntime({ ...options, binDirs: [join(bed.dir, 'bin'), '/usr/lib/cni'] });
});
afterEach(async () => {
  await bed.close();
});

const ports = { capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] } };

/** From now on executables fail, whatever they are asked. */
function breakExecutables(): void {
  const text = '#!/bin/sh\n# weft-cni-shim 1\necho executed >&2\nexit 7\n';
  rmSync(join(bed.dir, 'bin', 'weft'));
  writeFileSync(join(bed.dir, 'bin', 'weft'), text, { mode: 0o755 });
}

it('needs no executable to add, check and delete, and hears errors as from one', async () => {
  breakExecutables();
  const pod = { ...bed.pod(), ...ports };
  const result = await runtime.add(bed.list(), pod);
  expect(result.ips).toMatchObject([{ address: '10.244.1.2/32' }]);
  await runtime.check(bed.list(), pod);
  await runtime.status(bed.list());
  await expect(runtime.add(bed.list(), { ...bed.pod(), ...ports })).rejects.toMatchObject({
    cniCode: 102,
    message: expect.stringContaining('host port 0.0.0.0:8080/tcp is in use by weft/c1/eth0') as unknown,
  });
  // By the file beside the executable, when the configuration names no socket.
  const plain = network('plain', [{ type: 'loopback' }]);
  await runtime.add(plain, { ...bed.pod(), ifname: 'lo' });
  await runtime.del(bed.list(), pod);
  await bed.server.flush();
  expect(ipj(pod.netns, 'link').map((link) => link['ifname'])).toEqual(['lo']);
});

it('leaves to the executable what is not ordinary', async () => {
  const pod = bed.pod();
  await runtime.add(bed.list(), pod);
  await bed.server.stop();
  // Without an agent the executable leaves DEL to be done.
  await runtime.del(bed.list(), pod);
  expect(readdirSync(`${bed.socket}.del`)).toHaveLength(2);
  await expect(runtime.add(bed.list(), bed.pod())).rejects.toMatchObject({ cniCode: 11 });
  await bed.restart();
  expect(bed.server.attachments()).toEqual([]);
});

it.skipIf(!haveReference)("executes other makers' plugins", async () => {
  const binDirs = ['/usr/lib/cni'];
  const options = { confDir: join(bed.dir, 'net.d'), cacheDir: join(bed.dir, 'direct-cache'), direct: true };
  const theirs = new CniRuntime({ ...options, binDirs, env: { WEFT_AGENT_SOCKET: bed.socket } });
  expect(await theirs.version('loopback')).toContain('0.4.0');
  const list = network('lo', [{ type: 'loopback', agentSocket: bed.socket }]);
  const pod = { ...bed.pod(), ifname: 'lo' };
  await theirs.add(list, pod);
  await theirs.check(list, pod);
});

it('does not do twice what an agent that went away may have done', async () => {
  breakExecutables();
  await bed.server.stop();
  const asked: Buffer[] = [];
  const server: Server = createServer((connection) => {
    connection.on('error', () => {});
    connection.once('data', (chunk: Buffer) => {
      asked.push(chunk);
      connection.destroy();
    });
  }).listen(bed.socket);
  const pod = bed.pod();
  await expect(runtime.add(bed.list(), pod)).rejects.toMatchObject({
    cniCode: 11,
    message: expect.stringContaining('went away during the call') as unknown,
  });
  await expect(runtime.status(bed.list())).rejects.toMatchObject({ cniCode: 50 });
  // DEL is.
  await expect(runtime.del(bed.list(), pod)).rejects.toThrow('executed');
  expect(asked).toHaveLength(3);
  server.close();
  await bed.restart();
});
