import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkCorefile } from '../../src/index.ts';
import { ORDER, PLUGINS } from '../../src/plugins/index.ts';

const folder = new URL('../../src/plugins/', import.meta.url);
const HEADINGS = ['Name', 'Description', 'Syntax', 'Metrics', 'Examples', 'Differences from CoreDNS'];

describe('plugins', () => {
  const folders = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

  it('every folder is a plugin, and every plugin has its place in the order', () => {
    expect([...PLUGINS.keys()].sort()).toEqual(folders.sort());
    expect([...PLUGINS.keys()].filter((name) => !ORDER.includes(name))).toEqual([]);
    expect(new Set(ORDER).size).toBe(ORDER.length);
  });

  describe.each([...PLUGINS.values()])('README of $name', ({ name, options }) => {
    const text = readFileSync(new URL(`${name}/README.md`, folder), 'utf8');

    it('has the one form', () => {
      expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual(HEADINGS);
      expect(text.startsWith(`# ${name}\n\n## Name\n\n_${name}_ - `)).toBe(true);
    });

    it('lists every property as the parser knows it', () => {
      const listed = [...text.matchAll(/^- `([a-z0-9_]+)(?: [^`]*)?`: .*$/gm)].map(([line]) => line);
      const known = Object.entries(options ?? {}).map(
        ([key, { syntax, doc }]) => `- \`${`${key} ${syntax}`.trim()}\`: ${doc}`,
      );
      expect(listed).toEqual(known);
    });

    it('has examples that are accepted without a warning', () => {
      const examples = [...text.matchAll(/```corefile\n(.*?)```/gs)].map(([, example]) => example as string);
      expect(examples.length).toBeGreaterThan(0);
      for (const example of examples) expect(checkCorefile(example)).toEqual([]);
    });
  });
});
