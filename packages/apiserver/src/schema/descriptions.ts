import { DESCRIPTIONS } from './descriptions-text.ts';

let index: ReadonlyMap<string, string> | undefined;

function load(): ReadonlyMap<string, string> {
  index ??= new Map(
    DESCRIPTIONS.trim()
      .split('\n')
      .map((line) => {
        const space = line.indexOf(' ');
        return [line.slice(0, space), line.slice(space + 1)] as const;
      }),
  );
  return index;
}

/** Description of a type (`Service`) or of a field (`ServiceSpec.ports`), or undefined when there is none. */
export function describe(name: string): string | undefined {
  return load().get(name);
}
