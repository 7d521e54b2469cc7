// What a kubelet does for pods, and what happens to them when their node goes.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustFail, mustMatch, until } from './support/run.ts';
import {
  box,
  isReady,
  NODE_IMAGE,
  type PodInfo,
  pod,
  pods,
  readyPods,
  service,
  waitReady,
} from './support/workloads.ts';

const cluster = useCluster({ name: 'pods', flags: ['--no-demo'] });

const one = async (name: string): Promise<PodInfo> => cluster.json<PodInfo>(['get', 'pod', name]);
const restarts = async (name: string): Promise<number> =>
  (await one(name)).status.containerStatuses?.[0]?.restartCount ?? 0;
const container = (command: readonly string[], more: object = {}): object => ({
  name: 'c',
  image: 'busybox',
  imagePullPolicy: 'IfNotPresent',
  command: [...command],
  ...more,
});
const sh = (script: string, more: object = {}): object => container(['sh', '-c', script], more);
const SLEEP = 'trap "exit 0" TERM; sleep 86400 & wait';

describe('the life of a pod', () => {
  it('restarts by its policy', async () => {
    await cluster.apply([
      pod('never-ok', { restartPolicy: 'Never', containers: [sh('exit 0')] }),
      pod('never-bad', { restartPolicy: 'Never', containers: [sh('exit 4')] }),
      pod('on-failure', {
        restartPolicy: 'OnFailure',
        containers: [
          sh('[ -e /mark/x ] && exit 0; touch /mark/x; exit 1', { volumeMounts: [{ name: 'm', mountPath: '/mark' }] }),
        ],
        volumes: [{ name: 'm', emptyDir: {} }],
      }),
      pod('always', { restartPolicy: 'Always', terminationGracePeriodSeconds: 0, containers: [sh('sleep 1')] }),
    ]);
    await until('never-ok Succeeded', async () => (await one('never-ok')).status.phase === 'Succeeded');
    await until('never-bad Failed', async () => (await one('never-bad')).status.phase === 'Failed');
    expect((await one('never-bad')).status.containerStatuses?.[0]?.state['terminated']?.exitCode).toBe(4);
    mustMatch(
      await cluster.kubectl(['get', 'pod', 'never-ok', 'never-bad']),
      /^never-bad\s+0\/1\s+Error\s+0\s[^]*^never-ok\s+0\/1\s+Completed\s+0\s|^never-ok\s+0\/1\s+Completed\s+0\s[^]*^never-bad\s+0\/1\s+Error\s+0\s/m,
    );
    await until('on-failure Succeeded', async () => (await one('on-failure')).status.phase === 'Succeeded');
    expect(await restarts('on-failure')).toBe(1);
    await until('always restarted', async () => (await restarts('always')) > 0);
    await cluster.kubectl(['delete', 'pod', 'never-ok', 'never-bad', 'on-failure', 'always']);
  });

  it('ends gracefully: hook, signal, and a kill when the time is over', async () => {
    const hook = { preStop: { exec: { command: ['sh', '-c', 'echo hook >> /out/log'] } } };
    const script = 'trap "echo term >> /out/log; exit 0" TERM; while :; do sleep 0.1; done';
    const volumes = [{ name: 'out', emptyDir: {} }];
    const volumeMounts = [{ name: 'out', mountPath: '/out' }];
    await cluster.apply([
      pod('polite', {
        terminationGracePeriodSeconds: 20,
        containers: [
          { ...sh(script, { volumeMounts, lifecycle: hook }), name: 'c' },
          {
            ...sh('trap "" TERM; while :; do cat /out/log 2>/dev/null && sleep 1; sleep 0.1; done', { volumeMounts }),
            name: 'reader',
          },
        ],
        volumes,
      }),
      pod('stubborn', {
        terminationGracePeriodSeconds: 3,
        containers: [sh('trap "" TERM; while :; do sleep 0.1; done')],
      }),
    ]);
    await waitReady(cluster, 'polite', 'stubborn');
    const reader = cluster.background(cluster.kubectlArgv(['logs', '-f', 'polite', '-c', 'reader']));
    const began = Date.now();
    await cluster.kubectl(['delete', 'pod', 'polite', '--wait=false']);
    await reader.waitFor(/hook\nterm\n/);
    await reader.stop();
    await cluster.kubectl(['delete', 'pod', 'stubborn'], { timeoutMs: 30_000 });
    expect(Date.now() - began).toBeGreaterThanOrEqual(3_000);
    await cluster.kubectl(['delete', 'pod', 'polite', '--force', '--grace-period=0']);
  });

  it('runs init containers one after the other, before the rest', async () => {
    const volumeMounts = [{ name: 'v', mountPath: '/v' }];
    await cluster.apply(
      pod('steps', {
        terminationGracePeriodSeconds: 0,
        initContainers: [
          { ...sh('sleep 0.5; echo first >> /v/log', { volumeMounts }), name: 'first' },
          { ...sh('echo second >> /v/log', { volumeMounts }), name: 'second' },
        ],
        containers: [sh(`echo main >> /v/log; ${SLEEP}`, { volumeMounts })],
        volumes: [{ name: 'v', emptyDir: {} }],
      }),
    );
    await waitReady(cluster, 'steps');
    await until(
      'the log',
      async () => (await cluster.ask(['exec', 'steps', '--', 'cat', '/v/log'])) === 'first\nsecond\nmain',
    );
    await cluster.apply(pod('stuck', { initContainers: [{ ...sh('exit 1'), name: 'i' }], containers: [sh(SLEEP)] }));
    await until('Init:', async () =>
      /^stuck\s+0\/1\s+Init:(Error|CrashLoopBackOff)\s/m.test((await cluster.kubectl(['get', 'pod', 'stuck'])).stdout),
    );
    await cluster.kubectl(['delete', 'pod', 'steps', 'stuck']);
  });

  it('shares one network, and with emptyDir files, between the containers of a pod', async () => {
    const volumeMounts = [{ name: 'v', mountPath: '/v' }];
    await cluster.apply(
      pod('pair', {
        terminationGracePeriodSeconds: 0,
        containers: [
          { ...sh('echo shared > /v/index.html; exec httpd -f -p 8000 -h /v', { volumeMounts }), name: 'server' },
          { ...sh(SLEEP, { volumeMounts }), name: 'client' },
        ],
        volumes: [{ name: 'v', emptyDir: {} }],
      }),
    );
    await waitReady(cluster, 'pair');
    expect(await cluster.ask(['exec', 'pair', '-c', 'client', '--', 'wget', '-qO-', 'http://127.0.0.1:8000/'])).toBe(
      'shared',
    );
    expect(await cluster.ask(['exec', 'pair', '-c', 'client', '--', 'cat', '/v/index.html'])).toBe('shared');
    mustMatch(await cluster.kubectl(['get', 'pod', 'pair']), /^pair\s+2\/2\s+Running\s/m);
    await cluster.kubectl(['delete', 'pod', 'pair']);
  });

  it('uses the network of the node when asked to', async () => {
    await cluster.apply(box('noded', { node: 'n2', spec: { hostNetwork: true, terminationGracePeriodSeconds: 0 } }));
    await waitReady(cluster, 'noded');
    const info = await one('noded');
    expect(info.status.podIP).toBe(cluster.nodeAddress('n2'));
    expect(info.status.podIP).toBe(info.status.hostIP);
    mustMatch(
      await cluster.kubectl(['exec', 'noded', '--', 'ip', 'addr', 'show', 'eth0']),
      new RegExp(`inet ${cluster.nodeAddress('n2').replaceAll('.', '\\.')}/`),
    );
    await cluster.kubectl(['delete', 'pod', 'noded']);
  });
});

