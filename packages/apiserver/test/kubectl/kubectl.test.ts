import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { deployment, type Parsed, TestServer } from '../support/server.ts';
import { Kubectl, kubectls } from './kubectl.ts';

// Each command is a process of its own, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer({ listen: { host: '127.0.0.1', port: 0 } }).start();
});
afterAll(() => server.stop());

it('there is a kubectl to test with', () => {
  expect([...kubectls.keys()]).not.toHaveLength(0);
});

describe.each([...kubectls])('kubectl %s', (version, path) => {
  const ns = `v${version.replace('.', '-')}`;
  let k: Kubectl;
  beforeAll(async () => {
    k = new Kubectl(path, server.server.kubeconfig({ name: 'test', namespace: ns }));
    await k.ok(`create namespace ${ns}`);
  });
  afterAll(async () => {
    await k.ok(`delete namespace ${ns}`);
    k.remove();
  });

  it('creates one of each, typed (protobuf from 1.32 on)', async () => {
    expect(await k.ok('create deployment web --image=nginx --replicas=2')).toBe('deployment.apps/web created');
    expect(await k.ok('expose deployment web --port=80')).toBe('service/web exposed');
    expect(await k.ok('create service nodeport np --tcp=80:8080')).toBe('service/np created');
    expect(await k.ok('create configmap cm --from-literal=a=b')).toBe('configmap/cm created');
    expect(await k.ok('create secret generic s --from-literal=a=b')).toBe('secret/s created');
    expect(await k.ok('create ingress i --rule=a.example/*=web:80')).toBe('ingress.networking.k8s.io/i created');
    expect(await k.ok('create job j --image=busybox')).toBe('job.batch/j created');
    expect(await k.ok('create serviceaccount sa')).toBe('serviceaccount/sa created');
    expect(await k.ok('run p --image=nginx')).toBe('pod/p created');
    expect(await k.ok("get secret s -o 'jsonpath={.data.a}'")).toBe('Yg==');
    expect(await k.ok("get service np -o 'jsonpath={.spec.ports[0].nodePort}'")).toMatch(/^3\d{4}$/);
    const again = await k.run('create configmap cm');
    expect(again.err).toBe('error: failed to create configmap: configmaps "cm" already exists\n');
  });

  it('gets in every form', async () => {
    expect((await k.ok('get pods')).split(/\s+/).slice(0, 5)).toEqual(['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE']);
    expect(await k.ok('get pods -o wide')).toContain('NOMINATED NODE');
    expect(await k.ok('get pods -o name')).toBe('pod/p');
    expect(await k.ok('get pods -l run=p --show-labels --no-headers')).toContain('run=p');
    expect(await k.ok('get pods --sort-by=.metadata.name --no-headers')).toMatch(/^p /);
    expect(await k.ok('get all')).toContain('deployment.apps/web');
    expect(await k.ok('get ns')).toContain('kube-system');
    expect(JSON.parse(await k.ok('get service web -o json')).spec.selector).toEqual({ app: 'web' });
    expect(await k.ok('get service web -o yaml')).toContain('clusterIP: 10.96.');
    expect(
      await k.ok("get pods --field-selector=metadata.name=p -o 'custom-columns=N:.metadata.name' --no-headers"),
    ).toBe('p');
    expect((await k.run('get pod nothing')).err).toBe('Error from server (NotFound): pods "nothing" not found\n');
  });

  it('describes and explains', async () => {
    expect(await k.ok('describe pod p')).toContain('Service Account:  default');
    expect(await k.ok('describe service web')).toMatch(/Selector:\s+app=web/);
    expect(await k.ok('describe deployment web')).toMatch(/Replicas:\s+2 desired/);
    expect(await k.ok('explain deployment.spec.replicas')).toContain('replicas <integer>');
    expect(await k.ok('api-resources')).toMatch(/deployments\s+deploy\s+apps\/v1\s+true\s+Deployment/);
    expect(await k.ok('api-versions')).toContain('networking.k8s.io/v1');
    expect(await k.ok('version')).toContain('+weft');
  });

  it('changes objects', async () => {
    expect(await k.ok('scale deployment web --replicas=4')).toBe('deployment.apps/web scaled');
    expect(await k.ok('label pod p tier=front')).toBe('pod/p labeled');
    expect(await k.ok('annotate pod p note=x')).toMatch(/^pod\/p annotated?$/);
    expect(await k.ok('set image deployment/web nginx=nginx:2')).toBe('deployment.apps/web image updated');
    expect(await k.ok('rollout restart deployment web')).toBe('deployment.apps/web restarted');
    expect(await k.ok(`patch service web -p '{"spec":{"type":"NodePort"}}'`)).toBe('service/web patched');
    const web = JSON.parse(await k.ok('get deployment web -o json')) as Parsed;
    expect(web.spec.replicas).toBe(4);
    expect(web.spec.template.spec.containers[0].image).toBe('nginx:2');
    const bad = await k.run(`patch deployment web -p '{"spec":{"selector":{"matchLabels":{"x":"y"}}}}'`);
    expect(bad.err).toMatch(/^The Deployment "web" is invalid:/);
  });

  it('applies, tells what is unchanged, and shows differences', async () => {
    const file = k.file('d.json', deployment('ap', 2));
    expect(await k.ok(`apply -f ${file}`)).toBe('deployment.apps/ap created');
    expect(await k.ok(`apply -f ${file}`)).toBe('deployment.apps/ap unchanged');
    expect((await k.run(`diff -f ${file}`)).code).toBe(0);
    k.file('d.json', deployment('ap', 3));
    const diff = await k.run(`diff -f ${file}`);
    expect(diff.code).toBe(1);
    expect(diff.out).toMatch(/-\s+replicas: 2\n\+\s+replicas: 3/);
    expect(await k.ok(`apply -f ${file}`)).toBe('deployment.apps/ap configured');
    expect(await k.ok(`apply --server-side --force-conflicts -f ${file}`)).toBe(
      'deployment.apps/ap serverside-applied',
    );
    expect(await k.ok(`apply --server-side -f ${file}`)).toBe('deployment.apps/ap serverside-applied');
    expect(await k.ok(`replace -f ${file}`)).toBe('deployment.apps/ap replaced');
    const unknown = k.file('u.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: u}\ndatta: {a: b}\n');
    expect((await k.run(`apply -f ${unknown}`)).err).toContain(
      'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datta"',
    );
    expect(await k.ok(`apply --validate=false -f ${unknown}`)).toBe('configmap/u created');
  });

  it('watches and waits', async () => {
    const watch = k.start('get configmaps -w -o name');
    await watch.line('configmap/cm');
    await k.ok('create configmap fresh');
    await watch.line('configmap/fresh');
    await watch.kill();

    const fresh = `/api/v1/namespaces/${ns}/configmaps/fresh`;
    await server.patch(fresh, { metadata: { finalizers: ['weft.test/hold'] } });
    const deleting = k.run('delete configmap fresh');
    while ((await server.get(fresh)).body.metadata.deletionTimestamp === undefined);
    await server.patch(fresh, { metadata: { finalizers: null } });
    expect((await deleting).code).toBe(0);
    await server.patch(`/apis/apps/v1/namespaces/${ns}/deployments/web/status`, {
      status: { conditions: [{ type: 'Available', status: 'True' }] },
    });
    expect(await k.ok('wait --for=condition=Available deployment/web --timeout=30s')).toBe(
      'deployment.apps/web condition met',
    );
  });

  it('asks who may do what, and for tokens', async () => {
    expect(await k.ok('auth can-i create pods')).toBe('yes');
    expect((await k.ok('create token sa')).split('.')).toHaveLength(3);
    expect(await k.ok('cluster-info')).toContain(server.server.url as string);
  });

  it('deletes', async () => {
    expect(await k.ok('delete pod p --now')).toContain('pod "p" deleted');
    expect(await k.ok('delete deployment --all')).toContain('deployment.apps "web" deleted');
    expect(await k.ok('delete service np --cascade=background')).toContain('service "np" deleted');
    expect((await k.run('get deployments')).err).toContain('No resources found');
  });
});
