import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyJsonPatch,
  applyMergePatch,
  type Json,
  type JsonObject,
  mergePatchBetween,
  sameJson,
} from '../src/index.ts';

const key = fc.oneof(
  fc.constantFrom('a', 'b', 'c', 'd'),
  fc.constantFrom('__proto__', 'constructor', '', 'a/b', 'm~n'),
);
const json = fc.letrec<{ value: Json; list: Json[]; object: JsonObject }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, fc.constantFrom<Json>(null, true, 0, 1, 'x', ''), tie('object'), tie('list')),
  list: fc.array(tie('value'), { maxLength: 3 }),
  object: fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
}));

/** The pseudo-code of RFC 7386 §2, on Maps so that it shares nothing with the code under test. */
type Model = Map<string, Model> | string;
function model(value: Json): Model {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value).map(([k, v]) => [k, model(v)]))
    : JSON.stringify(value);
}
function mergeModel(target: Model | undefined, patch: Model): Model {
  if (!(patch instanceof Map)) return patch;
  const out = new Map(target instanceof Map ? target : []);
  for (const [name, value] of patch) {
    if (value === 'null') out.delete(name);
    else out.set(name, mergeModel(out.get(name), value));
  }
  return out;
}

function withoutNulls(value: Json): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => v !== null)
      .map(([k, v]) => [k, withoutNulls(v)]),
  );
}

describe('merge patch (RFC 7386)', () => {
  it('does what the RFC says', () => {
    fc.assert(
      fc.property(json.value, json.value, (target, patch) => {
        const before = JSON.stringify(target);
        expect(model(applyMergePatch(target, patch))).toEqual(mergeModel(model(target), model(patch)));
        expect(JSON.stringify(target)).toBe(before);
      }),
    );
  });

  it.each<[Json, Json, Json]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [['a', 'b'], ['c'], ['c']],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j + %j = %j', (target, patch, result) => {
    expect(applyMergePatch(target, patch)).toEqual(result);
  });

  it('finds the patch between two objects, and none between equal ones', () => {
    fc.assert(
      fc.property(json.object, json.object, (a, b) => {
        const before = withoutNulls(a) as JsonObject;
        const after = withoutNulls(b) as JsonObject;
        const patch = mergePatchBetween(before, after);
        expect(patch === undefined).toBe(sameJson(before, after));
        if (patch) expect(sameJson(applyMergePatch(before, patch), after)).toBe(true);
      }),
    );
  });
});

