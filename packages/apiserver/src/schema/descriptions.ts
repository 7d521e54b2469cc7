/** Descriptions by type name, or by `Type.field`; own words, for `kubectl explain`. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {};

export function describe(name: string): string | undefined {
  return DESCRIPTIONS[name];
}
