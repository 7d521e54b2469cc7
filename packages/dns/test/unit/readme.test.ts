import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkCorefile } from '../../src/index.ts';
import { ORDER, PLUGINS } from '../../src/plugins/index.ts';
import { UNSERVED } from '../../src/plugins/unserved.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';

const folder = new URL('../../src/plugins/', import.meta.url);
const HEADINGS = ['Name', 'Description', 'Syntax', 'Metrics', 'Examples', 'Differences from CoreDNS'];

describe('plugins', () => {
  let files: Certificates;
  beforeAll(() => {
    files = makeCertificates();
  });
  afterAll(() => files.remove());

  const folders = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

  it('every folder is a plugin, and every plugin has its place in the order', () => {
    expect([...PLUGINS.keys()].sort()).toEqual(folders.sort());
    expect([...PLUGINS.keys()].filter((name) => !ORDER.includes(name))).toEqual([]);
    expect(new Set(ORDER).size).toBe(ORDER.length);
  });

  it('every other plugin of CoreDNS is refused by name, with the reason that the README gives', () => {
    expect([...PLUGINS.keys(), ...UNSERVED.keys()].sort()).toEqual([...ORDER].sort());
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const section = /## Plugins of CoreDNS that are not here\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    const listed = [...section.matchAll(/^- `(\w+)`: (.*)$/gm)].map(([, name, reason]) => [name, reason]);
    expect(listed).toEqual([...UNSERVED]);
    for (const [name, reason] of UNSERVED) {
      expect(checkCorefile(`.:5353 {\n    whoami\n    ${name}\n}\n`), name).toMatchObject([
        { severity: 'error', line: 3, message: expect.stringContaining(`plugin '${name}' is not served: ${reason}`) },
      ]);
    }
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
      // Files of the examples that must be there.
      for (const example of examples)
        expect(checkCorefile(example.replace(/\b(?:cert|key|ca)\.pem\b/g, (name) => files.path(name)))).toEqual([]);
    });
  });
});
