import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Container, type Draft, isStatus, KubeClient, type Pod, resources } from '@weft/kube';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { getText, session, upgrade } from './frames-client.ts';
import { bundle, Enclosure, Host } from './host.ts';

let dir: string;
let scripts: string[];
let enclosure: Enclosure;
let api: ChildProcess;
let host: Host;
let client: KubeClient;
let kubelet: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'weft-kl-'));
  kubelet = join(dir, 'kubelet.sock');
  scripts = await Promise.all(['api-host.ts', 'kubelet-host.ts'].map(bundle));
  enclosure = await Enclosure.open();
  const inside = ['-t', String(enclosure.pid), '-m', '-n', '--', process.execPath, scripts[0] as string, dir];
  api = spawn('nsenter', inside, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => api.stdout?.once('data', resolve));
  client = new KubeClient({ transport: { kind: 'unix', path: join(dir, 'api.sock') } });
  host = await start();
  // The service account that pods are given is made by a controller.
  await poll(async () => (await client.list(resources.serviceaccounts, 'default')).items.length > 0);
});
afterEach(async () => {
  await client.deleteCollection(resources.pods, 'default', { gracePeriodSeconds: 0 });
  await poll(async () => (await host.call<string[]>('sandboxes')).length === 0);
});
afterAll(async () => {
  await host.call('removeAll').catch(() => {});
  await host.kill();
  client.close();
  api.kill('SIGKILL');
  enclosure.close();
  rmSync(dir, { recursive: true, force: true });
  for (const script of scripts) rmSync(script, { force: true });
});

/** vitest's own polling works inside of tests only. */
async function poll(test: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error('it did not come to be in 15 s');
}
const start = (): Promise<Host> => Host.start(enclosure, scripts[1] as string, dir);
const busybox = (more: Partial<Container> = {}): Container => ({
  name: 'main',
  image: 'busybox',
  command: ['sleep', '1000'],
  ...more,
});
const create = (name: string, containers: Container[], spec: Partial<Pod['spec']> = {}): Promise<Pod> => {
  const pod: Draft<Pod> = {
    metadata: { name, namespace: 'default' },
    spec: { nodeName: 'n1', terminationGracePeriodSeconds: 1, containers, ...spec },
  };
  return client.create(resources.pods, pod);
};
const get = (name: string): Promise<Pod | undefined> =>
  client.get(resources.pods, 'default', name).catch((error: unknown) => {
    if (isStatus(error, 'NotFound')) return undefined;
    throw error;
  });
/** Waits until the pod is as `test` wants it. */
async function until(name: string, test: (pod: Pod) => boolean): Promise<Pod> {
  let last: Pod | undefined;
  const reached = async (): Promise<boolean> => {
    last = await get(name);
    return last !== undefined && test(last);
  };
  try {
    await expect.poll(reached, { timeout: 12_000, interval: 20 }).toBe(true);
  } catch {
    throw new Error(`pod ${name} stays at ${JSON.stringify(last?.status, undefined, 1)}`);
  }
  return last as Pod;
}
const isReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
const ready = (name: string): Promise<Pod> => until(name, isReady);
const query = (name: string, more = ''): string => `namespace=default&pod=${name}&container=main${more}`;
const exec = async (name: string, ...command: string[]): Promise<string> => {
  const words = command.map((word) => `&command=${encodeURIComponent(word)}`).join('');
  return (await session(kubelet, `/exec?${query(name, `&stdout=true&stderr=true${words}`)}`, [])).stdout;
};
const state = (
  pod: Pod,
  at = 0,
): NonNullable<Pod['status']>['containerStatuses'] extends (infer S)[] | undefined ? S | undefined : never =>
  pod.status?.containerStatuses?.[at];
const events = async (name: string): Promise<string[]> =>
  (await client.list(resources.events, 'default', { fieldSelector: `involvedObject.name=${name}` })).items.map(
    (e) => `${e.reason}: ${e.message}`,
  );

