/** What a resolver does with names, as resolv.conf(5) says. */
export interface SearchOptions {
  readonly searches: readonly string[];
  /** Names with fewer dots are tried with the search domains first. Default 1. */
  readonly ndots?: number;
}

/**
 * The names that a resolver asks for, in order, until one has records (as glibc does): a name with a final dot alone, one
 * with `ndots` dots or more as it is first, any other with every search domain first. All with a final dot.
 */
export function searchCandidates(name: string, { searches, ndots = 1 }: SearchOptions): string[] {
  if (name.endsWith('.')) return [name];
  const full = `${name}.`;
  const appended = searches.map((domain) => (domain === '.' ? full : `${name}.${domain.replace(/\.$/, '')}.`));
  const dots = name.split('.').length - 1;
  const all = dots >= ndots ? [full, ...appended] : [...appended, full];
  return [...new Set(all)];
}
