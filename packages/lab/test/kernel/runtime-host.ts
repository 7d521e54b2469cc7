import { NetNs, Rtnl } from '@weft/kernel';
import { jsonLogger } from '@weft/plan';
import { ensureBuiltin, ImageStore } from '../../src/images/index.ts';
import {
  type ContainerSpec,
  logBytes,
  Runtime,
  type SandboxNetworkRequest,
  type SandboxSpec,
} from '../../src/runtime/index.ts';
import { serve } from './serve.ts';

const dir = process.argv[2] as string;
const images = ImageStore.open(`${dir}/images`);
const log = jsonLogger((line) => process.stderr.write(line), { level: 'error' });
const calls: string[] = [];

let failSetup = false;
const network = {
  setup: async (request: SandboxNetworkRequest) => {
    calls.push(`setup ${request.name}`);
    if (failSetup) throw new Error('no address is free');
    const ns = NetNs.open(request.netnsPath);
    const rtnl = Rtnl.open(ns);
    await rtnl.links.set('lo', { up: true });
    rtnl.close();
    ns.close();
    return { ips: ['10.0.0.9'] };
  },
  teardown: async (request: SandboxNetworkRequest) => {
    calls.push(`teardown ${request.name}`);
  },
};
const runtime = await Runtime.open({
  dataDir: `${dir}/data`,
  runDir: `${dir}/run`,
  images,
  network,
  log,
  ownMounts: true,
});

const sandbox = (name: string, more: Partial<SandboxSpec>): SandboxSpec => ({
  namespace: 'default',
  name,
  uid: `uid-${name}`,
  attempt: 0,
  hostname: name,
  hostNetwork: false,
  hostPID: false,
  hostIPC: false,
  shareProcessNamespace: false,
  sysctls: {},
  annotations: {},
  portMappings: [],
  ...more,
});
const container = (name: string, command: string[], more: Partial<ContainerSpec>): ContainerSpec => ({
  name,
  attempt: 0,
  command,
  env: [],
  user: {},
  mounts: [],
  tty: false,
  stdin: false,
  stdinOnce: false,
  privileged: false,
  readOnlyRootfs: false,
  noNewPrivileges: false,
  logPath: `${dir}/logs/${name}.log`,
  labels: {},
  ...more,
});

serve({
  calls: () => calls,
  failSetup: (on: boolean) => {
    failSetup = on;
  },
  sandbox: (name: string, more: Partial<SandboxSpec> = {}) => runtime.runSandbox(sandbox(name, more)),
  run: async (
    sandboxId: string,
    name: string,
    image: 'busybox' | 'nginx',
    command: string[],
    more: Partial<ContainerSpec> = {},
  ) => {
    const found = runtime.sandboxes.get(sandboxId);
    if (found === undefined) throw new Error('no such sandbox');
    const made = await runtime.createContainer(
      found,
      await ensureBuiltin(images, image),
      container(name, command, more),
    );
    return runtime.startContainer(made.id);
  },
  /** Stops between create and start, as a process that is killed there does. */
  create: async (sandboxId: string, name: string, command: string[]) => {
    const found = runtime.sandboxes.get(sandboxId);
    if (found === undefined) throw new Error('no such sandbox');
    return runtime.createContainer(found, await ensureBuiltin(images, 'busybox'), container(name, command, {}));
  },
  exec: (id: string, command: string[], timeoutMs = 10_000) => runtime.execSync(id, command, timeoutMs),
  /** Runs a shell on a terminal of 132 × 43 that becomes one of 100 × 30 once `when` was printed. */
  execTty: async (id: string, input: string, when: string) => {
    const session = runtime.exec(id, {
      command: ['sh'],
      tty: true,
      stdin: true,
      size: { columns: 132, rows: 43 },
    });
    let output = '';
    session.stdout.on('data', (data: Buffer) => {
      output += data.toString();
      if (output.includes(when)) session.resize(100, 30);
    });
    session.stdin?.write(input);
    return { code: await session.done, output };
  },
  rotate: (maxBytes: number) => runtime.rotateLogs(maxBytes),
  wait: (id: string) => runtime.containers.wait(id),
  get: (id: string) => runtime.containers.get(id),
  stop: (id: string, graceMs: number) => runtime.containers.stop(id, graceMs),
  sandboxes: () => runtime.sandboxes.list().map((s) => ({ ...s, ready: runtime.sandboxes.isReady(s) })),
  containers: () => runtime.containers.list(),
  removeSandbox: (id: string) => runtime.removeSandbox(id),
  removeAll: () => runtime.removeAll(),
  logs: async (name: string) => {
    const parts: Buffer[] = [];
    for await (const part of logBytes(`${dir}/logs/${name}.log`, {})) parts.push(part);
    return Buffer.concat(parts).toString('utf8');
  },
});
