import { type Json, sameJson } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import type { Schema } from './structural.ts';
import { isRecord } from '../registry/json.ts';

const patterns = new Map<string, RegExp | undefined>();

/** Go's RE2 syntax is JavaScript's for what schemas use; a pattern that is not is left to the author. */
function pattern(text: string): RegExp | undefined {
  if (!patterns.has(text)) {
    let made: RegExp | undefined;
    try {
      made = new RegExp(text, 'u');
    } catch {
      made = undefined;
    }
    patterns.set(text, made);
  }
  return patterns.get(text);
}

const fault = (reason: FieldError['reason'], field: string, message: string): FieldError => ({
  reason,
  field,
  message,
});

function invalid(field: string, value: unknown, why: string): FieldError {
  return fault('FieldValueInvalid', field, `Invalid value: ${JSON.stringify(value)}: ${field} in body ${why}`);
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function hasType(value: unknown, type: unknown): boolean {
  const actual = typeName(value);
  return actual === type || (type === 'number' && actual === 'integer');
}

/**
 * Checks a value against an `openAPIV3Schema`, in the words of apiextensions-apiserver. Rules in CEL
 * (`x-kubernetes-validations`) are not evaluated.
 */
export function validateSchema(value: unknown, schema: Schema, path = ''): FieldError[] {
  if (value === null && schema.nullable === true) return [];
  const out: FieldError[] = [];
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (typeof value !== 'string' && typeName(value) !== 'integer') {
      out.push(invalid(path, typeName(value), `must be of type integer,string: ${JSON.stringify(typeName(value))}`));
    }
  } else if (schema.type !== undefined && !hasType(value, schema.type)) {
    const actual = JSON.stringify(typeName(value));
    return [
      fault(
        'FieldValueTypeInvalid',
        path,
        `Invalid value: ${actual}: ${path} in body must be of type ${String(schema.type as string)}: ${actual}`,
      ),
    ];
  }
  if (Array.isArray(schema.enum) && !schema.enum.some((option) => sameJson(option as Json, value as Json))) {
    const options = schema.enum.map((option) => JSON.stringify(option)).join(', ');
    out.push(
      fault(
        'FieldValueNotSupported',
        path,
        `Unsupported value: ${JSON.stringify(value)}: supported values: ${options}`,
      ),
    );
  }
  if (typeof value === 'string') out.push(...checkString(value, schema, path));
  else if (typeof value === 'number') out.push(...checkNumber(value, schema, path));
  else if (Array.isArray(value)) out.push(...checkList(value, schema, path));
  else if (isRecord(value)) out.push(...checkObject(value, schema, path));
  out.push(...checkCombined(value, schema, path));
  return out;
}

function checkString(value: string, schema: Schema, path: string): FieldError[] {
  const out: FieldError[] = [];
  // In code points, as Go counts runes.
  const length = Array.from(value).length;
  if (typeof schema.minLength === 'number' && length < schema.minLength) {
    out.push(invalid(path, value, `should be at least ${schema.minLength} chars long`));
  }
  if (typeof schema.maxLength === 'number' && length > schema.maxLength) {
    out.push(fault('FieldValueTooLong', path, `Too long: may not be more than ${schema.maxLength} bytes`));
  }
  if (typeof schema.pattern === 'string' && pattern(schema.pattern)?.test(value) === false) {
    out.push(invalid(path, value, `should match '${schema.pattern}'`));
  }
  if (schema.format === 'date-time' && Number.isNaN(Date.parse(value))) {
    out.push(invalid(path, value, `must be of type date-time: ${JSON.stringify(value)}`));
  }
  return out;
}

