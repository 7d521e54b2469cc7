import { DESCRIPTORS, PACKAGES, TYPES } from '../generated/openapi.ts';

/** The shape of a value in the published schema. */
export type TypeExpr =
  | {
      readonly kind: 'string' | 'boolean' | 'int32' | 'int64' | 'double' | 'bytes' | 'int-or-string' | 'object' | 'any';
    }
  | { readonly kind: 'array' | 'map'; readonly of: TypeExpr }
  | { readonly kind: 'ref'; readonly type: string };

/** A field of an object type, with what patches and server-side apply must know of it. */
export interface Field {
  readonly expr: TypeExpr;
  readonly required: boolean;
  readonly list?: 'atomic' | 'set' | 'map';
  /** Keys of a list of type `map`. */
  readonly keys?: readonly string[];
  readonly mergeKey?: string;
  readonly strategy?: 'merge' | 'retainKeys' | 'merge,retainKeys';
  readonly map?: 'atomic' | 'granular';
}

/** A named type: either an object with fields, or another name for a simple one (Quantity, Time). */
export interface ObjectType {
  readonly name: string;
  readonly fields?: ReadonlyMap<string, Field>;
  readonly alias?: TypeExpr;
  readonly gvks: readonly { readonly group: string; readonly version: string; readonly kind: string }[];
  /** True when patches replace the value as a whole. */
  readonly atomic: boolean;
}

const SIMPLE: Readonly<Record<string, TypeExpr>> = {
  s: { kind: 'string' },
  b: { kind: 'boolean' },
  i: { kind: 'int32' },
  l: { kind: 'int64' },
  n: { kind: 'double' },
  y: { kind: 'bytes' },
  x: { kind: 'int-or-string' },
  o: { kind: 'object' },
  '*': { kind: 'any' },
};
const LISTS = { a: 'atomic', s: 'set', m: 'map' } as const;
const STRATEGIES = { m: 'merge', r: 'retainKeys', mr: 'merge,retainKeys' } as const;
const MAPS = { a: 'atomic', g: 'granular' } as const;

interface Tables {
  readonly names: readonly string[];
  readonly rows: readonly string[];
  readonly descriptors: readonly string[];
  readonly index: ReadonlyMap<string, number>;
  readonly byKind: ReadonlyMap<string, string>;
}

let tables: Tables | undefined;
const parsedTypes: (ObjectType | undefined)[] = [];
const parsedFields: (Field | undefined)[] = [];

function load(): Tables {
  if (tables !== undefined) return tables;
  const packages = PACKAGES.split('\n');
  const rows = TYPES.split('\n');
  const names: string[] = [];
  const byKind = new Map<string, string>();
  for (const row of rows) {
    const [title = '', , gvks = ''] = row.split('\t');
    const space = title.indexOf(' ');
    const name = `${packages[Number(title.slice(0, space))]}.${title.slice(space + 1)}`;
    names.push(name);
    if (gvks !== '') for (const gvk of gvks.split(',')) byKind.set(gvk, name);
  }
  const index = new Map(names.map((name, i) => [name, i]));
  tables = { names, rows, descriptors: DESCRIPTORS.split('\n'), index, byKind };
  return tables;
}

function readExpr(text: string): TypeExpr {
  const head = text[0] ?? '';
  if (head === '[') return { kind: 'array', of: readExpr(text.slice(1)) };
  if (head === '{') return { kind: 'map', of: readExpr(text.slice(1)) };
  if (head === '#') return { kind: 'ref', type: load().names[Number(text.slice(1))] ?? '' };
  return SIMPLE[head] ?? { kind: 'any' };
}

function readField(id: number): Field {
  const known = parsedFields[id];
  if (known !== undefined) return known;
  const [type = '', list = '', keys = '', mergeKey = '', strategy = '', map = ''] = (
    load().descriptors[id] ?? ''
  ).split('|');
  const required = type.endsWith('!');
  const field: Field = {
    expr: readExpr(required ? type.slice(0, -1) : type),
    required,
    ...(list === '' ? {} : { list: LISTS[list as keyof typeof LISTS] }),
    ...(keys === '' ? {} : { keys: keys.split(',') }),
    ...(mergeKey === '' ? {} : { mergeKey }),
    ...(strategy === '' ? {} : { strategy: STRATEGIES[strategy as keyof typeof STRATEGIES] }),
    ...(map === '' ? {} : { map: MAPS[map as keyof typeof MAPS] }),
  };
  parsedFields[id] = field;
  return field;
}

function readType(i: number): ObjectType {
  const known = parsedTypes[i];
  if (known !== undefined) return known;
  const { rows, names } = load();
  const [, body = '', gvks = '', map = ''] = (rows[i] ?? '').split('\t');
  const type: ObjectType = {
    name: names[i] ?? '',
    gvks:
      gvks === ''
        ? []
        : gvks.split(',').map((text) => {
            const [group = '', version = '', kind = ''] = text.split(' ');
            return { group, version, kind };
          }),
    atomic: map === 'a',
    ...(body.startsWith('=')
      ? { alias: readExpr(body.slice(1)) }
      : {
          fields: new Map(
            body.split(',').map((text) => {
              const space = text.indexOf(' ');
              return [text.slice(0, space), readField(Number(text.slice(space + 1)))] as const;
            }),
          ),
        }),
  };
  parsedTypes[i] = type;
  return type;
}

/** A type by its full name, such as `io.k8s.api.core.v1.ServiceSpec`. */
export function typeOf(name: string): ObjectType | undefined {
  const i = load().index.get(name);
  return i === undefined ? undefined : readType(i);
}

/** All type names, sorted. */
export function typeNames(): readonly string[] {
  return load().names;
}

/** Full name of the type of a built-in kind (list kinds and meta kinds too); undefined for others. */
export function gvkType(group: string, version: string, kind: string): string | undefined {
  return load().byKind.get(`${group} ${version} ${kind}`);
}
