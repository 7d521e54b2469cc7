import type { ApiResource, ApiSubresource } from '../contract.ts';
import { RESOURCES } from '../generated/resources.ts';

const list = (text: string): string[] => (text === '' ? [] : text.split(','));

function readSubresource(text: string): ApiSubresource {
  const [name = '', kind = '', verbs = '', group, version] = text.split(' ');
  return {
    name,
    kind,
    verbs: list(verbs),
    ...(group === undefined ? {} : { group }),
    ...(version === undefined ? {} : { version }),
  };
}

function readResource(line: string): ApiResource {
  const [
    group = '',
    version = '',
    plural = '',
    kind = '',
    scope = '',
    verbs = '',
    short = '',
    categories = '',
    subs = '',
  ] = line.split('|');
  return {
    group,
    version,
    plural,
    singular: kind.toLowerCase(),
    kind,
    namespaced: scope === 'n',
    verbs: list(verbs),
    shortNames: list(short),
    categories: list(categories),
    subresources: subs === '' ? [] : subs.split(';').map(readSubresource),
  };
}

/** Every built-in resource that is served, in discovery's order (group priority, then name). */
export const resources: readonly ApiResource[] = RESOURCES.split('\n').map(readResource);
