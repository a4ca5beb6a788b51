import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Tests import what users import: the built packages. Worker entries are never transformed.
    globalSetup: './scripts/build-before-tests.mjs',
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    // Against hangs only: no test waits for a time to pass.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
});
