import { describe, expect, it } from 'vitest';
import { builtinFor, parseImageReference } from '../../src/images/index.ts';

describe('image references', () => {
  it.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.25', 'docker.io/library/nginx:1.25'],
    ['user/app', 'docker.io/user/app:latest'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest'],
    ['localhost/app:x', 'localhost/app:x'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.9'],
    [`nginx@sha256:${'a'.repeat(64)}`, `docker.io/library/nginx@sha256:${'a'.repeat(64)}`],
    [`nginx:1@sha256:${'a'.repeat(64)}`, `docker.io/library/nginx:1@sha256:${'a'.repeat(64)}`],
  ])('%s is %s', (text, canonical) => {
    expect(parseImageReference(text).canonical).toBe(canonical);
  });

  it.each(['', 'Nginx', 'nginx:', 'a//b', 'nginx:ta g', 'nginx@sha256:abc', '-x', 'a/../b'])(
    '%j is refused',
    (text) => {
      expect(() => parseImageReference(text)).toThrow(/invalid reference format/);
    },
  );

  it('knows the images that are made here in any tag, but not by digest', () => {
    expect(builtinFor('nginx:1.25-alpine')).toBe('nginx');
    expect(builtinFor('docker.io/library/busybox')).toBe('busybox');
    expect(builtinFor('quay.io/library/nginx')).toBeUndefined();
    expect(builtinFor(`nginx@sha256:${'a'.repeat(64)}`)).toBeUndefined();
  });
});