describe('probes', () => {
  const probe = { periodSeconds: 1, failureThreshold: 1 };

  it('readiness decides who is an endpoint: by command, HTTP and TCP', async () => {
    const server = 'mkdir -p /www; httpd -p 8000 -h /www; ';
    const ready = { app: 'probed' };
    await cluster.apply([
      service('probed', { selector: ready, ports: [{ port: 80, targetPort: 8000 }] }),
      pod(
        'by-exec',
        {
          terminationGracePeriodSeconds: 0,
          containers: [sh(SLEEP, { readinessProbe: { ...probe, exec: { command: ['test', '-e', '/tmp/ok'] } } })],
        },
        { labels: ready },
      ),
      pod(
        'by-http',
        {
          terminationGracePeriodSeconds: 0,
          containers: [sh(server + SLEEP, { readinessProbe: { ...probe, httpGet: { path: '/ok', port: 8000 } } })],
        },
        { labels: ready },
      ),
      pod(
        'by-tcp',
        {
          terminationGracePeriodSeconds: 0,
          containers: [sh(`sleep 2; ${server}${SLEEP}`, { readinessProbe: { ...probe, tcpSocket: { port: 8000 } } })],
        },
        { labels: ready },
      ),
    ]);
    const endpoints = async (): Promise<string[]> =>
      (await cluster.ask(['get', 'endpoints', 'probed', '-o', 'jsonpath={.subsets[*].addresses[*].targetRef.name}']))
        .split(' ')
        .filter(Boolean)
        .sort();
    await until('the TCP one is ready', async () => isReady(await one('by-tcp')));
    expect(isReady(await one('by-exec'))).toBe(false);
    expect(isReady(await one('by-http'))).toBe(false);
    await until('one endpoint', async () => (await endpoints()).join() === 'by-tcp');
    await cluster.kubectl(['exec', 'by-exec', '--', 'touch', '/tmp/ok']);
    await cluster.kubectl(['exec', 'by-http', '--', 'touch', '/www/ok']);
    await until('all are endpoints', async () => (await endpoints()).join() === 'by-exec,by-http,by-tcp');
    await cluster.kubectl(['exec', 'by-exec', '--', 'rm', '/tmp/ok']);
    await until('one left', async () => (await endpoints()).join() === 'by-http,by-tcp');
    mustMatch(await cluster.kubectl(['describe', 'pod', 'by-exec']), /Warning\s+Unhealthy .*Readiness probe failed/);
    await cluster.kubectl(['delete', 'pod', 'by-exec', 'by-http', 'by-tcp']);
  });

  it('liveness restarts, startup holds it back', async () => {
    await cluster.apply([
      pod('fading', {
        terminationGracePeriodSeconds: 0,
        containers: [
          sh(`touch /tmp/ok; ${SLEEP}`, { livenessProbe: { ...probe, exec: { command: ['test', '-e', '/tmp/ok'] } } }),
        ],
      }),
      pod('slow', {
        terminationGracePeriodSeconds: 0,
        containers: [
          sh(`sleep 4; touch /tmp/ok; ${SLEEP}`, {
            startupProbe: { exec: { command: ['test', '-e', '/tmp/ok'] }, periodSeconds: 1, failureThreshold: 30 },
            livenessProbe: { ...probe, exec: { command: ['test', '-e', '/tmp/ok'] } },
          }),
        ],
      }),
    ]);
    await waitReady(cluster, 'fading', 'slow');
    expect(await restarts('slow')).toBe(0);
    await cluster.kubectl(['exec', 'fading', '--', 'rm', '/tmp/ok']);
    await until('a restart', async () => (await restarts('fading')) === 1);
    mustMatch(
      await cluster.kubectl(['describe', 'pod', 'fading']),
      /Liveness probe failed[^]*failed liveness probe, will be restarted/,
    );
    await cluster.kubectl(['delete', 'pod', 'fading', 'slow']);
  });
});

