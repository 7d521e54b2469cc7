import { WeftError } from '@weft/plan';
import type { Tags } from 'yaml';

/**
 * YAML 1.1, as kubectl reads it: `0644` is octal and `yes` is true. Times and numbers to the base 60 stay text, because
 * Go's parser does not know them either and a port mapping such as `22:22` is no number.
 */
const READ = {
  version: '1.1',
  customTags: (tags: Tags): Tags =>
    tags
      .filter((tag) => typeof tag === 'string' || !('format' in tag && tag.format === 'TIME'))
      .filter((tag) => typeof tag === 'string' || tag.tag !== 'tag:yaml.org,2002:timestamp'),
} as const;

/**
 * The YAML library, loaded on first use: the parser costs start-up time that most processes need not pay. In a bundle
 * it is CommonJS, whose exports are then on `default`.
 */
export async function loadYaml(): Promise<typeof import('yaml')> {
  const module = (await import('yaml')) as typeof import('yaml') & { default?: typeof import('yaml') };
  return module.default ?? module;
}

/**
 * Parses a YAML stream into one value per document; empty documents are left out. JSON is YAML. Duplicate keys are
 * refused. Throws WeftError `YAML_INVALID` with the line and column.
 */
export async function parseYamlDocuments(text: string): Promise<unknown[]> {
  const { parseAllDocuments } = await loadYaml();
  const out: unknown[] = [];
  const documents = parseAllDocuments(text, READ);
  if (!Array.isArray(documents)) return out;
  for (const document of documents) {
    const error = document.errors[0];
    if (error !== undefined) {
      throw new WeftError({ code: 'YAML_INVALID', message: `error converting YAML to JSON: ${error.message}` });
    }
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value !== null && value !== undefined) out.push(value);
  }
  return out;
}

/** Formats objects as YAML documents, separated by `---`. */
export async function formatYaml(...values: readonly unknown[]): Promise<string> {
  const { stringify } = await loadYaml();
  return values.map((value) => stringify(value, { lineWidth: 0, version: '1.1' })).join('---\n');
}
