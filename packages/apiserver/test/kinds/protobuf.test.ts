import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFields, decodeProtobuf } from '../../src/schema/index.ts';
import { CaptureServer, kubectlPath, typeNameOf } from './capture-server.ts';

interface Fixture {
  readonly command: string;
  /** Body that kubectl 1.33 sent, in base64. */
  readonly body: string;
  readonly object: Record<string, unknown>;
}

const fixtures = JSON.parse(
  readFileSync(new URL('fixtures/kubectl-1.33-protobuf.json', import.meta.url), 'utf8'),
) as Fixture[];
const bodyOf = (command: string): Buffer =>
  Buffer.from(fixtures.find((f) => f.command.startsWith(`kubectl ${command}`))?.body ?? '', 'base64');

describe('decodeProtobuf', () => {
  it.each(fixtures)('reads the body of $command', ({ body, object }) => {
    expect(decodeProtobuf(Buffer.from(body, 'base64'))).toEqual(object);
  });

  it.each(fixtures)('makes an object of the published schema from $command', ({ body }) => {
    const object = decodeProtobuf(Buffer.from(body, 'base64'));
    expect(checkFields(typeNameOf(object) ?? '', object, 'Strict')).toEqual({ unknown: [], typeErrors: [] });
  });

  it('keeps a zero that somebody said, and drops those that only fill the message', () => {
    const { spec } = decodeProtobuf(bodyOf('create deployment')) as unknown as { spec: Record<string, unknown> };
    expect(spec).toEqual({
      replicas: 0,
      selector: { matchLabels: { app: 'web' } },
      strategy: {},
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [
            {
              name: 'nginx',
              image: 'nginx:1.27',
              command: ['sleep', '5'],
              ports: [{ containerPort: 80 }],
              resources: {},
            },
          ],
        },
      },
    });
  });

  it('shows embedded messages, numbers-or-names, bytes and quantities as JSON does', () => {
    expect(decodeProtobuf(bodyOf('create ingress'))).toMatchObject({
      spec: { rules: [{ host: 'foo.com', http: { paths: [{ path: '/bar', pathType: 'Prefix' }] } }] },
    });
    expect(decodeProtobuf(bodyOf('create service nodeport'))).toMatchObject({
      spec: { ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }] },
    });
    expect(decodeProtobuf(bodyOf('create secret'))).toMatchObject({ data: { p: 'dw==' } });
    expect(decodeProtobuf(bodyOf('create quota'))).toMatchObject({ spec: { hard: { cpu: '1', memory: '1G' } } });
    expect(decodeProtobuf(bodyOf('create configmap'))).toMatchObject({ data: { a: '1', b: '' } });
  });

  it('refuses what is not such a message', () => {
    const refused = expect.objectContaining({ code: 'BAD_PROTOBUF' });
    for (const bad of [Buffer.from('{"kind":"Pod"}'), Buffer.alloc(0), Buffer.from('k8s\0')]) {
      expect(() => decodeProtobuf(bad)).toThrow(refused as Error);
    }
  });

  it('never fails otherwise than by refusing, whatever is cut off or flipped', () => {
    const whole = bodyOf('create deployment');
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const damaged = Buffer.from(cut ? whole.subarray(0, at) : whole);
        if (!cut) damaged[at] = byte;
        try {
          decodeProtobuf(damaged);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_PROTOBUF' });
        }
      }),
    );
  });
});

const kubectl = kubectlPath('1.33');

describe.skipIf(kubectl === undefined)('real kubectl 1.33', () => {
  const server = new CaptureServer();
  beforeAll(() => server.start());
  afterAll(() => server.stop());

  it('sends what the fixtures say, and takes the decoded object back', async () => {
    server.respond = (request) => decodeProtobuf(request.body);
    const out = await server.kubectl(kubectl ?? '', 'create', 'service', 'clusterip', 'db', '--tcp=5432:5432');
    expect(out).toBe('service/db created\n');
    expect(server.captured.at(-1)?.contentType).toBe('application/vnd.kubernetes.protobuf');
    expect(server.captured.at(-1)?.body).toEqual(bodyOf('create service clusterip db'));
  });

  it('explains fields from our OpenAPI documents', async () => {
    const out = await server.kubectl(kubectl ?? '', 'explain', 'service.spec.ports');
    expect(out).toContain('FIELD: ports <[]ServicePort>');
    expect(out).toMatch(/port\t<integer> -required-\n\s+Port on the Service's addresses\./);
    expect(out).toContain('targetPort\t<IntOrString>');
  });

  it('applies with the patch keys of our OpenAPI documents', async () => {
    const manifest = new URL('fixtures/deployment.json', import.meta.url).pathname;
    const applied = JSON.parse(readFileSync(manifest, 'utf8')) as { metadata: object; spec: object };
    const path = '/apis/apps/v1/namespaces/default/deployments/web';
    const container = { name: 'sidecar', image: 'busybox' };
    const last = JSON.stringify(applied);
    server.objects.set(path, {
      ...applied,
      metadata: { ...applied.metadata, annotations: { 'kubectl.kubernetes.io/last-applied-configuration': last } },
      spec: { replicas: 1, selector: {}, template: { spec: { containers: [container] } } },
    });
    server.respond = () => applied;
    const out = await server.kubectl(kubectl ?? '', 'apply', '-f', manifest);
    expect(out).toBe('deployment.apps/web configured\n');
    const patch = server.captured.at(-1);
    expect(patch).toMatchObject({ method: 'PATCH', path, contentType: 'application/strategic-merge-patch+json' });
    // Containers merge by name: a client without our patch keys would send the whole list without the order.
    const body = JSON.parse(patch?.body.toString() ?? '') as { spec: { template: { spec: Record<string, unknown> } } };
    expect(body.spec.template.spec['$setElementOrder/containers']).toEqual([{ name: 'web' }]);
  });
});