describe('what a pod is told', () => {
  it('environment: values, fields, ConfigMaps, Secrets, Services, expansion', async () => {
    await cluster.kubectl(['create', 'configmap', 'conf', '--from-literal=colour=blue', '--from-literal=size=9']);
    await cluster.kubectl(['create', 'secret', 'generic', 'keys', '--from-literal=pass=s3cret']);
    await cluster.apply(service('neighbour', { selector: { a: 'b' }, ports: [{ port: 77 }] }));
    const env = [
      { name: 'PLAIN', value: 'yes' },
      { name: 'TOGETHER', value: '$(PLAIN)-$(NODE)-$$(PLAIN)' },
      { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'conf', key: 'colour' } } },
      { name: 'PASS', valueFrom: { secretKeyRef: { name: 'keys', key: 'pass' } } },
      { name: 'MAYBE', valueFrom: { secretKeyRef: { name: 'none', key: 'none', optional: true } } },
      { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'LABEL', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    ];
    const ordered = [
      env[0],
      { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      ...env.slice(1),
    ];
    const envFrom = [{ prefix: 'CONF_', configMapRef: { name: 'conf' } }];
    await cluster.apply(
      pod(
        'told',
        { terminationGracePeriodSeconds: 0, containers: [sh(SLEEP, { env: ordered, envFrom })] },
        { labels: { app: 'told' } },
      ),
    );
    await waitReady(cluster, 'told');
    const { spec, status } = await one('told');
    const lines = (await cluster.ask(['exec', 'told', '--', 'env'])).split('\n');
    const node = spec.nodeName ?? '';
    for (const line of [
      'PLAIN=yes',
      `TOGETHER=yes-${node}-$(PLAIN)`,
      'COLOUR=blue',
      'PASS=s3cret',
      'NAME=told',
      'LABEL=told',
      `IP=${status.podIP}`,
      'CONF_colour=blue',
      'CONF_size=9',
      'NEIGHBOUR_SERVICE_PORT=77',
      'HOSTNAME=told',
    ])
      expect(lines).toContain(line);
    expect(lines.some((l) => l.startsWith('MAYBE='))).toBe(false);
    expect(lines.some((l) => l.startsWith('KUBERNETES_SERVICE_HOST=10.'))).toBe(true);
    await cluster.kubectl(['delete', 'pod', 'told']);
  });

  it('files: ConfigMaps, Secrets, the downward API, and their changes while it runs', async () => {
    await cluster.kubectl(['create', 'configmap', 'files', '--from-literal=a=one', '--from-literal=b=two']);
    await cluster.kubectl(['create', 'secret', 'generic', 'hidden', '--from-literal=key=value']);
    const volumes = [
      { name: 'all', configMap: { name: 'files' } },
      { name: 'some', configMap: { name: 'files', items: [{ key: 'b', path: 'deep/renamed' }], defaultMode: 0o400 } },
      { name: 'secret', secret: { secretName: 'hidden' } },
      { name: 'self', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
    ];
    const volumeMounts = [
      { name: 'all', mountPath: '/all' },
      { name: 'some', mountPath: '/some' },
      { name: 'secret', mountPath: '/secret', readOnly: true },
      { name: 'self', mountPath: '/self' },
      { name: 'all', mountPath: '/single', subPath: 'a' },
    ];
    await cluster.apply(
      pod(
        'reader',
        { terminationGracePeriodSeconds: 0, containers: [sh(SLEEP, { volumeMounts })], volumes },
        { labels: { app: 'reader' } },
      ),
    );
    await waitReady(cluster, 'reader');
    const cat = (file: string): Promise<string> => cluster.ask(['exec', 'reader', '--', 'cat', file]);
    expect(await cat('/all/a')).toBe('one');
    expect(await cat('/some/deep/renamed')).toBe('two');
    expect(await cat('/secret/key')).toBe('value');
    expect(await cat('/self/labels')).toBe('app="reader"');
    expect(await cat('/single')).toBe('one');
    expect(await cluster.ask(['exec', 'reader', '--', 'stat', '-Lc', '%a', '/some/deep/renamed'])).toBe('400');
    mustFail(
      await cluster.kubectl(['exec', 'reader', '--', 'touch', '/all/new'], { check: false }),
      /Read-only file system/,
    );
    await cluster.kubectl(['patch', 'cm', 'files', '-p', '{"data":{"a":"changed"}}']);
    await cluster.kubectl(['label', 'pod', 'reader', 'more=yes']);
    // A kubelet looks once a minute.
    await until('the change', async () => (await cat('/all/a')) === 'changed', { timeoutMs: 90_000 });
    await until('the label', async () => (await cat('/self/labels')).includes('more="yes"'), { timeoutMs: 90_000 });
    expect(await cat('/single')).toBe('one');
    await cluster.kubectl(['delete', 'pod', 'reader']);
  });

  it('hostname, hosts and resolver', async () => {
    const spec = {
      hostname: 'named',
      subdomain: 'sub',
      hostAliases: [{ ip: '192.0.2.77', hostnames: ['aliased'] }],
      dnsConfig: { options: [{ name: 'ndots', value: '2' }], searches: ['extra.test'] },
      setHostnameAsFQDN: false,
      terminationGracePeriodSeconds: 0,
    };
    await cluster.apply(box('identity', { spec: { ...spec, containers: [sh(SLEEP)] } }));
    await waitReady(cluster, 'identity');
    expect(await cluster.ask(['exec', 'identity', '--', 'hostname'])).toBe('named');
    const hosts = await cluster.ask(['exec', 'identity', '--', 'cat', '/etc/hosts']);
    expect(hosts).toMatch(/^127\.0\.0\.1\s+localhost$/m);
    expect(hosts).toMatch(/^10(\.\d+){3}\s+named\.sub\.default\.svc\.cluster\.local\s+named$/m);
    expect(hosts).toMatch(/^192\.0\.2\.77\s+aliased$/m);
    const resolver = await cluster.ask(['exec', 'identity', '--', 'cat', '/etc/resolv.conf']);
    expect(resolver).toMatch(/^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local extra\.test$/m);
    expect(resolver).toMatch(/^options ndots:2$/m);
    await cluster.kubectl(['delete', 'pod', 'identity']);
  });

  it('user, groups and working directory', async () => {
    const spec = {
      terminationGracePeriodSeconds: 0,
      securityContext: {
        runAsUser: 1234,
        runAsGroup: 2345,
        fsGroup: 3456,
        sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '1' }],
      },
      containers: [sh(SLEEP, { workingDir: '/tmp' })],
    };
    await cluster.apply(pod('someone', spec));
    await waitReady(cluster, 'someone');
    expect(await cluster.ask(['exec', 'someone', '--', 'sh', '-c', 'id -u; id -g; pwd'])).toBe('1234\n2345\n/tmp');
    await cluster.kubectl(['delete', 'pod', 'someone']);
  });

  it("as root of the machine when privileged, and no name of the host's control groups", async () => {
    const mask = 'grep CapBnd /proc/self/status; cat /proc/self/cgroup';
    await cluster.apply([
      pod('mighty', { restartPolicy: 'Never', containers: [sh(mask, { securityContext: { privileged: true } })] }),
      pod('modest', { restartPolicy: 'Never', containers: [sh(mask)] }),
    ]);
    for (const name of ['mighty', 'modest'])
      await until(`${name} done`, async () => (await one(name)).status.phase === 'Succeeded');
    const all = /CapBnd:\s*([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    const mighty = await cluster.ask(['logs', 'mighty']);
    const modest = await cluster.ask(['logs', 'modest']);
    expect(mighty).toContain(all);
    expect(modest).toContain('00000000a80425fb');
    for (const line of [mighty, modest].flatMap((text) => text.split('\n').slice(1))) expect(line).toMatch(/:\/$/);
    await cluster.kubectl(['delete', 'pod', 'mighty', 'modest']);
  });
});

describe('kubectl debug', () => {
  it('adds a container that sees the processes of another, and runs once', async () => {
    await cluster.apply(pod('patient', { terminationGracePeriodSeconds: 0, containers: [sh(SLEEP)] }));
    await waitReady(cluster, 'patient');
    const script = 'ps; hostname; sleep 1; exit 3';
    const command = [
      'debug',
      'patient',
      '--image=busybox',
      '--target=c',
      '--container=doctor',
      '--',
      'sh',
      '-c',
      script,
    ];
    await cluster.kubectl(command);
    const doctor = '{.status.ephemeralContainerStatuses[?(@.name=="doctor")]';
    await until(
      'the doctor gone',
      async () =>
        (await cluster.ask(['get', 'pod', 'patient', '-o', `jsonpath=${doctor}.state.terminated.exitCode}`])) === '3',
    );
    const seen = await cluster.ask(['logs', 'patient', '-c', 'doctor']);
    expect(seen).toMatch(/sh -c trap/);
    expect(seen).toMatch(/^patient$/m);
    const shown = await one('patient');
    expect(isReady(shown)).toBe(true);
    expect(await cluster.ask(['get', 'pod', 'patient', '-o', `jsonpath=${doctor}.restartCount}`])).toBe('0');
    await cluster.kubectl(['delete', 'pod', 'patient']);
  });

  it('has a terminal in it', async () => {
    await cluster.apply(pod('patient2', { terminationGracePeriodSeconds: 0, containers: [sh(SLEEP)] }));
    await waitReady(cluster, 'patient2');
    const terminal = cluster.terminal(cluster.kubectlArgv(['debug', '-it', 'patient2', '--image=busybox', '--', 'sh']));
    await terminal.waitFor(/[$#] /);
    terminal.send('echo $((40 + 2)); exit\n');
    await terminal.waitFor(/42/);
    expect(await terminal.ended()).toBe(0);
    await cluster.kubectl(['delete', 'pod', 'patient2']);
  });
});

describe('controllers of workloads', () => {
  it('rolls a Deployment over without a moment with too few, and back', async () => {
    const template = (version: string): object => ({
      metadata: { labels: { app: 'roll' } },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [sh(SLEEP, { env: [{ name: 'VERSION', value: version }] })],
      },
    });
    const deployment = (version: string): object => ({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'roll' },
      spec: {
        replicas: 3,
        selector: { matchLabels: { app: 'roll' } },
        strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
        template: template(version),
      },
    });
    const versions = async (): Promise<string> => {
      const found = await readyPods(cluster, 'app=roll', 3);
      return (
        await Promise.all(found.map((p) => cluster.ask(['exec', p.metadata.name, '--', 'sh', '-c', 'echo $VERSION'])))
      ).join();
    };
    const rolledOut = async (): Promise<void> => {
      await cluster.kubectl(['rollout', 'status', 'deployment/roll', '--timeout=60s'], { timeoutMs: 65_000 });
    };
    await cluster.apply(deployment('1'));
    await rolledOut();
    await cluster.apply(deployment('2'));
    await rolledOut();
    expect(await versions()).toBe('2,2,2');
    await cluster.kubectl(['rollout', 'undo', 'deployment/roll']);
    await rolledOut();
    await until('all of the first version', async () => (await versions()) === '1,1,1');
    // What belongs to it goes with it.
    await cluster.kubectl(['delete', 'deployment', 'roll']);
    await until(
      'nothing left',
      async () => (await cluster.ask(['get', 'rs,pods', '-l', 'app=roll', '-o', 'name'])) === '',
    );
  });

  it('brings back a pod of a ReplicaSet, and numbers those of a StatefulSet', async () => {
    await cluster.kubectl(['create', 'deployment', 'kept', '--image=busybox', '--replicas=2', '--', 'sleep', '86400']);
    const [first] = await readyPods(cluster, 'app=kept', 2);
    await cluster.kubectl(['delete', 'pod', first?.metadata.name ?? '', '--grace-period=0', '--force']);
    await until(
      'two again, without the first',
      async () => !(await readyPods(cluster, 'app=kept', 2)).some((p) => p.metadata.name === first?.metadata.name),
    );
    await cluster.apply([
      service('set', { clusterIP: 'None', selector: { app: 'set' }, ports: [{ port: 80 }] }),
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: 'set' },
        spec: {
          serviceName: 'set',
          replicas: 3,
          selector: { matchLabels: { app: 'set' } },
          template: {
            metadata: { labels: { app: 'set' } },
            spec: { terminationGracePeriodSeconds: 0, containers: [sh(SLEEP)] },
          },
        },
      },
    ]);
    const found = await readyPods(cluster, 'app=set', 3);
    expect(found.map((p) => p.metadata.name).sort()).toEqual(['set-0', 'set-1', 'set-2']);
    await cluster.kubectl(['scale', 'statefulset', 'set', '--replicas=1']);
    await until(
      'only the first',
      async () => (await cluster.ask(['get', 'pods', '-l', 'app=set', '-o', 'name'])) === 'pod/set-0',
    );
    await cluster.kubectl(['delete', 'statefulset/set', 'deployment/kept', '--wait=false']);
  });
});

