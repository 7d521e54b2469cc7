import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  difference,
  type FieldSet,
  formatFields,
  intersection,
  isEmptySet,
  parseFields,
  pathsOf,
  sameSet,
  union,
} from '../../src/apply/field-set.ts';

const key = fc.constantFrom('f:a', 'f:b', 'v:"x"', 'k:{"name":"n"}');
const fields = fc.memo((depth): fc.Arbitrary<object> => {
  if (depth <= 1) return fc.constant({});
  return fc
    .tuple(fc.boolean(), fc.dictionary(key, fields(), { maxKeys: 3 }))
    .map(([self, children]) => (self && Object.keys(children).length > 0 ? { '.': {}, ...children } : children));
});
const set: fc.Arbitrary<FieldSet> = fields(4).map(parseFields);

const members = (s: FieldSet): Set<string> => new Set(pathsOf(s));

describe('field sets', () => {
  it('survive being written and read', () => {
    fc.assert(fc.property(set, (s) => sameSet(parseFields(formatFields(s)), s) || s.member));
  });

  it('are sets of paths: union, intersection and difference are those of the paths', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        const [x, y] = [members(a), members(b)];
        expect(members(union(a, b))).toEqual(new Set([...x, ...y]));
        expect(members(intersection(a, b))).toEqual(new Set([...x].filter((p) => y.has(p))));
        expect(members(difference(a, b))).toEqual(new Set([...x].filter((p) => !y.has(p))));
      }),
    );
  });

  it('leave no empty nodes behind', () => {
    fc.assert(fc.property(set, (a) => isEmptySet(difference(a, a)) && isEmptySet(intersection(a, parseFields({})))));
  });

  it('print paths as Kubernetes does', () => {
    const s = parseFields({
      'f:spec': {
        'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:name': {} } },
        'f:finalizers': { 'v:"x"': {} },
      },
    });
    expect(pathsOf(s)).toEqual([
      '.spec.ports[port=80,protocol="TCP"]',
      '.spec.ports[port=80,protocol="TCP"].name',
      '.spec.finalizers[="x"]',
    ]);
  });
});
