import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyMergePatch,
  applyStrategicMergePatch,
  type JsonObject,
  type PatchField,
  type PatchSchema,
} from '../src/index.ts';

const table: Record<string, Record<string, PatchField>> = {
  Deployment: { metadata: { type: 'ObjectMeta' }, spec: { type: 'Spec' } },
  ObjectMeta: { labels: { map: true }, finalizers: { list: true, strategy: ['merge'] } },
  Spec: {
    containers: { type: 'Container', list: true, mergeKey: 'name', strategy: ['merge'] },
    volumes: { type: 'Volume', list: true, mergeKey: 'name', strategy: ['merge', 'retainKeys'] },
    args: { list: true },
    strategy: { type: 'Strategy', strategy: ['retainKeys'] },
    whole: { type: 'Any', strategy: ['replace'] },
    byName: { type: 'Container', map: true },
    keyless: { type: 'Container', list: true, strategy: ['merge'] },
  },
  Container: { ports: { type: 'Port', list: true, mergeKey: 'port', strategy: ['merge'] }, command: { list: true } },
};
const schema: PatchSchema = { field: (type, name) => table[type]?.[name] };

const patchSpec = (original: JsonObject, patch: JsonObject): JsonObject => {
  const before = JSON.stringify([original, patch]);
  const result = applyStrategicMergePatch(original, patch, 'Spec', schema);
  expect(JSON.stringify([original, patch])).toBe(before);
  return result;
};
const names = (result: JsonObject, field = 'containers'): unknown =>
  (result[field] as JsonObject[]).map((item) => item['name']);
const c = (name: string, rest: JsonObject = {}): JsonObject => ({ name, ...rest });

