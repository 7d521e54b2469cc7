import { describe, expect, test } from 'vitest';
import { WeftError } from '@weft/plan';
import { errnoName, isKernelError, KernelError } from '../src/index.ts';

describe('kernel errors', () => {
  test('name the object, the code, the reason', () => {
    const error = new KernelError({ errno: 17, operation: 'add veth link', object: 'v0' });
    expect(error).toBeInstanceOf(WeftError);
    expect(error.message).toBe('cannot add veth link v0: already exists (EEXIST)');
    expect(error).toMatchObject({ name: 'KernelError', code: 'EEXIST', errno: 17, object: 'v0' });
    expect(error.hint).toMatch(/replace/);
  });

  test("prefer the kernel's own words", () => {
    const error = new KernelError({
      errno: 22,
      operation: 'add route',
      object: 'x',
      extack: 'Nexthop has invalid gateway',
    });
    expect(error.message).toBe('cannot add route x: Nexthop has invalid gateway (EINVAL)');
    expect(error.extack).toBe('Nexthop has invalid gateway');
  });

  test('say how many more there were', () => {
    const one = new KernelError({ errno: 2, operation: 'a', object: 'b' });
    expect(new KernelError({ errno: 2, operation: 'a', object: 'b', errors: [one, one, one] }).message).toMatch(
      /and 2 more/,
    );
  });

  test('a missing privilege or driver comes with a way out', () => {
    expect(new KernelError({ errno: 1, operation: 'add route', object: 'x' }).hint).toMatch(/CAP_NET_ADMIN/);
    expect(new KernelError({ errno: 95, operation: 'add vxlan link', object: 'x' }).hint).toMatch(/CONFIG_/);
  });

  test('codes have names', () => {
    expect([1, 11, 85, 95, 105, 4000].map(errnoName)).toEqual([
      'EPERM',
      'EAGAIN',
      'ERESTART',
      'EOPNOTSUPP',
      'ENOBUFS',
      'ERRNO_4000',
    ]);
    expect(isKernelError(new Error('x'))).toBe(false);
  });
});
