// The same script for every kubectl that is promised to work. Each version has a namespace of its own.
import { rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePort, useCluster } from './support/cluster.ts';
import { environment } from './support/environment.ts';
import { mustFail, mustMatch, PROMPT, type Ran, type RunOptions, type Running, until } from './support/run.ts';

const cluster = useCluster({ name: 'kubectl', flags: ['--no-demo'] });

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: nginx
        image: nginx
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
`;

/** Fetches over an address that only the test knows; resolves to the status and the length of the body. */
function fetchBytes(port: number, target: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: target, agent: false }, (response) => {
      let body = '';
      response.setEncoding('latin1').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

// Versions are known when the suite runs, not while it is collected: three slots are filled in order.
describe.each([0, 1, 2])('kubectl, version %i of those found', (slot) => {
  let file = '';
  let ns = '';
  let manifest = '';

  const k = (args: readonly string[], options: RunOptions = {}): Promise<Ran> =>
    cluster.kubectl(['-n', ns, ...args], { ...options, kubectl: file });
  const start = (args: readonly string[]): Running =>
    cluster.background(cluster.kubectlArgv(['-n', ns, ...args], file));

  beforeAll(async () => {
    const found = environment().kubectls[slot];
    if (found === undefined) return;
    ({ file } = found);
    ns = `k${found.version.replace('.', '')}`;
    manifest = path.join(cluster.base, `${ns}.yaml`);
    writeFileSync(manifest, WEB);
    await cluster.kubectl(['create', 'namespace', ns], { kubectl: file });
  });
  beforeEach((context) => {
    if (file === '') context.skip('this machine has no further version of kubectl');
  });
  afterAll(() => {
    rmSync(manifest, { force: true });
  });

  it('lists what the server has', async () => {
    const resources = await k(['api-resources']);
    mustMatch(resources, /^pods\s+po\s+v1\s+true\s+Pod$/m);
    mustMatch(resources, /^endpointslices\s+discovery\.k8s\.io\/v1\s+true\s+EndpointSlice$/m);
    mustMatch(await k(['api-versions']), /^networking\.k8s\.io\/v1$/m);
    mustMatch(await k(['version', '-o', 'json']), /"serverVersion"/);
    mustMatch(await k(['cluster-info']), /control plane.* is running at .*https:\/\/127\.0\.0\.1:/);
    mustMatch(await k(['auth', 'can-i', 'create', 'pods']), /^yes$/m);
  });

  it('explains', async () => {
    mustMatch(await k(['explain', 'service.spec.clusterIP']), /FIELD: clusterIP <string>/);
    mustMatch(await k(['explain', 'deployments']), /VERSION:\s+(apps\/)?v1/);
  });

  it('applies a file and shows no difference afterwards', async () => {
    const applied = await k(['apply', '-f', manifest]);
    mustMatch(applied, /^deployment\.apps\/web created$/m);
    mustMatch(applied, /^configmap\/settings created$/m);
    mustMatch(await k(['apply', '-f', manifest]), /^deployment\.apps\/web unchanged$/m);
    expect((await k(['diff', '-f', manifest])).stdout).toBe('');
    const changed = WEB.replace('blue', 'green');
    const diff = await k(['diff', '-f', '-'], { input: changed, check: false });
    expect(diff.code, diff.stderr).toBe(1);
    mustMatch(diff, /^-\s+colour: blue$/m);
    mustMatch(diff, /^\+\s+colour: green$/m);
    expect((await k(['get', 'cm', 'settings', '-o', 'jsonpath={.data.colour}'])).stdout).toBe('blue');
  });

  it('follows the rollout', async () => {
    const rollout = await k(['rollout', 'status', 'deployment/web', '--timeout=60s'], { timeoutMs: 65_000 });
    mustMatch(rollout, /deployment "web" successfully rolled out/);
  });

  it('gets tables, wide tables, YAML, JSONPath and names', async () => {
    mustMatch(await k(['get', 'deploy']), /^web\s+2\/2\s+2\s+2\s+\S+$/m);
    mustMatch(await k(['get', 'deploy', '-o', 'wide']), /^web\s+2\/2\s+2\s+2\s+\S+\s+nginx\s+nginx\s+app=web$/m);
    const pods = await k(['get', 'pods', '-o', 'wide']);
    expect(
      pods.stdout.match(/^web-\S+\s+1\/1\s+Running\s+0\s+\S+\s+10(\.\d+){3}\s+n[123]\s/gm),
      pods.stdout,
    ).toHaveLength(2);
    mustMatch(await k(['get', 'deploy', 'web', '-o', 'yaml']), /^ {2}replicas: 2$/m);
    expect((await k(['get', 'deploy', 'web', '-o', 'jsonpath={.status.readyReplicas}'])).stdout).toBe('2');
    mustMatch(await k(['get', 'deploy', 'web', '-o', 'name']), /^deployment\.apps\/web$/m);
    const columns = await k(['get', 'deploy', '-o', 'custom-columns=N:.metadata.name,R:.spec.replicas']);
    mustMatch(columns, /^N\s+R\nweb\s+2$/m);
    mustMatch(await k(['get', 'all']), /^replicaset\.apps\/web-\w+\s+2\s+2\s+2\s/m);
    mustMatch(await k(['get', 'pods', '-A', '--sort-by=.metadata.name']), /^kube-system\s+coredns-/m);
    mustMatch(await k(['get', 'nodes']), /^n1\s+Ready\s/m);
    mustFail(
      await k(['get', 'pod', 'nobody'], { check: false }),
      /Error from server \(NotFound\): pods "nobody" not found/,
    );
  });

  it('watches', async () => {
    const watch = start(['get', 'cm', '-w']);
    try {
      await watch.waitFor(/^settings\s+1\s/m);
      await k(['create', 'configmap', 'seen', '--from-literal=a=b']);
      await watch.waitFor(/^seen\s+1\s/m);
      await k(['delete', 'configmap', 'seen']);
    } finally {
      await watch.stop();
    }
  });

  it('creates every common kind by its own command', async () => {
    await k(['create', 'secret', 'generic', 'password', '--from-literal=p=q']);
    await k(['create', 'serviceaccount', 'robot']);
    await k([
      'create',
      'deployment',
      'other',
      '--image=busybox',
      '--replicas=1',
      '--',
      'sh',
      '-c',
      'trap exit TERM; sleep 86400 & wait',
    ]);
    await k(['create', 'service', 'clusterip', 'plain', '--tcp=80:80']);
    await k(['create', 'ingress', 'door', '--rule=example.com/=plain:80']);
    await k(['create', 'job', 'once', '--image=busybox', '--', 'true']);
    expect(
      Buffer.from((await k(['get', 'secret', 'password', '-o', 'jsonpath={.data.p}'])).stdout, 'base64').toString(),
    ).toBe('q');
    mustMatch(await k(['get', 'ingress', 'door']), /^door\s+\S+\s+example\.com\s/m);
    mustMatch(
      await k(['create', 'deployment', 'dry', '--image=nginx', '--dry-run=server', '-o', 'name']),
      /deployment\.apps\/dry/,
    );
    mustFail(await k(['get', 'deploy', 'dry'], { check: false }), /not found/);
    await k(['delete', 'deploy/other', 'svc/plain', 'ingress/door', 'job/once', 'secret/password', '--wait=false']);
  });

  it('exposes, scales and labels', async () => {
    mustMatch(await k(['expose', 'deployment', 'web', '--port=80']), /^service\/web exposed$/m);
    await until('two endpoints', async () => {
      const ips = (await k(['get', 'endpoints', 'web', '-o', 'jsonpath={.subsets[*].addresses[*].ip}'])).stdout;
      return ips.split(' ').length === 2 && ips !== '';
    });
    mustMatch(
      await k(['get', 'svc', 'web', '-o', 'wide']),
      /^web\s+ClusterIP\s+10(\.\d+){3}\s+<none>\s+80\/TCP\s+\S+\s+app=web$/m,
    );
    mustMatch(await k(['scale', 'deployment', 'web', '--replicas=3']), /^deployment\.apps\/web scaled$/m);
    await k(['wait', 'deployment/web', '--for=jsonpath={.status.readyReplicas}=3', '--timeout=60s'], {
      timeoutMs: 65_000,
    });
    await k(['scale', 'deployment', 'web', '--replicas=1']);
    await until(
      'one pod',
      async () => (await k(['get', 'pods', '-l', 'app=web', '-o', 'name'])).stdout.trim().split('\n').length === 1,
    );
    await k(['autoscale', 'deployment', 'web', '--min=1', '--max=3', '--cpu-percent=50']);
    await until('a word that nothing scales', async () =>
      /Warning\s+NotEnforced .*nothing scales/.test((await k(['describe', 'hpa', 'web'])).stdout),
    );
    await k(['delete', 'hpa', 'web']);
    mustMatch(await k(['label', 'deployment', 'web', 'tier=front']), /^deployment\.apps\/web labeled$/m);
    mustMatch(await k(['get', 'deploy', '-l', 'tier in (front),app!=x']), /^web\s/m);
    mustMatch(await k(['annotate', 'deployment', 'web', 'note=hello']), /annotated?$/m);
    await k(['patch', 'deployment', 'web', '-p', '{"spec":{"template":{"metadata":{"labels":{"patched":"yes"}}}}}']);
    await k(['rollout', 'status', 'deployment/web', '--timeout=60s'], { timeoutMs: 65_000 });
    mustMatch(await k(['rollout', 'history', 'deployment/web']), /^2\s/m);
    mustMatch(await k(['set', 'env', 'deployment/web', 'A=b']), /env updated/);
    await k(['rollout', 'status', 'deployment/web', '--timeout=60s'], { timeoutMs: 65_000 });
  });

  it('describes', async () => {
    // Events are written behind the objects they are about.
    await until('the events of the pod', async () => {
      const { stdout } = await k(['describe', 'pod', '-l', 'app=web']);
      return /Normal\s+Scheduled .*Successfully assigned/.test(stdout) && /Started container nginx/.test(stdout);
    });
    const pod = await k(['describe', 'pod', '-l', 'app=web']);
    mustMatch(pod, /^Status:\s+Running$/m);
    mustMatch(pod, /^IP:\s+10(\.\d+){3}$/m);
    mustMatch(pod, /Normal\s+Scheduled .*Successfully assigned/);
    mustMatch(pod, /Normal\s+Started .*Started container nginx/);
    mustMatch(await k(['describe', 'svc', 'web']), /^Endpoints:\s+10(\.\d+){3}:80$/m);
    mustMatch(await k(['describe', 'deploy', 'web']), /^Replicas:\s+1 desired \| 1 updated \| 1 total \| 1 available/m);
    const node = await k(['describe', 'node', 'n1']);
    mustMatch(node, /^\s*InternalIP:\s+10(\.\d+){3}$/m);
    mustMatch(node, /^PodCIDR:\s+10(\.\d+){2}\.0\/24$/m);
    mustMatch(node, /^\s+Ready\s+True\s/m);
  });

  it('runs a pod and waits for it', async () => {
    mustMatch(
      await k([
        'run',
        'talker',
        '--image=busybox',
        '--restart=Never',
        '--',
        'sh',
        '-c',
        'i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done',
      ]),
      /^pod\/talker created$/m,
    );
    await k(['wait', '--for=condition=Ready', 'pod/talker', '--timeout=60s'], { timeoutMs: 65_000 });
  });

  it('shows logs: all, the tail, the stream, and of the container before', async () => {
    await until('some lines', async () => (await k(['logs', 'talker'])).stdout.includes('line 3'));
    mustMatch(await k(['logs', 'talker']), /^line 0\nline 1\n/);
    expect((await k(['logs', 'talker', '--tail=1'])).stdout).toMatch(/^line \d+\n$/);
    mustMatch(await k(['logs', 'talker', '--timestamps', '--limit-bytes=60']), /^\d{4}-\d\d-\d\dT\S+Z line 0/);
    const stream = start(['logs', '-f', 'talker', '--tail=1']);
    try {
      const [, first = ''] = await stream.waitFor(/line (\d+)/);
      await stream.waitFor(new RegExp(`line ${Number(first) + 3}\n`));
    } finally {
      await stream.stop();
    }
    const fragile = { restartPolicy: 'Always', terminationGracePeriodSeconds: 0 };
    await k([
      'run',
      'fragile',
      '--image=busybox',
      `--overrides=${JSON.stringify({ spec: fragile })}`,
      '--',
      'sh',
      '-c',
      'echo started; exec sleep 86400',
    ]);
    await k(['wait', '--for=condition=Ready', 'pod/fragile', '--timeout=60s'], { timeoutMs: 65_000 });
    mustFail(
      await k(['logs', 'fragile', '--previous'], { check: false }),
      /previous terminated container "fragile" in pod "fragile" not found/,
    );
    await k(['delete', 'pod', 'fragile', '--wait=false']);
    await k([
      'run',
      'again',
      '--image=busybox',
      `--overrides=${JSON.stringify({ spec: { terminationGracePeriodSeconds: 0 } })}`,
      '--',
      'sh',
      '-c',
      'echo I was here; sleep 1; exit 3',
    ]);
    await until(
      'a restart',
      async () =>
        Number(
          (await k(['get', 'pod', 'again', '-o', 'jsonpath={.status.containerStatuses[0].restartCount}'])).stdout,
        ) > 0,
    );
    mustMatch(await k(['logs', 'again', '--previous']), /^I was here\n$/);
    await k(['delete', 'pod', 'again', '--wait=false']);
  });

  it('executes commands with their exit status and their streams', async () => {
    const both = await k(['exec', 'talker', '--', 'sh', '-c', 'echo out; echo err >&2']);
    expect([both.stdout, both.stderr.trim()]).toEqual(['out\n', 'err']);
    const failed = await k(['exec', 'talker', '--', 'sh', '-c', 'exit 7'], { check: false });
    expect(failed.code, failed.stderr).toBe(7);
    mustFail(failed, /command terminated with exit code 7/);
    const echoed = await k(['exec', '-i', 'talker', '--', 'cat'], { input: 'x'.repeat(100_000) });
    expect(echoed.stdout.length).toBe(100_000);
    mustFail(await k(['exec', 'talker', '--', 'no-such-program'], { check: false }), /no-such-program/);
  });

  it('executes a shell on a terminal', async () => {
    const terminal = cluster.terminal(cluster.kubectlArgv(['-n', ns, 'exec', '-it', 'talker', '--', 'sh'], file));
    try {
      await terminal.waitFor(PROMPT);
      await terminal.ask('tty', /\/dev\/(pts\/\d+|console)/);
      await terminal.ask('echo $((6*7))', /^42\r$/m);
      await terminal.ask('exit 5', /exit/);
      expect(await terminal.ended()).toBe(5);
    } finally {
      terminal.kill();
    }
  });

  it('copies files', async () => {
    writeFileSync(`${manifest}.copy`, 'some text\n');
    await k(['cp', `${manifest}.copy`, 'talker:/tmp/copy']);
    expect((await k(['exec', 'talker', '--', 'cat', '/tmp/copy'])).stdout).toBe('some text\n');
    await k(['cp', 'talker:/tmp/copy', `${manifest}.back`]);
    rmSync(`${manifest}.copy`);
    rmSync(`${manifest}.back`);
  });

  it('forwards ports with real bytes', async () => {
    const [name = ''] = (
      await k(['get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].metadata.name}'])
    ).stdout.split(' ');
    await k(['exec', name, '--', 'sh', '-c', 'head -c 1000000 /dev/zero | tr "\\0" x > /usr/share/nginx/html/big']);
    const port = await freePort();
    const forward = start(['port-forward', `pod/${name}`, `${port}:80`]);
    try {
      await forward.waitFor(/Forwarding from 127\.0\.0\.1/);
      const [page, big, missing] = await Promise.all([
        fetchBytes(port, '/'),
        fetchBytes(port, '/big'),
        fetchBytes(port, '/none'),
      ]);
      expect(page.body).toContain('Welcome to nginx!');
      expect([big.status, big.body.length, new Set(big.body).size]).toEqual([200, 1_000_000, 1]);
      expect(missing.status).toBe(404);
      // And again after the first connections are gone.
      expect((await fetchBytes(port, '/big')).body.length).toBe(1_000_000);
    } finally {
      await forward.stop();
    }
    const toService = start(['port-forward', 'svc/web', `${port}:80`]);
    try {
      await toService.waitFor(/Forwarding from 127\.0\.0\.1/);
      expect((await fetchBytes(port, '/')).status).toBe(200);
    } finally {
      await toService.stop();
    }
  });

  it('applies on the server, with owners of fields and conflicts', async () => {
    const settings = (colour: string): string =>
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'owned' }, data: { colour } });
    const apply = (colour: string, manager: string, more: readonly string[] = []): Promise<Ran> =>
      k(['apply', '--server-side', `--field-manager=${manager}`, ...more, '-f', '-'], {
        input: settings(colour),
        check: false,
      });
    mustMatch(await apply('red', 'one'), /^configmap\/owned serverside-applied$/m);
    mustFail(await apply('blue', 'two'), /conflict with "one".*\.data\.colour|Apply failed with 1 conflict/s);
    mustMatch(await apply('blue', 'two', ['--force-conflicts']), /serverside-applied/);
    const managed = await k(['get', 'cm', 'owned', '-o', 'json', '--show-managed-fields']);
    const { metadata } = JSON.parse(managed.stdout) as {
      metadata: { managedFields: { manager: string; operation: string }[] };
    };
    expect(metadata.managedFields.map((m) => `${m.manager} ${m.operation}`)).toContain('two Apply');
  });

  it('runs a pod on a terminal and removes it', async () => {
    const terminal = cluster.terminal(
      cluster.kubectlArgv(
        [
          '-n',
          ns,
          'run',
          '-it',
          '--rm',
          'visitor',
          '--image=busybox',
          '--restart=Never',
          '--',
          'sh',
          '-c',
          'sleep 1; echo hello from $(hostname)',
        ],
        file,
      ),
    );
    try {
      await terminal.waitFor(/hello from visitor/, { timeoutMs: 40_000 });
      await terminal.waitFor(/pod "visitor" deleted/, { timeoutMs: 40_000 });
      expect(await terminal.ended()).toBe(0);
    } finally {
      terminal.kill();
    }
    mustFail(await k(['get', 'pod', 'visitor'], { check: false }), /not found/);
  });

  it('replaces, edits by JSON patch, and drains', async () => {
    const replaced = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings' }, data: { colour: 'black' } };
    mustMatch(await k(['replace', '-f', '-'], { input: JSON.stringify(replaced) }), /^configmap\/settings replaced$/m);
    await k(['patch', 'cm', 'settings', '--type=json', '-p', '[{"op":"add","path":"/data/size","value":"9"}]']);
    await k(['patch', 'cm', 'settings', '--type=merge', '-p', '{"data":{"colour":null}}']);
    expect((await k(['get', 'cm', 'settings', '-o', 'jsonpath={.data}'])).stdout).toBe('{"size":"9"}');
    await k(['cordon', 'n3']);
    try {
      mustMatch(await k(['get', 'node', 'n3']), /^n3\s+Ready,SchedulingDisabled\s/m);
    } finally {
      await k(['uncordon', 'n3']);
    }
  });

  it('deletes by file, and the namespace with all that is in it', async () => {
    mustMatch(await k(['delete', '-f', manifest]), /^deployment\.apps "web" deleted/m);
    await until('the pods of the deployment gone or going', async () => {
      const left = await k(['get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].metadata.deletionTimestamp}']);
      const names = (await k(['get', 'pods', '-l', 'app=web', '-o', 'name'])).stdout.trim();
      return names === '' || left.stdout.split(' ').length === names.split('\n').length;
    });
    await k(['delete', 'pod', 'talker', '--grace-period=0', '--force']);
    await k(['delete', 'namespace', ns, '--timeout=60s'], { timeoutMs: 65_000 });
    mustFail(await k(['get', 'namespace', ns], { check: false }), /not found/);
  });
});
