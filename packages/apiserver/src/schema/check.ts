import { type TypeExpr, typeOf } from './types.ts';

export interface FieldCheck {
  /** `unknown field "spec.foo"`, in document order. */
  readonly unknown: string[];
  /** What Go's decoder says of values of the wrong type, in document order; the API server reports the first. */
  readonly typeErrors: string[];
}

/** How a type is called in Go: `int32`, `[]v1.Container`, `map[string]string`. */
function goName(expr: TypeExpr): string {
  switch (expr.kind) {
    case 'string':
      return 'string';
    case 'boolean':
      return 'bool';
    case 'double':
      return 'float64';
    case 'bytes':
      return '[]uint8';
    case 'array':
      return `[]${goName(expr.of)}`;
    case 'map':
      return `map[string]${goName(expr.of)}`;
    case 'ref': {
      const [version = '', name = ''] = expr.type.split('.').slice(-2);
      return `${version}.${name}`;
    }
    default:
      return expr.kind;
  }
}

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
}

const MAX_INT64 = 2 ** 63;
const QUANTITY = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$/;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})$/;

class Walk {
  readonly unknown: string[] = [];
  readonly typeErrors: string[] = [];
  readonly #strict: boolean;

  constructor(strict: boolean) {
    this.#strict = strict;
  }

  #mismatch(value: unknown, expr: TypeExpr, struct: string, fields: readonly string[], shown = jsonKind(value)): void {
    const where = struct === '' ? 'value' : `struct field ${struct}.${fields.join('.')}`;
    this.typeErrors.push(`json: cannot unmarshal ${shown} into Go ${where} of type ${goName(expr)}`);
  }

  #special(name: string, value: unknown): boolean {
    const short = name.slice(name.lastIndexOf('.') + 1);
    if (short === 'Quantity') {
      const text = typeof value === 'number' ? String(value) : value;
      if (typeof text !== 'string' || !QUANTITY.test(text)) {
        this.typeErrors.push(
          "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
      }
      return true;
    }
    if (short === 'Time' || short === 'MicroTime') {
      if (typeof value !== 'string') {
        this.typeErrors.push(`json: cannot unmarshal ${jsonKind(value)} into Go value of type string`);
      } else if (!TIME.test(value)) {
        const layout = short === 'Time' ? '2006-01-02T15:04:05Z07:00' : '2006-01-02T15:04:05.000000Z07:00';
        this.typeErrors.push(`parsing time "${value}" as "${layout}": cannot parse "${value}" as "2006"`);
      }
      return true;
    }
    if (short === 'IntOrString') {
      if (typeof value === 'boolean' || typeof value === 'object') {
        this.typeErrors.push(`json: cannot unmarshal ${jsonKind(value)} into Go value of type int32`);
      } else if (typeof value === 'number' && !isInteger(value, 2 ** 31)) {
        this.typeErrors.push(`json: cannot unmarshal number ${value} into Go value of type int32`);
      }
      return true;
    }
    return false;
  }

  value(expr: TypeExpr, value: unknown, path: string, struct: string, fields: readonly string[]): void {
    // Go's decoder takes null for "not given" whatever the type.
    if (value === null || value === undefined) return;
    switch (expr.kind) {
      case 'any':
        return;
      case 'object':
        if (typeof value !== 'object' || Array.isArray(value)) this.#mismatch(value, expr, struct, fields);
        return;
      case 'string':
        if (typeof value !== 'string') this.#mismatch(value, expr, struct, fields);
        return;
      case 'bytes':
        if (typeof value !== 'string') this.#mismatch(value, expr, struct, fields);
        else {
          const bad = firstNonBase64(value);
          if (bad >= 0) this.typeErrors.push(`illegal base64 data at input byte ${bad}`);
        }
        return;
      case 'boolean':
        if (typeof value !== 'boolean') this.#mismatch(value, expr, struct, fields);
        return;
      case 'double':
        if (typeof value !== 'number') this.#mismatch(value, expr, struct, fields);
        return;
      case 'int32':
      case 'int64': {
        if (typeof value !== 'number') this.#mismatch(value, expr, struct, fields);
        else if (!isInteger(value, expr.kind === 'int32' ? 2 ** 31 : MAX_INT64)) {
          this.#mismatch(value, expr, struct, fields, `number ${value}`);
        }
        return;
      }
      case 'int-or-string':
        return;
      case 'array':
        if (!Array.isArray(value)) this.#mismatch(value, expr, struct, fields);
        else value.forEach((item, i) => this.value(expr.of, item, `${path}[${i}]`, struct, fields));
        return;
      case 'map':
        if (typeof value !== 'object' || Array.isArray(value)) this.#mismatch(value, expr, struct, fields);
        else
          for (const [key, item] of Object.entries(value)) this.value(expr.of, item, `${path}.${key}`, struct, fields);
        return;
      case 'ref':
        this.#object(expr, value, path, struct, fields);
    }
  }

  #object(
    expr: TypeExpr & { kind: 'ref' },
    value: unknown,
    path: string,
    struct: string,
    fields: readonly string[],
  ): void {
    if (this.#special(expr.type, value)) return;
    const type = typeOf(expr.type);
    if (type?.fields === undefined) {
      if (type?.alias !== undefined && type.alias.kind !== 'object') {
        this.value(type.alias, value, path, struct, fields);
      }
      return;
    }
    if (typeof value !== 'object' || Array.isArray(value)) {
      this.#mismatch(value, expr, struct, fields);
      return;
    }
    const goStruct = expr.type.slice(expr.type.lastIndexOf('.') + 1);
    for (const [key, item] of Object.entries(value as Record<string, unknown>)) {
      const at = path === '' ? key : `${path}.${key}`;
      const field = type.fields.get(key);
      if (field === undefined) {
        if (this.#strict) this.unknown.push(`unknown field "${at}"`);
      } else {
        this.value(field.expr, item, at, goStruct, [...fields, key]);
      }
    }
  }
}

function isInteger(value: number, bound: number): boolean {
  return Number.isInteger(value) && value < bound && value >= -bound;
}

function firstNonBase64(text: string): number {
  const clean = text.replace(/[\r\n]/g, '');
  const m = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?/.exec(clean);
  const good = m?.[0].length ?? 0;
  return good === clean.length ? -1 : good;
}

/**
 * Compares a decoded body with the published schema of its type.
 *
 * `unknown` has the fields the type does not have, with their full path (`spec.template.spec.containers[0].imag`), in the
 * words of sigs.k8s.io/json; it stays empty when mode is `Ignore`. `typeErrors` has the values that Go's decoder would
 * refuse (a string where the type says int32), in its words; they are errors in every mode.
 */
export function checkFields(typeName: string, obj: unknown, mode: 'Strict' | 'Warn' | 'Ignore'): FieldCheck {
  const walk = new Walk(mode !== 'Ignore');
  walk.value({ kind: 'ref', type: typeName }, obj, '', '', []);
  return { unknown: walk.unknown, typeErrors: walk.typeErrors };
}
