// Facts of the reference plugins that runtimes rely on, asked of both executables where Debian's version knows the verb.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasReference, LonelyNode, type PodRef } from './alone.ts';

let node: LonelyNode;
let pod: PodRef;
beforeAll(async () => {
  node = await LonelyNode.open();
  pod = node.pod();
}, 60_000);
afterAll(() => node.close());

interface Heard {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

async function run(dir: string, plugin: string, env: Record<string, string>, stdin: string): Promise<Heard> {
  const NODE_PATH = join(import.meta.dirname, '../../../../node_modules');
  const child = spawn(join(dir, plugin), [], { env: { PATH: process.env['PATH'] ?? '', NODE_PATH, ...env } });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, out, err };
}

const code = ({ status, out }: Heard): unknown => [
  status,
  status === 0 ? undefined : (JSON.parse(out) as { code: number }).code,
];

type Change = Readonly<Record<string, string | undefined>>;
const environment = (change: Change = {}): Record<string, string> => {
  const base = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: pod.containerId,
    CNI_NETNS: pod.netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: node.ours,
    ...change,
  };
  return Object.fromEntries(Object.entries(base).filter((pair): pair is [string, string] => pair[1] !== undefined));
};
const config = (change: object = {}): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'n', type: 'loopback', ...change });
const NOTHING: Change = {
  CNI_CONTAINERID: undefined,
  CNI_NETNS: undefined,
  CNI_IFNAME: undefined,
  CNI_PATH: undefined,
};

describe.skipIf(!hasReference)('a call is refused with the code of the reference', () => {
  it.each<[string, number, Change, string]>([
    ['without its variables', 4, NOTHING, config()],
    ['without its variables, before its input is read', 4, NOTHING, 'rubbish'],
    ['with an unknown command', 4, { CNI_COMMAND: 'FLY' }, config()],
    ['with a container id that is a path', 4, { CNI_CONTAINERID: '../x' }, config()],
    ['with an interface name of 16 bytes', 4, { CNI_IFNAME: 'a234567890123456' }, config()],
    ['with an interface name that is a path', 4, { CNI_IFNAME: 'a/b' }, config()],
    ['with input that is no JSON', 6, {}, 'rubbish'],
    ['with a network without a name', 7, {}, config({ name: undefined })],
    ['with a network name that begins with a dash', 7, {}, config({ name: '-n' })],
    ['with a name that is missing, before its version is looked at', 7, {}, config({ name: '', cniVersion: '9.9.9' })],
    ['of a version to come', 1, {}, config({ cniVersion: '9.9.9' })],
    ['of a version that is nearly one', 1, {}, config({ cniVersion: '1.0' })],
    ['CHECK below 0.4.0', 1, { CNI_COMMAND: 'CHECK' }, config({ cniVersion: '0.3.1' })],
  ])('%s: %d', async (_what, expected, change, stdin) => {
    const env = environment(change);
    expect(code(await run(node.ours, 'loopback', env, stdin))).toEqual([1, expected]);
    expect(code(await run(node.reference, 'loopback', env, stdin))).toEqual([1, expected]);
  });
});

describe('a call', () => {
  it.each(['GC', 'STATUS'])('%s below 1.1.0 is refused with code 1', async (CNI_COMMAND) => {
    expect(code(await run(node.ours, 'loopback', environment({ CNI_COMMAND }), config()))).toEqual([1, 1]);
  });

  it.each(['DEL', 'STATUS', 'GC'])(
    '%s needs no CNI_PATH, which the specification does not ask for',
    async (CNI_COMMAND) => {
      const env = environment({ CNI_COMMAND, CNI_PATH: undefined });
      const heard = await run(node.ours, 'loopback', env, config({ cniVersion: '1.1.0' }));
      expect(heard).toMatchObject({ status: 0, out: '', err: '' });
    },
  );

  it('without a command is told the versions, on stderr, and succeeds', async () => {
    for (const dir of hasReference ? [node.ours, node.reference] : [node.ours]) {
      const heard = await run(dir, 'loopback', {}, '');
      expect(heard).toMatchObject({ status: 0, out: '' });
      expect(heard.err).toMatch(/^CNI .*\n?[\s\S]*0\.1\.0/);
    }
  });

  it('VERSION is answered whatever the input', async () => {
    const heard = await run(node.ours, 'loopback', { CNI_COMMAND: 'VERSION' }, 'rubbish');
    expect(heard.status).toBe(0);
    expect(JSON.parse(heard.out)).toMatchObject({ cniVersion: '1.1.0' });
  });

  it.skipIf(!hasReference)(
    'without a version is answered in the oldest, by an IPAM plugin without interfaces',
    async () => {
      const ipam = { type: 'static', addresses: [{ address: '10.0.0.2/24' }] };
      const stdin = JSON.stringify({ name: 'n', type: 'static', ipam });
      const [ours, theirs] = await Promise.all(
        [node.ours, node.reference].map((dir) => run(dir, 'static', environment(), stdin)),
      );
      expect(ours?.out).toBe(theirs?.out);
      expect(JSON.parse(ours?.out ?? '')).toEqual({ cniVersion: '0.1.0', ip4: { ip: '10.0.0.2/24' }, dns: {} });
    },
  );
});

describe('a plugin that only works in a chain', () => {
  const own: Readonly<Record<string, object>> = {
    portmap: { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] } },
    bandwidth: { ingressRate: 8000, ingressBurst: 8000 },
    firewall: {},
    tuning: { mtu: 1400 },
    sbr: {},
    vrf: { vrfname: 'red' },
  };
  it.each(Object.keys(own))('%s refuses ADD and CHECK without prevResult, and lets DEL succeed', async (plugin) => {
    const stdin = config({ ...own[plugin], type: plugin });
    const call = (CNI_COMMAND: string) => run(node.ours, plugin, environment({ CNI_COMMAND }), stdin);
    for (const verb of ['ADD', 'CHECK']) {
      const heard = await call(verb);
      expect(code(heard), verb).toEqual([1, 7]);
      expect(heard.out).toContain('prevResult');
    }
    expect(await call('DEL')).toMatchObject({ status: 0, out: '', err: '' });
  });
});

describe('host-local', () => {
  it('says at STATUS that a range is full, also through a main plugin', async () => {
    const ipam = {
      type: 'host-local',
      dataDir: join(node.dir, 'full'),
      ranges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.10', rangeEnd: '10.0.0.10' }]],
    };
    const stdin = (type: string): string => config({ cniVersion: '1.1.0', type, ipam });
    const status = (type: string) => run(node.ours, type, environment({ CNI_COMMAND: 'STATUS' }), stdin(type));
    expect(code(await status('bridge'))).toEqual([0, undefined]);
    expect((await run(node.ours, 'host-local', environment(), stdin('host-local'))).status).toBe(0);
    for (const type of ['host-local', 'bridge', 'ptp', 'macvlan'])
      expect(code(await status(type)), type).toEqual([1, 50]);
  });
});