describe('strategic merge patch', () => {
  it('is a merge patch where the schema knows no merged lists', () => {
    const value = fc.letrec<{ any: JsonObject[string]; object: JsonObject }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(null, 1, 'x'),
        tie('object'),
        fc.constant<JsonObject[string]>([1, 2]),
      ),
      object: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('any'), { noNullPrototype: true }),
    }));
    fc.assert(
      fc.property(value.object, value.object, (original, patch) => {
        expect(applyStrategicMergePatch(original, patch, undefined, schema)).toEqual(applyMergePatch(original, patch));
      }),
    );
  });

  it('merges items of a list by their key, deep', () => {
    const original = { containers: [c('a', { image: '1', ports: [{ port: 80, n: 'x' }] }), c('b')] };
    const patch = {
      containers: [c('a', { image: '2', ports: [{ port: 80, p: 'TCP' }, { port: 81 }] }), c('n', { x: null })],
    };
    expect(patchSpec(original, patch)).toEqual({
      containers: [c('a', { image: '2', ports: [{ port: 80, n: 'x', p: 'TCP' }, { port: 81 }] }), c('n'), c('b')],
    });
  });

  it('puts new items in front of those that only the server has, as the API server does', () => {
    expect(names(patchSpec({ containers: [c('web')] }, { containers: [c('new')] }))).toEqual(['new', 'web']);
  });

  it('replaces lists without a strategy and scalars', () => {
    expect(patchSpec({ args: ['a', 'b'], n: 1 }, { args: ['c'], n: 2 })).toEqual({ args: ['c'], n: 2 });
    expect(
      patchSpec({ containers: [c('a', { command: ['x'] })] }, { containers: [c('a', { command: ['y'] })] }),
    ).toEqual({
      containers: [c('a', { command: ['y'] })],
    });
  });

  it('deletes with null, and ignores nulls where nothing was', () => {
    expect(patchSpec({ a: 1, containers: [c('a')] }, { a: null, b: null, containers: null })).toEqual({});
    expect(patchSpec({}, { x: { y: null, z: { w: null } } })).toEqual({ x: { z: {} } });
  });

  it('deletes an item with $patch: delete', () => {
    expect(patchSpec({ containers: [c('a'), c('b')] }, { containers: [c('a', { $patch: 'delete' })] })).toEqual({
      containers: [c('b')],
    });
    expect(patchSpec({ containers: [c('a')] }, { containers: [c('zz', { $patch: 'delete' }), c('n')] })).toEqual({
      containers: [c('n'), c('a')],
    });
    expect(patchSpec({}, { containers: [c('a', { $patch: 'delete' }), c('n')] })).toEqual({ containers: [c('n')] });
  });

  it('replaces a list or an object with $patch: replace', () => {
    expect(patchSpec({ containers: [c('a'), c('b')] }, { containers: [{ $patch: 'replace' }, c('n')] })).toEqual({
      containers: [c('n')],
    });
    expect(patchSpec({ containers: [c('a')] }, { containers: [{ $patch: 'replace' }] })).toEqual({ containers: [] });
    expect(patchSpec({ x: { a: 1, b: { c: 2 } } }, { x: { $patch: 'replace', d: 3 } })).toEqual({ x: { d: 3 } });
    expect(patchSpec({ a: 1 }, { $patch: 'replace', b: 2 })).toEqual({ b: 2 });
    expect(
      patchSpec({ containers: [c('a', { x: 1, y: 2 })] }, { containers: [c('a', { ports: [{ $patch: 'replace' }] })] }),
    ).toEqual({
      containers: [c('a', { x: 1, y: 2, ports: [] })],
    });
  });

  it('empties an object with $patch: delete and merges with $patch: merge', () => {
    expect(patchSpec({ x: { a: 1 } }, { x: { $patch: 'delete' } })).toEqual({ x: {} });
    expect(patchSpec({ x: { a: 1 } }, { x: { $patch: 'merge', b: 2 } })).toEqual({ x: { a: 1, b: 2 } });
  });

  it('replaces an object whose strategy is replace', () => {
    expect(patchSpec({ whole: { a: 1 } }, { whole: { b: 2, n: null } })).toEqual({ whole: { b: 2 } });
  });

  it('keeps only $retainKeys', () => {
    expect(
      patchSpec(
        { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } },
        { strategy: { $retainKeys: ['type'], type: 'Recreate' } },
      ),
    ).toEqual({ strategy: { type: 'Recreate' } });
    expect(
      patchSpec(
        { volumes: [c('v', { emptyDir: {} })] },
        { volumes: [c('v', { $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } })] },
      ),
    ).toEqual({ volumes: [c('v', { hostPath: { path: '/x' } })] });
    expect(patchSpec({}, { strategy: { $retainKeys: ['type'], type: 'Recreate' } })).toEqual({
      strategy: { type: 'Recreate' },
    });
  });

  it('merges lists of scalars by value and deletes from them', () => {
    const meta = (original: JsonObject, patch: JsonObject): JsonObject =>
      applyStrategicMergePatch(original, patch, 'ObjectMeta', schema);
    expect(meta({ finalizers: ['a', 'b'] }, { finalizers: ['b', 'c'] })).toEqual({ finalizers: ['a', 'b', 'c'] });
    expect(meta({ finalizers: ['a', 'b', 'c'] }, { '$deleteFromPrimitiveList/finalizers': ['b'] })).toEqual({
      finalizers: ['a', 'c'],
    });
    expect(meta({}, { '$deleteFromPrimitiveList/finalizers': ['b'] })).toEqual({});
    expect(
      meta(
        { finalizers: ['a', 'b', 'c'] },
        {
          '$setElementOrder/finalizers': ['d', 'c'],
          '$deleteFromPrimitiveList/finalizers': ['a'],
          finalizers: ['d'],
        },
      ),
    ).toEqual({ finalizers: ['d', 'b', 'c'] });
  });

  it('orders items with $setElementOrder', () => {
    const original = { containers: [c('1'), c('2'), c('3')] };
    const order = (...list: string[]): JsonObject => ({
      '$setElementOrder/containers': list.map((n) => ({ name: n })),
    });
    expect(names(patchSpec(original, order('3', '1', '2')))).toEqual(['3', '1', '2']);
    // New items take the place that the order gives them.
    expect(names(patchSpec(original, { ...order('n', '1', '2', '3'), containers: [c('n')] }))).toEqual([
      'n',
      '1',
      '2',
      '3',
    ]);
    // Items that only the server has stay in front of what followed them.
    expect(names(patchSpec({ containers: [c('s'), c('1'), c('t'), c('2')] }, order('2', '1')))).toEqual([
      's',
      't',
      '2',
      '1',
    ]);
    expect(names(patchSpec({}, { ...order('a', 'b'), containers: [c('a'), c('b')] }))).toEqual(['a', 'b']);
    expect(patchSpec({}, order('a'))).toEqual({});
    expect(
      names(patchSpec(original, { ...order('3', '1'), containers: [c('2', { $patch: 'delete' }), c('3', { x: 1 })] })),
    ).toEqual(['3', '1']);
    expect(patchSpec(original, { ...order('1'), containers: null })).toEqual({});
  });

  it('looks the values of a map up in their type', () => {
    expect(
      patchSpec(
        { byName: { x: c('x', { ports: [{ port: 1 }] }) } },
        { byName: { x: { ports: [{ port: 2 }] }, y: null } },
      ),
    ).toEqual({ byName: { x: c('x', { ports: [{ port: 2 }, { port: 1 }] }) } });
    expect(
      applyStrategicMergePatch(
        { metadata: { labels: { a: '1', b: '2' } } },
        { metadata: { labels: { a: null, c: '3' } } },
        'Deployment',
        schema,
      ),
    ).toEqual({ metadata: { labels: { b: '2', c: '3' } } });
  });

  it('replaces when the kinds of value differ', () => {
    expect(patchSpec({ containers: 'x', a: [1] }, { containers: [c('n')], a: { b: 1 } })).toEqual({
      containers: [c('n')],
      a: { b: 1 },
    });
  });

  it.each<[JsonObject, string]>([
    [{ containers: [{ image: 'x' }] }, 'does not contain declared merge key: name'],
    [{ containers: [{ $patch: 'delete' }] }, 'does not contain declared merge key: name'],
    [{ containers: [c('a', { $patch: 'explode' })] }, 'unknown patch type: "explode"'],
    [{ containers: [c('a', { $patch: 'merge' })] }, 'merging lists cannot yet be specified in the patch'],
    [{ $patch: 'explode' }, 'unknown patch type'],
    [{ containers: ['a'] }, 'list element types are not identical'],
    [{ containers: [['a']] }, 'lists of lists are not supported'],
    [{ keyless: [c('b')] }, 'cannot merge lists without merge key for Container'],
    [{ strategy: { $retainKeys: 'type' } }, 'invalid patch format of retainKeys'],
    [{ strategy: { $retainKeys: ['type'], other: 1 } }, "patch content doesn't match retainKeys list"],
    [{ '$deleteFromPrimitiveList/args': 'x' }, 'invalid patch format of primitive list'],
    [{ '$setElementOrder/containers': 'x' }, 'invalid patch format of setElementOrder list'],
    [{ '$setElementOrder/containers': [c('a')], containers: [c('b')] }, "doesn't match $setElementOrder list"],
    [
      { '$setElementOrder/containers': [c('a'), c('b')], containers: [c('b'), c('a')] },
      "doesn't match $setElementOrder list",
    ],
  ])('refuses %j', (patch, message) => {
    const original = { containers: [c('a')], keyless: [c('a')], strategy: {}, args: ['y'] };
    expect(() => patchSpec(original, patch)).toThrow(
      expect.objectContaining({ name: 'PatchError', message: expect.stringContaining(message) }),
    );
  });

  it('merging never loses or doubles an item, and is the same when done twice', () => {
    const list = fc.uniqueArray(fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), v: fc.nat(3) }), {
      selector: (item) => item.name,
    });
    fc.assert(
      fc.property(list, list, (original, changes) => {
        const once = patchSpec({ containers: original }, { containers: changes });
        const expected = new Map([...original, ...changes].map((item) => [item.name, item]));
        expect(new Map((once['containers'] as typeof original).map((item) => [item.name, item]))).toEqual(expected);
        expect(once['containers']).toHaveLength(expected.size);
        expect(patchSpec(once, { containers: changes })).toEqual(once);
      }),
    );
  });

  it('follows any $setElementOrder that names every item', () => {
    const order = fc.shuffledSubarray(['a', 'b', 'c', 'd'], { minLength: 4 });
    fc.assert(
      fc.property(order, order, (before, after) => {
        const result = patchSpec(
          { containers: before.map((n) => c(n)) },
          { '$setElementOrder/containers': after.map((n) => c(n)) },
        );
        expect(names(result)).toEqual(after);
      }),
    );
  });
});