describe('JSON patch (RFC 6902)', () => {
  it.each<[string, Json, unknown[], Json]>([
    ['adds a key', { a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 }],
    ['adds over a key', { a: 1 }, [{ op: 'add', path: '/a', value: [2] }], { a: [2] }],
    ['adds into a list', ['a', 'c'], [{ op: 'add', path: '/1', value: 'b' }], ['a', 'b', 'c']],
    ['appends', { l: [1] }, [{ op: 'add', path: '/l/-', value: 2 }], { l: [1, 2] }],
    ['adds at the length', [1], [{ op: 'add', path: '/1', value: 2 }], [1, 2]],
    ['adds a null', {}, [{ op: 'add', path: '/a', value: null }], { a: null }],
    ['replaces the whole', { a: 1 }, [{ op: 'replace', path: '', value: 7 }], 7],
    ['adds the whole', { a: 1 }, [{ op: 'add', path: '', value: [] }], []],
    ['removes a key', { a: 1, b: 2 }, [{ op: 'remove', path: '/a' }], { b: 2 }],
    ['removes an item', [1, 2, 3], [{ op: 'remove', path: '/1' }], [1, 3]],
    ['replaces deep', { a: [{ b: 1 }] }, [{ op: 'replace', path: '/a/0/b', value: 2 }], { a: [{ b: 2 }] }],
    ['moves a key', { a: { x: 1 }, b: {} }, [{ op: 'move', from: '/a/x', path: '/b/y' }], { a: {}, b: { y: 1 } }],
    ['moves within a list', [1, 2, 3], [{ op: 'move', from: '/0', path: '/2' }], [2, 3, 1]],
    ['moves onto itself', { a: 1 }, [{ op: 'move', from: '/a', path: '/a' }], { a: 1 }],
    ['copies', { a: { x: 1 } }, [{ op: 'copy', from: '/a', path: '/b' }], { a: { x: 1 }, b: { x: 1 } }],
    [
      'unescapes',
      { 'a/b': 1, 'm~n': 2, '': 3 },
      [
        { op: 'test', path: '/a~1b', value: 1 },
        { op: 'test', path: '/m~0n', value: 2 },
        { op: 'test', path: '/', value: 3 },
      ],
      { 'a/b': 1, 'm~n': 2, '': 3 },
    ],
    ['unescapes ~01 as ~1', { '~1': 1 }, [{ op: 'remove', path: '/~01' }], {}],
    [
      'tests without order of keys',
      { a: { x: 1, y: 2 } },
      [{ op: 'test', path: '/a', value: { y: 2, x: 1 } }],
      { a: { x: 1, y: 2 } },
    ],
    ['tests a null', { a: null }, [{ op: 'test', path: '/a', value: null }], { a: null }],
    ['ignores other members', {}, [{ op: 'add', path: '/a', value: 1, xyz: 1 }], { a: 1 }],
  ])('%s', (_, target, patch, result) => {
    expect(applyJsonPatch(target, patch)).toEqual(result);
  });

  it.each<[unknown[] | object, string, string]>([
    [
      [{ op: 'add', path: '/x/y', value: 1 }],
      'PATCH_FAILED',
      'add operation does not apply: doc is missing path: "/x/y": missing value',
    ],
    [[{ op: 'add', path: '/l/9', value: 1 }], 'PATCH_FAILED', 'invalid index referenced'],
    [[{ op: 'add', path: '/l/01', value: 1 }], 'PATCH_FAILED', 'is not a number'],
    [[{ op: 'remove', path: '/x' }], 'PATCH_FAILED', "error in remove for path: '/x'"],
    [[{ op: 'remove', path: '/l/-' }], 'PATCH_FAILED', 'is not a number'],
    [[{ op: 'remove', path: '/l/5' }], 'PATCH_FAILED', 'invalid index referenced'],
    [
      [{ op: 'replace', path: '/x', value: 1 }],
      'PATCH_FAILED',
      'replace operation does not apply: doc is missing key: /x: missing value',
    ],
    [[{ op: 'test', path: '/a', value: 2 }], 'PATCH_FAILED', 'testing value /a failed: test failed'],
    [[{ op: 'test', path: '/x', value: null }], 'PATCH_FAILED', 'test failed'],
    [[{ op: 'test', path: '/l', value: [2, 1] }], 'PATCH_FAILED', 'test failed'],
    [[{ op: 'test', path: '/a', value: '1' }], 'PATCH_FAILED', 'test failed'],
    [
      [{ op: 'copy', from: '/x', path: '/y' }],
      'PATCH_FAILED',
      'copy operation does not apply: doc is missing from path: /x',
    ],
    [[{ op: 'move', from: '/l', path: '/l/0' }], 'PATCH_FAILED', 'children'],
    [[{ op: 'remove', path: '/constructor' }], 'PATCH_FAILED', 'nonexistent key'],
    [[{ op: 'jump', path: '/a' }], 'PATCH_FAILED', 'Unexpected kind: jump'],
    [[{ op: 'add', path: 'a', value: 1 }], 'PATCH_FAILED', 'does not start with "/"'],
    [[{ op: 'add', path: '/a' }], 'PATCH_INVALID', 'add operation missing value field'],
    [[{ op: 'move', path: '/a' }], 'PATCH_INVALID', 'from'],
    [[{ op: 'add', value: 1 }], 'PATCH_INVALID', 'path'],
    [[null], 'PATCH_INVALID', 'not an object'],
    [{ op: 'add' }, 'PATCH_INVALID', 'json: cannot unmarshal object into Go value of type jsonpatch.Patch'],
    [Array.from({ length: 10_001 }, () => ({ op: 'remove', path: '/a' })), 'PATCH_FAILED', 'is 10000, got 10001'],
  ])('refuses %j', (patch, code, message) => {
    const target = { a: 1, l: [1, 2] };
    expect(() => applyJsonPatch(target, patch)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
    expect(target).toEqual({ a: 1, l: [1, 2] });
  });

  it('undoes what it did', () => {
    const pointer = (name: string): string => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    fc.assert(
      fc.property(json.object, key, json.value, (target, name, value) => {
        const before = JSON.stringify(target);
        const path = pointer(name);
        const after = applyJsonPatch(target, [{ op: 'add', path, value }]);
        expect(applyJsonPatch(after, [{ op: 'test', path, value }])).toBe(after);
        const undo = Object.hasOwn(target, name)
          ? [{ op: 'replace', path, value: target[name] }]
          : [{ op: 'remove', path }];
        expect(sameJson(applyJsonPatch(after, undo), target)).toBe(true);
        expect(JSON.stringify(target)).toBe(before);
      }),
    );
  });

  it('moving is copying and removing', () => {
    fc.assert(
      fc.property(json.object, (target) => {
        const wrapped = { from: target, to: {} };
        const moved = applyJsonPatch(wrapped, [{ op: 'move', from: '/from', path: '/to/x' }]);
        const copied = applyJsonPatch(wrapped, [
          { op: 'copy', from: '/from', path: '/to/x' },
          { op: 'remove', path: '/from' },
        ]);
        expect(moved).toEqual(copied);
      }),
    );
  });
});