describe('images', () => {
  it('made here have what tutorials type: wget with a limit', async () => {
    await cluster.apply(
      pod('hasty', {
        restartPolicy: 'Never',
        containers: [
          sh(`sleep 60 | nc -l -p 8000 >/dev/null & sleep 0.3
              wget -qO- --timeout=1 http://127.0.0.1:8000/; echo "late $?"
              printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello\\n' | nc -l -p 8001 >/dev/null & sleep 0.3
              wget -qO- -T 5 http://127.0.0.1:8001/; echo "done $?"; exit 0`),
        ],
      }),
    );
    await until('hasty done', async () => (await one('hasty')).status.phase === 'Succeeded');
    expect(await cluster.ask(['logs', 'hasty'])).toBe('wget: download timed out\nlate 1\nhello\ndone 0');
    await cluster.kubectl(['delete', 'pod', 'hasty']);
  });

  it('loads one from an archive', async () => {
    // A docker archive as `docker save` writes it, made here from what the machine has.
    const script = `
set -e
cd "$(mktemp -d)"
mkdir root && cp "$(command -v busybox)" root/busybox && tar -C root -cf layer.tar busybox
printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/busybox","sh","-c"],"Cmd":["echo loaded; exec /busybox sleep 86400"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$(sha256sum layer.tar | cut -d' ' -f1)" > config.json
printf '[{"Config":"config.json","RepoTags":["example.test/tool:v1"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf image.tar config.json manifest.json layer.tar
echo "$PWD"`;
    const dir = (await cluster.shell(script)).stdout.trim();
    mustMatch(await cluster.weft(['image', 'load', `${dir}/image.tar`]), /Loaded example\.test\/tool:v1/);
    await cluster.exec(['rm', '-r', dir]);
    mustMatch(await cluster.weft(['image', 'list']), /example\.test\/tool:v1/);
    await cluster.kubectl(['run', 'tool', '--image=example.test/tool:v1']);
    await waitReady(cluster, 'tool');
    expect(await cluster.ask(['logs', 'tool'])).toBe('loaded');
    await cluster.kubectl(['delete', 'pod', 'tool', '--grace-period=0', '--force']);
    mustFail(await cluster.weft(['image', 'load', '/no/such/file'], { check: false }), /NO_SUCH_FILE/);
  });
});