function checkNumber(value: number, schema: Schema, path: string): FieldError[] {
  const out: FieldError[] = [];
  const { minimum, maximum, multipleOf } = schema;
  if (typeof minimum === 'number') {
    const strict = schema.exclusiveMinimum === true;
    if (value < minimum || (strict && value === minimum)) {
      out.push(invalid(path, value, `should be greater than ${strict ? '' : 'or equal to '}${minimum}`));
    }
  }
  if (typeof maximum === 'number') {
    const strict = schema.exclusiveMaximum === true;
    if (value > maximum || (strict && value === maximum)) {
      out.push(invalid(path, value, `should be less than ${strict ? '' : 'or equal to '}${maximum}`));
    }
  }
  if (typeof multipleOf === 'number' && value % multipleOf !== 0) {
    out.push(invalid(path, value, `should be a multiple of ${multipleOf}`));
  }
  return out;
}

function checkList(value: readonly unknown[], schema: Schema, path: string): FieldError[] {
  const out: FieldError[] = [];
  if (typeof schema.minItems === 'number' && value.length < schema.minItems) {
    out.push(invalid(path, value.length, `should have at least ${schema.minItems} items`));
  }
  if (typeof schema.maxItems === 'number' && value.length > schema.maxItems) {
    out.push(fault('FieldValueTooMany', path, `Too many: ${value.length}: must have at most ${schema.maxItems} items`));
  }
  const list = schema['x-kubernetes-list-type'];
  if (list === 'set' || list === 'map') {
    const keys = (schema['x-kubernetes-list-map-keys'] ?? []) as string[];
    const seen = new Set<string>();
    value.forEach((item, i) => {
      const id = list === 'set' ? item : Object.fromEntries(keys.map((k) => [k, isRecord(item) ? item[k] : undefined]));
      const text = JSON.stringify(id);
      if (seen.has(text)) out.push(fault('FieldValueDuplicate', `${path}[${i}]`, `Duplicate value: ${text}`));
      seen.add(text);
    });
  }
  if (isRecord(schema.items)) {
    value.forEach((item, i) => out.push(...validateSchema(item, schema.items as Schema, `${path}[${i}]`)));
  }
  return out;
}

function checkObject(value: Record<string, unknown>, schema: Schema, path: string): FieldError[] {
  const out: FieldError[] = [];
  const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
  for (const name of (schema.required as string[] | undefined) ?? []) {
    if (value[name] === undefined) out.push(fault('FieldValueRequired', at(name), 'Required value'));
  }
  const count = Object.keys(value).length;
  if (typeof schema.minProperties === 'number' && count < schema.minProperties) {
    out.push(invalid(path, count, `should have at least ${schema.minProperties} properties`));
  }
  if (typeof schema.maxProperties === 'number' && count > schema.maxProperties) {
    out.push(fault('FieldValueTooMany', path, `Too many: ${count}: must have at most ${schema.maxProperties} items`));
  }
  const { properties, additionalProperties: more } = schema;
  for (const [name, child] of Object.entries(value)) {
    if (child === undefined) continue;
    const inner = isRecord(properties) && Object.hasOwn(properties, name) ? properties[name] : more;
    if (isRecord(inner)) out.push(...validateSchema(child, inner, at(name)));
  }
  return out;
}

function checkCombined(value: unknown, schema: Schema, path: string): FieldError[] {
  const out: FieldError[] = [];
  const list = (name: string): Schema[] => (Array.isArray(schema[name]) ? (schema[name] as Schema[]) : []);
  for (const part of list('allOf')) out.push(...validateSchema(value, part, path));
  const passes = (part: Schema): boolean => validateSchema(value, part, path).length === 0;
  const [any, one] = [list('anyOf'), list('oneOf')];
  // An integer-or-string is written with an anyOf of both types.
  if (any.length > 0 && schema['x-kubernetes-int-or-string'] !== true && !any.some(passes)) {
    out.push(invalid(path, '', 'must validate at least one schema (anyOf)'));
  }
  if (one.length > 0) {
    const matching = one.filter(passes).length;
    if (matching !== 1) {
      out.push(
        invalid(
          path,
          '',
          `must validate one and only one schema (oneOf). Found ${matching === 0 ? 'none' : matching} valid`,
        ),
      );
    }
  }
  if (isRecord(schema.not) && passes(schema.not)) out.push(invalid(path, '', 'must not validate the schema (not)'));
  return out;
}
