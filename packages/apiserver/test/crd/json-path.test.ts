import { describe, expect, it } from 'vitest';
import { compileJsonPath } from '../../src/crd/json-path.ts';

const value = {
  spec: {
    a: 1,
    'b.c': 2,
    list: [
      { type: 'A', v: 1 },
      { type: 'B', v: 2 },
    ],
    names: ['x', 'y'],
  },
  metadata: { labels: { 'app.kubernetes.io/name': 'n' } },
};

describe('JSON paths', () => {
  it.each([
    ['.spec.a', [1]],
    ['{.spec.a}', [1]],
    ['$.spec.a', [1]],
    [".spec['b.c']", [2]],
    ['.spec.names[0]', ['x']],
    ['.spec.names[-1]', ['y']],
    ['.spec.names[*]', ['x', 'y']],
    ['.spec.list[*].v', [1, 2]],
    ['.spec.list[?(@.type=="B")].v', [2]],
    ['.spec.list[?(@.v>1)].type', ['B']],
    ['.metadata.labels.app\\.kubernetes\\.io/name', ['n']],
    ['.spec.nothing.at.all', []],
    ['.spec.list[?(@.type=="C")].v', []],
  ])('%s', (path, expected) => {
    expect(compileJsonPath(path)?.(value)).toEqual(expected);
  });

  it('that use what is not supported are not compiled', () => {
    expect(compileJsonPath('.spec[?(@.a in [1])]')).toBeUndefined();
    expect(compileJsonPath('.spec[(@.length-1)]')).toBeUndefined();
  });
});
