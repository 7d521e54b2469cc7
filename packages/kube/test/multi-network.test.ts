import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { networkAttachmentDefinitionCrd, parseYamlDocuments } from '../src/index.ts';

it('deploy/network-attachment-definitions.yaml is what the lab installs', async () => {
  const text = readFileSync(new URL('../../../deploy/network-attachment-definitions.yaml', import.meta.url), 'utf8');
  expect(await parseYamlDocuments(text)).toEqual([networkAttachmentDefinitionCrd()]);
});