describe('a node that is switched off', () => {
  it('takes its pods out of the endpoints, and brings them back', async () => {
    await cluster.apply([
      {
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: { name: 'everywhere' },
        spec: {
          selector: { matchLabels: { app: 'everywhere' } },
          template: {
            metadata: { labels: { app: 'everywhere' } },
            spec: {
              terminationGracePeriodSeconds: 0,
              containers: [
                {
                  name: 'c',
                  image: NODE_IMAGE,
                  command: [
                    '/usr/local/bin/node',
                    '-e',
                    'require("http").createServer((q,r)=>r.end(require("os").hostname())).listen(80)',
                  ],
                  readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
                },
              ],
            },
          },
        },
      },
      service('everywhere', { selector: { app: 'everywhere' }, ports: [{ port: 80 }] }),
      box('asker', { node: 'n1' }),
    ]);
    const before = await readyPods(cluster, 'app=everywhere', 3);
    await waitReady(cluster, 'asker');
    const lost = before.find((p) => p.node === 'n3');
    const endpoints = async (): Promise<string[]> =>
      (await cluster.ask(['get', 'endpoints', 'everywhere', '-o', 'jsonpath={.subsets[*].addresses[*].ip}']))
        .split(' ')
        .filter(Boolean)
        .sort();
    await until('three endpoints', async () => (await endpoints()).length === 3);
    mustMatch(await cluster.weft(['node', 'stop', '--name', cluster.name, 'n3']), /Node n3 is off/);
    await until('NotReady', async () => /^n3\s+NotReady\s/m.test((await cluster.kubectl(['get', 'nodes'])).stdout));
    await until('two endpoints', async () => (await endpoints()).length === 2);
    expect(await endpoints()).not.toContain(lost?.ip);
    // Nobody is sent there any more.
    for (let i = 0; i < 10; i++) {
      const answer = await cluster.ask(['exec', 'asker', '--', 'timeout', '5', 'wget', '-qO-', 'http://everywhere/']);
      expect(before.filter((p) => p.node !== 'n3').map((p) => p.metadata.name)).toContain(answer);
    }
    mustFail(await cluster.node('n3', ['true'], { check: false }), /error \[NODE_OFF\]: node n3 is switched off/);
    mustMatch(await cluster.weft(['node', 'start', '--name', cluster.name, 'n3']), /Node n3 is starting/);
    await until('Ready', async () => /^n3\s+Ready\s/m.test((await cluster.kubectl(['get', 'nodes'])).stdout));
    await until('three endpoints again', async () => (await endpoints()).length === 3, { timeoutMs: 60_000 });
    const names = new Set((await pods(cluster, 'app=everywhere')).map((p) => p.metadata.name));
    const answered = new Set<string>();
    await until('an answer of each', async () => {
      answered.add(await cluster.ask(['exec', 'asker', '--', 'timeout', '5', 'wget', '-qO-', 'http://everywhere/']));
      return answered.size === names.size;
    });
  });

  it('says what is wrong with a name', async () => {
    mustFail(
      await cluster.weft(['node', 'stop', '--name', cluster.name, 'n9'], { check: false }),
      /error \[NO_SUCH_NODE\]: there is no node "n9"/,
    );
    mustFail(await cluster.node('x', ['true'], { check: false }), /error \[NO_SUCH_NODE\]/);
    const ran = await cluster.node('n1', ['sh', '-c', 'exit 9'], { check: false });
    expect(ran.code).toBe(9);
  });
});