describe('a node', () => {
  it('registers, is ready, and holds its lease', async () => {
    const isNodeReady = async (): Promise<string | undefined> =>
      (await client.get(resources.nodes, undefined, 'n1')).status?.conditions?.find((c) => c.type === 'Ready')?.status;
    await expect.poll(isNodeReady).toBe('True');
    const node = await client.get(resources.nodes, undefined, 'n1');
    expect(node.status?.addresses).toEqual([
      { type: 'InternalIP', address: '10.77.0.1' },
      { type: 'Hostname', address: 'n1' },
    ]);
    expect(node.metadata.labels).toMatchObject({ 'kubernetes.io/hostname': 'n1', 'kubernetes.io/os': 'linux' });
    const lease = await client.get(resources.leases, 'kube-node-lease', 'n1');
    expect(lease.spec).toMatchObject({ holderIdentity: 'n1', leaseDurationSeconds: 40 });
    await host.call('problem', 'cni plugin not initialized');
    await expect.poll(isNodeReady, { timeout: 10_000 }).toBe('False');
    await create('waits', [busybox()]);
    await expect
      .poll(() => events('waits'), { timeout: 5000 })
      .toContainEqual(
        expect.stringContaining('NetworkNotReady: network is not ready: container runtime network not ready'),
      );
    await host.call('problem', null);
    await ready('waits');
    await expect.poll(isNodeReady, { timeout: 10_000 }).toBe('True');
  });
});

