import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: ['test/support/properties.ts'],
          include: ['packages/*/test/**/*.test.ts'],
          exclude: ['packages/*/test/{kernel,vm}/**'],
          pool: 'threads',
          // Many files at once on few cores: what takes a second alone may take ten.
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'kernel',
          setupFiles: ['test/support/properties.ts'],
          include: ['packages/*/test/kernel/**/*.test.ts', 'test/kernel/**/*.test.ts'],
          // setns() changes the calling thread, and a worker thread is not the thread netns helpers expect.
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 30_000,
        },
      },
      {
        // Run by the vm project, inside a guest whose kernel has what others lack.
        test: {
          name: 'guest',
          setupFiles: ['test/support/properties.ts'],
          include: ['packages/*/test/vm/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          // The guest is emulated.
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'vm',
          include: ['test/vm/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/support/global.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
