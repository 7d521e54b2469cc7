import { createHash } from 'node:crypto';
import type { Resource } from '../registry/resource.ts';
import { isRecord } from '../registry/json.ts';

const GVK = 'x-kubernetes-group-version-kind';

/** The OpenAPI v3 document of one group and version of custom resources, and its hash. */
export function customOpenapi(resources: readonly Resource[]): { document: Buffer; hash: string } {
  const paths: Record<string, unknown> = {};
  const schemas: Record<string, unknown> = {};
  for (const { api, custom } of resources) {
    const gvk = { group: api.group, kind: api.kind, version: api.version };
    const name = `${api.group.split('.').reverse().join('.')}.${api.version}.${api.kind}`;
    const schema = isRecord(custom?.schema) ? custom.schema : {};
    schemas[name] = {
      ...schema,
      type: 'object',
      properties: { apiVersion: STRING, kind: STRING, metadata: { type: 'object' }, ...properties(schema) },
      [GVK]: [gvk],
    };
    const scope = api.namespaced ? '/namespaces/{namespace}' : '';
    const path = `/apis/${api.group}/${api.version}${scope}/${api.plural}`;
    const parameters = ['dryRun', 'fieldManager', 'fieldValidation'].map(queryParameter);
    const answer = {
      responses: {
        '200': {
          description: 'OK',
          content: { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } },
        },
      },
    };
    const operation = (action: string, more: object = {}): object => ({
      'x-kubernetes-action': action,
      [GVK]: gvk,
      ...more,
      ...answer,
    });
    paths[path] = { get: operation('list'), post: operation('post', { parameters }) };
    paths[`${path}/{name}`] = {
      get: operation('get'),
      put: operation('put', { parameters }),
      patch: operation('patch', { parameters: [...parameters, queryParameter('force')] }),
      delete: operation('delete'),
    };
  }
  const document = Buffer.from(
    JSON.stringify({
      openapi: '3.0.0',
      info: { title: 'Kubernetes CRD Swagger', version: 'v0.1.0' },
      paths,
      components: { schemas },
    }),
  );
  const hash = createHash('sha256').update(document).digest('hex').slice(0, 32).toUpperCase();
  return { document, hash };
}

const STRING = { type: 'string' };

function properties(schema: Record<string, unknown>): Record<string, unknown> {
  if (!isRecord(schema.properties)) return {};
  const { metadata: _, ...rest } = schema.properties;
  return rest;
}

function queryParameter(name: string): object {
  return { name, in: 'query', schema: { type: name === 'force' ? 'boolean' : 'string', uniqueItems: true } };
}