describe('a pod', () => {
  it('becomes ready, is reached at its address, and goes', async () => {
    const probe = { httpGet: { path: '/', port: 80 } };
    await create('web', [{ name: 'main', image: 'nginx', ports: [{ containerPort: 80 }], readinessProbe: probe }]);
    const pod = await ready('web');
    expect(pod.status).toMatchObject({ phase: 'Running', hostIP: '10.77.0.1' });
    expect(state(pod)).toMatchObject({
      ready: true,
      started: true,
      restartCount: 0,
      image: 'docker.io/library/nginx:latest',
    });
    expect(enclosure.run('wget', '-qO-', `http://${pod.status?.podIP}/`)).toContain('Welcome to nginx!');
    expect(await exec('web', 'cat', '/etc/resolv.conf')).toBe(
      'search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
    expect(await exec('web', 'cat', '/etc/hosts')).toContain(`${pod.status?.podIP}\tweb\n`);
    expect(await exec('web', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/token')).toMatch(
      /^[\w-]+\.[\w-]+\.[\w-]+$/,
    );
    expect((await events('web')).map((e) => e.split(':')[0])).toEqual(['Pulled', 'Created', 'Started']);
    await client.delete(resources.pods, 'default', 'web');
    await expect.poll(() => get('web'), { timeout: 10_000 }).toBeUndefined();
    await expect.poll(() => readdirSync(join(dir, 'data/pods'))).toEqual([]);
    expect(enclosure.run('ip', '-o', 'link', 'show', 'type', 'veth')).not.toContain('veth');
    expect(enclosure.run('cat', '/proc/mounts')).not.toContain('/containers/');
  });

  it('gets what its definition refers to, also later', async () => {
    await client.create(resources.configmaps, {
      metadata: { name: 'cm', namespace: 'default' },
      data: { a: 'one', b: 'two' },
    });
    await create(
      'refs',
      [
        busybox({
          env: [
            { name: 'A', valueFrom: { configMapKeyRef: { name: 'cm', key: 'a' } } },
            { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'SECRET', valueFrom: { secretKeyRef: { name: 'later', key: 'k' } } },
          ],
          volumeMounts: [
            { name: 'cm', mountPath: '/cm' },
            { name: 'cm', mountPath: '/one-file', subPath: 'b' },
            { name: 'mem', mountPath: '/mem' },
            { name: 'labels', mountPath: '/labels' },
          ],
        }),
      ],
      {
        volumes: [
          { name: 'cm', configMap: { name: 'cm' } },
          { name: 'mem', emptyDir: { medium: 'Memory' } },
          { name: 'labels', downwardAPI: { items: [{ path: 'all', fieldRef: { fieldPath: 'metadata.labels' } }] } },
        ],
      },
    );
    const waiting = await until('refs', (p) => state(p)?.state?.waiting?.reason === 'CreateContainerConfigError');
    expect(state(waiting)?.state?.waiting?.message).toBe('secret "later" not found');
    await client.create(resources.secrets, {
      metadata: { name: 'later', namespace: 'default' },
      stringData: { k: 'hidden' },
    });
    const pod = await ready('refs');
    expect(
      await exec('refs', 'sh', '-c', 'echo $A $IP $SECRET; cat /cm/a /one-file; mount | grep -c "on /mem type tmpfs"'),
    ).toBe(`one ${pod.status?.podIP} hidden\nonetwo1\n`);
    await client.patch(resources.configmaps, 'default', 'cm', { data: { a: 'changed' } });
    await expect.poll(() => exec('refs', 'cat', '/cm/a')).toBe('changed');
    await client.patch(resources.pods, 'default', 'refs', { metadata: { labels: { color: 'red' } } });
    await expect.poll(() => exec('refs', 'cat', '/labels/all')).toBe('color="red"');
    expect(await exec('refs', 'sh', '-c', 'printenv A NOPE; echo $?')).toBe('one\n1\n');
    await client.delete(resources.configmaps, 'default', 'cm');
    await client.delete(resources.secrets, 'default', 'later');
  });

  it('that crashes is started again with a back-off, and says so', async () => {
    await create('crash', [busybox({ command: ['sh', '-c', 'echo run; exit 3'] })]);
    const pod = await until('crash', (p) => state(p)?.state?.waiting?.reason === 'CrashLoopBackOff');
    expect(pod.status?.phase).toBe('Running');
    expect(state(pod)).toMatchObject({ restartCount: 1, lastState: { terminated: { exitCode: 3, reason: 'Error' } } });
    expect(state(pod)?.state?.waiting?.message).toBe(
      `back-off 10s restarting failed container=main pod=crash_default(${pod.metadata.uid})`,
    );
    expect(await events('crash')).toContain(
      `BackOff: Back-off restarting failed container main in pod crash_default(${pod.metadata.uid})`,
    );
    expect(await getText(kubelet, `/logs?${query('crash', '&previous=true')}`)).toBe('run\n');
  });

  it('that cannot be started says why', async () => {
    await create('noimage', [busybox({ image: 'example.invalid/none:1' })]);
    await create('never', [busybox({ image: 'example.invalid/none:1', imagePullPolicy: 'Never' })]);
    await create('badname', [busybox({ image: 'Not//An_Image' })]);
    await create('nocommand', [busybox({ command: ['nope'] })]);
    await create('novolume', [busybox({ volumeMounts: [{ name: 'v', mountPath: '/v' }] })], {
      volumes: [{ name: 'v', configMap: { name: 'none' } }],
    });
    await create('notroot', [busybox({ securityContext: { runAsNonRoot: true } })]);
    const reason = async (name: string, wanted: string): Promise<string | undefined> =>
      state(await until(name, (p) => state(p)?.state?.waiting?.reason === wanted))?.state?.waiting?.message;
    expect(await reason('noimage', 'ErrImagePull')).toMatch(
      /^failed to pull and unpack image "example.invalid\/none:1": failed to resolve reference/,
    );
    await expect(getText(kubelet, `/logs?${query('noimage')}`)).rejects.toThrow(
      /400 container "main" in pod "noimage" is waiting to start: (image can't be pulled|trying and failing to pull image)/,
    );
    expect(await reason('noimage', 'ImagePullBackOff')).toMatch(
      /^Back-off pulling image "example.invalid\/none:1": ErrImagePull: /,
    );
    expect(await reason('never', 'ErrImageNeverPull')).toBe(
      'Container image "example.invalid/none:1" is not present with pull policy of Never',
    );
    expect(await reason('badname', 'InvalidImageName')).toContain('invalid reference format');
    expect(await reason('notroot', 'CreateContainerConfigError')).toContain(
      'container has runAsNonRoot and image will run as root',
    );
    await until('nocommand', (p) => state(p)?.state?.waiting?.reason === 'CrashLoopBackOff');
    expect(state((await get('nocommand')) as Pod)?.lastState?.terminated).toMatchObject({
      reason: 'StartError',
      exitCode: 128,
    });
    expect(await events('novolume')).toContain(
      'FailedMount: MountVolume.SetUp failed for volume "v" : configmap "none" not found',
    );
  });

  it('gets the image of this machine for another tag when no registry answers, and is told so', async () => {
    await create('tagged', [{ name: 'main', image: 'nginx:1.25-alpine' }]);
    const pod = await ready('tagged');
    expect(state(pod)?.image).toBe('docker.io/library/nginx:latest');
    expect(await events('tagged')).toContainEqual(
      expect.stringMatching(
        /^ImageSubstituted: No registry answered for "nginx:1.25-alpine"; an image made on this machine from Debian's nginx /,
      ),
    );
  });

  it('runs init containers and sidecars in order, and comes to its end', async () => {
    const volumeMounts = [{ name: 'd', mountPath: '/d' }];
    await create(
      'job',
      [busybox({ command: ['sh', '-c', 'cat /d/log; sleep 0.3; echo done >/dev/termination-log'], volumeMounts })],
      {
        restartPolicy: 'Never',
        volumes: [{ name: 'd', emptyDir: {} }],
        initContainers: [
          { name: 'i1', image: 'busybox', command: ['sh', '-c', 'echo i1 >>/d/log'], volumeMounts },
          {
            name: 'side',
            image: 'busybox',
            restartPolicy: 'Always',
            command: ['sh', '-c', 'echo side >>/d/log; sleep 1000'],
            volumeMounts,
            startupProbe: { exec: { command: ['grep', 'side', '/d/log'] }, periodSeconds: 1 },
          },
          { name: 'i2', image: 'busybox', command: ['sh', '-c', 'echo i2 >>/d/log'], volumeMounts },
        ],
      },
    );
    const pod = await until('job', (p) => p.status?.phase === 'Succeeded');
    expect(state(pod)?.state?.terminated).toMatchObject({ exitCode: 0, reason: 'Completed', message: 'done\n' });
    expect(await getText(kubelet, `/logs?${query('job')}`)).toBe('i1\nside\ni2\n');
    // What a finished pod held is free again; its log is not.
    await expect.poll(() => host.call('sandboxes')).toEqual([]);
    expect((await get('job'))?.status?.podIP).toBe(pod.status?.podIP);
  });

  it('is ended in time: preStop, signal, then the kill', async () => {
    const command = ['sh', '-c', 'trap "echo term; exit 0" TERM; while :; do sleep 0.1; done'];
    await create(
      'graceful',
      [busybox({ command, lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo pre >/proc/1/fd/1'] } } } })],
      { terminationGracePeriodSeconds: 20 },
    );
    await create('stubborn', [busybox({ command: ['sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done'] })]);
    await Promise.all([ready('graceful'), ready('stubborn')]);
    const log = getText(kubelet, `/logs?${query('graceful', '&follow=true')}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.delete(resources.pods, 'default', 'graceful');
    await client.delete(resources.pods, 'default', 'stubborn');
    expect(await log).toBe('pre\nterm\n');
    await expect.poll(() => get('graceful'), { timeout: 10_000 }).toBeUndefined();
    await expect.poll(() => get('stubborn'), { timeout: 10_000 }).toBeUndefined();
    expect(await events('stubborn')).toContain('Killing: Stopping container main');
  });

  it('is restarted by its liveness probe', async () => {
    const livenessProbe = { exec: { command: ['cat', '/alive'] }, periodSeconds: 1, failureThreshold: 2 };
    await create(
      'live',
      [busybox({ command: ['sh', '-c', 'touch /alive; sleep 1.5; rm /alive; sleep 1000'], livenessProbe })],
      { terminationGracePeriodSeconds: 0 },
    );
    const pod = await until('live', (p) => (state(p)?.restartCount ?? 0) > 0);
    expect(state(pod)?.lastState?.terminated).toMatchObject({ exitCode: 137 });
    const told = await events('live');
    expect(told).toContain('Killing: Container main failed liveness probe, will be restarted');
    expect(told).toContainEqual(expect.stringMatching(/^Unhealthy: Liveness probe failed: cat: can't open '\/alive'/));
  });

  it('on the network of the node uses its address and name', async () => {
    await create('hostnet', [busybox()], { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
    const pod = await ready('hostnet');
    expect(pod.status?.podIP).toBe('10.77.0.1');
    expect(await exec('hostnet', 'hostname')).toBe('n1\n');
  });

  it('gets a new sandbox when its pause process is killed', async () => {
    await create('resandbox', [busybox()]);
    const before = await ready('resandbox');
    const [id] = await host.call<string[]>('sandboxes');
    const record = JSON.parse(
      readFileSync(join(dir, 'data/runtime/sandboxes', id as string, 'sandbox.json'), 'utf8'),
    ) as { pause: { pid: number } };
    process.kill(record.pause.pid, 'SIGKILL');
    const pod = await until('resandbox', (p) => isReady(p) && (state(p)?.restartCount ?? 0) === 1);
    expect(state(pod)?.containerID).not.toBe(state(before)?.containerID);
    expect(await events('resandbox')).toContain(
      'SandboxChanged: Pod sandbox changed, it will be killed and re-created.',
    );
  });
});

describe('the streams of a container', () => {
  it('exec: output, input, exit code, terminal', async () => {
    await create('exec', [busybox()]);
    await ready('exec');
    const one = await session(kubelet, `/exec?${query('exec', '&stdin=true&stdout=true&stderr=true&command=sh')}`, [
      [0, 'cat /proc/1/cmdline >/dev/null; echo out; echo err >&2; exit 5\n'],
      [255, '0'],
    ]);
    expect(one).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      status: { status: 'Failure', reason: 'NonZeroExitCode', details: { causes: [{ message: '5' }] } },
    });
    const tty = await session(kubelet, `/exec?${query('exec', '&stdin=true&stdout=true&tty=true&command=sh')}`, [
      [4, '{"Width":99,"Height":44}'],
      [0, 'stty size; exit 0\n'],
    ]);
    expect(tty.stdout).toContain('44 99');
    expect(tty.status.status).toBe('Success');
    const none = await session(kubelet, `/exec?${query('exec', '&stdout=true&command=nope')}`, []);
    expect(none.status.message).toContain('exec: "nope": executable file not found in $PATH: unknown');
    await expect(upgrade(kubelet, '/exec?namespace=default&pod=none&container=main&command=x')).rejects.toThrow(
      '404 pod "none" not found',
    );
    await expect(upgrade(kubelet, '/exec?namespace=default&pod=exec&container=other&command=x')).rejects.toThrow(
      '400 container other is not valid for pod exec',
    );
  });

  it('attach: what the process writes, and its input to the end', async () => {
    await create(
      'cat',
      [busybox({ command: ['sh', '-c', 'echo hello; cat; echo end >&2'], stdin: true, stdinOnce: true })],
      { restartPolicy: 'Never' },
    );
    await ready('cat');
    const result = await session(kubelet, `/attach?${query('cat', '&stdin=true&stdout=true&stderr=true')}`, [
      [0, 'some input\n'],
      [255, '0'],
    ]);
    expect(result).toMatchObject({ stdout: 'hello\nsome input\n', stderr: 'end\n', status: { status: 'Success' } });
  });

  it('port-forward: bytes both ways, or why not', async () => {
    await create('pf', [busybox({ command: ['nc', '-ll', '-p', '7777', '-e', 'cat'] })]);
    await ready('pf');
    const open = async () => upgrade(kubelet, '/portforward?namespace=default&pod=pf&port=7777').catch(() => undefined);
    let socket = await open();
    await expect.poll(async () => (socket ??= await open()) !== undefined).toBe(true);
    const echo = new Promise((resolve) => socket?.once('data', (data: Buffer) => resolve(data.toString())));
    socket?.write('ping');
    expect(await echo).toBe('ping');
    socket?.destroy();
    await expect(upgrade(kubelet, '/portforward?namespace=default&pod=pf&port=9')).rejects.toThrow(
      /^502 .*dial tcp4 127.0.0.1:9: connect: connection refused/,
    );
  });
});

describe('when the node process is killed', () => {
  it('connections live on, and the next one leads the same containers', async () => {
    await create('kept', [busybox({ command: ['nc', '-ll', '-p', '7', '-e', 'cat'] })]);
    await create('goes', [busybox()]);
    await create('ends', [busybox({ command: ['sh', '-c', 'sleep 1; exit 6'] })], { restartPolicy: 'Never' });
    const before = await ready('kept');
    await Promise.all([ready('goes'), ready('ends')]);
    const client2 = spawn(
      'nsenter',
      ['-t', String(enclosure.pid), '-n', '--', 'busybox', 'nc', before.status?.podIP ?? '', '7'],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const say = (text: string): Promise<string> => {
      client2.stdin?.write(text);
      return new Promise((resolve) => client2.stdout?.once('data', (data: Buffer) => resolve(data.toString())));
    };
    expect(await say('one')).toBe('one');
    await host.kill();
    expect(await say('two')).toBe('two');
    await client.delete(resources.pods, 'default', 'goes', { gracePeriodSeconds: 0 });
    await new Promise((resolve) => setTimeout(resolve, 1200));
    host = await start();
    expect(await say('three')).toBe('three');
    const after = await ready('kept');
    expect(state(after)).toEqual(state(before));
    expect(after.status?.podIP).toBe(before.status?.podIP);
    expect(
      (await until('ends', (p) => p.status?.phase === 'Failed')).status?.containerStatuses?.[0]?.state?.terminated
        ?.exitCode,
    ).toBe(6);
    // The pod that was deleted meanwhile is cleared away.
    await expect.poll(async () => (await host.call<string[]>('sandboxes')).length, { timeout: 10_000 }).toBe(1);
    expect(await say('four')).toBe('four');
    client2.kill('SIGKILL');
    expect(existsSync(kubelet)).toBe(true);
    await new Promise<void>((resolve, reject) => connect(kubelet).once('connect', resolve).once('error', reject));
  });

  it('and the machine with it, pods start anew on the same records', async () => {
    await create('again', [busybox()]);
    const before = await ready('again');
    await host.kill();
    const pids = (kind: string, field: 'pause' | 'process'): number[] =>
      readdirSync(join(dir, 'data/runtime', kind)).map((id) => {
        const file = join(dir, 'data/runtime', kind, id, kind === 'sandboxes' ? 'sandbox.json' : 'container.json');
        return (JSON.parse(readFileSync(file, 'utf8')) as Record<string, { pid: number }>)[field]?.pid ?? 0;
      });
    const monitors = readdirSync(join(dir, 'data/runtime/containers')).map((id) =>
      Number(readFileSync(join(dir, 'data/runtime/containers', id, 'conmon.pid'), 'utf8')),
    );
    // Monitors first: whoever is left cannot tell how the others ended.
    for (const pid of [...monitors, ...pids('containers', 'process'), ...pids('sandboxes', 'pause')])
      process.kill(pid, 'SIGKILL');
    enclosure.close();
    enclosure = await Enclosure.open();
    host = await start();
    const after = await until('again', (p) => isReady(p) && (state(p)?.restartCount ?? 0) === 1);
    expect(state(after)?.lastState?.terminated).toMatchObject({
      reason: 'Unknown',
      exitCode: 255,
      containerID: state(before)?.containerID,
    });
    expect(await exec('again', 'echo', 'alive')).toBe('alive\n');
  });
});
