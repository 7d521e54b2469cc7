import { readFileSync } from 'node:fs';
import { type KubeObject, parseYamlDocuments, StatusError } from '@weft/kube';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkFields, gvkType, resources, type TypeExpr, typeOf } from '../../src/schema/index.ts';
import { type Body, type Outcome, Steps } from './helpers.ts';

/** Texts that mean something somewhere, so that branches behind enumerations and formats are reached. */
const WORDS = [
  '',
  'a',
  'None',
  'ClusterIP',
  'NodePort',
  'LoadBalancer',
  'ExternalName',
  'TCP',
  'UDP',
  'IPv4',
  'IPv6',
  'Always',
  'Never',
  'RollingUpdate',
  'Recreate',
  'Exists',
  'In',
  '25%',
  '10.96.0.7',
  'fd00::1',
  '10.0.0.0/8',
  'Local',
  'Cluster',
  'ClientIP',
  'Prefix',
  '/x',
  'a/b',
  'RequireDualStack',
  'PreferDualStack',
  'SingleStack',
  '*/5 * * * *',
  '* * *',
  '\u{1F600}',
  '-',
  '__proto__',
  'constructor',
];

/** Any JSON that Go would decode into the type: every field may be there or not. */
function valueOf(expr: TypeExpr, depth: number): fc.Arbitrary<unknown> {
  switch (expr.kind) {
    case 'string':
      return fc.constantFrom(...WORDS);
    case 'boolean':
      return fc.boolean();
    case 'int32':
    case 'int64':
    case 'double':
      return fc.constantFrom(-1, 0, 1, 80, 30080, 65536, 2 ** 31 - 1);
    case 'bytes':
      return fc.constantFrom('', 'eA==');
    case 'int-or-string':
      return fc.constantFrom<number | string>(0, 80, -1, 'http', '50%', '');
    case 'object':
    case 'any':
      return fc.constantFrom({}, { type: 'object' });
    case 'array':
      return fc.array(valueOf(expr.of, depth), { maxLength: depth > 0 ? 2 : 0 });
    case 'map':
      return fc.dictionary(fc.constantFrom(...WORDS), valueOf(expr.of, depth), { maxKeys: 2 });
    case 'ref':
      return typeValue(expr.type, depth - 1);
  }
}

function typeValue(name: string, depth: number): fc.Arbitrary<unknown> {
  const short = name.slice(name.lastIndexOf('.') + 1);
  if (short === 'Quantity') return fc.constantFrom('0', '1', '100m', '1Gi', '-1');
  if (short === 'Time' || short === 'MicroTime') return fc.constant('2026-01-01T00:00:00Z');
  const type = typeOf(name);
  if (type?.fields === undefined) return type?.alias === undefined ? fc.constant({}) : valueOf(type.alias, depth);
  if (depth < 0) return fc.constant({});
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [key, field] of type.fields) fields[key] = valueOf(field.expr, depth);
  return fc.record(fields, { requiredKeys: [] });
}

/** A strategy may also refuse by throwing a Status. */
function refusable(step: () => Outcome<KubeObject>): Outcome<KubeObject> {
  try {
    return step();
  } catch (error) {
    if (error instanceof StatusError) return { obj: { metadata: { name: '' } }, errors: [error.message] };
    throw error;
  }
}

/** Only what was accepted is stored, and so printed, selected and deleted. */
function use(steps: Steps, id: string, obj: KubeObject): void {
  steps.row(id, obj as unknown as Body);
  const strategy = steps.strategy(id);
  for (const field of Object.values(strategy.selectableFields ?? {})) expect(typeof field(obj)).toBe('string');
  strategy.warnings?.(obj, undefined);
  strategy.gracefulDelete?.(obj, undefined);
  strategy.release?.(obj);
}

const metadata = { name: 'x', namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z' };
const written = resources.filter((r) => r.verbs.includes('update'));

describe('whatever a client sends', () => {
  it.each(written.map((r) => [`${r.group}/${r.plural}`, r] as const))(
    '%s is refused or accepted, never a crash',
    (id, r) => {
      const name = gvkType(r.group, r.version, r.kind) ?? '';
      const object = typeValue(name, 6).map((value) => ({
        ...(value as Body),
        metadata,
      }));
      fc.assert(
        fc.property(object, object, (first, second) => {
          expect(checkFields(name, first, 'Strict')).toEqual({ unknown: [], typeErrors: [] });
          const steps = new Steps();
          const { obj, errors } = refusable(() => steps.create(id, first));
          if (errors.length > 0) return;
          steps.update(id, obj, second);
          use(steps, id, obj);
        }),
        { numRuns: 60 },
      );
    },
  );

  const text = readFileSync(new URL('fixtures/seeds.yaml', import.meta.url), 'utf8');
  const samples = new Map<string, Body & { kind: string }>();
  beforeAll(async () => {
    for (const manifest of (await parseYamlDocuments(text)) as (Body & { kind: string })[]) {
      samples.set(manifest.kind, manifest);
    }
  });

  const kinds = ['Service', 'Deployment', 'DaemonSet', 'Pod', 'Ingress', 'NetworkPolicy', 'EndpointSlice', 'Endpoints'];
  it.each(written.filter((r) => kinds.includes(r.kind)).map((r) => [`${r.group}/${r.plural}`, r] as const))(
    'a %s that is fine but for some fields is updated or refused',
    (id, r) => {
      const sample = samples.get(r.kind) as Body;
      const name = gvkType(r.group, r.version, r.kind) ?? '';
      const part = typeValue(name, 6).map((value) => value as { spec?: object; status?: object });
      fc.assert(
        fc.property(part, fc.infiniteStream(fc.integer({ min: 0, max: 3 })), ({ spec, status, ...rest }, dice) => {
          const chosen = (fields: object): object =>
            Object.fromEntries(Object.entries(fields).filter(() => dice.next().value === 0));
          const body: Body = {
            ...sample,
            ...chosen(rest),
            metadata,
            status: status ?? {},
            ...(sample.spec === undefined ? {} : { spec: { ...(sample.spec as object), ...chosen(spec ?? {}) } }),
          };
          const steps = new Steps({ serviceCidrs: ['10.96.0.0/16', 'fd00::/112'] });
          const old = steps.create(id, { ...sample, metadata });
          expect(old.errors).toEqual([]);
          const { obj, errors } = steps.update(id, old.obj, body);
          if (errors.length === 0) use(steps, id, { ...obj, status } as KubeObject);
        }),
        { numRuns: 200 },
      );
    },
  );
});
