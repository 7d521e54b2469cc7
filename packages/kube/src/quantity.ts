import { WeftError } from '@weft/plan';

/** A quantity as an exact number of 10⁻⁹ units, with the family of suffixes it was written in. */
export interface ParsedQuantity {
  readonly nanos: bigint;
  readonly format: 'DecimalSI' | 'BinarySI' | 'DecimalExponent';
}

const NANO = 1_000_000_000n;
/** 2⁶³−1 units; larger values are capped, as in Kubernetes. */
const MAX = (2n ** 63n - 1n) * NANO;

const DECIMAL: readonly (readonly [string, number])[] = [
  ['E', 18],
  ['P', 15],
  ['T', 12],
  ['G', 9],
  ['M', 6],
  ['k', 3],
  ['', 0],
  ['m', -3],
  ['u', -6],
  ['n', -9],
];
const BINARY: readonly string[] = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/**
 * Parses a quantity such as `100m`, `1.5Gi` or `2e3` (k8s.io/apimachinery/pkg/api/resource). What is finer than 10⁻⁹
 * is rounded away from zero. Throws WeftError `QUANTITY_INVALID` with Kubernetes' message.
 */
export function parseQuantity(text: string | number): ParsedQuantity {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?([A-Za-z]*)([+-]?\d*)$/.exec(String(text));
  const [, sign = '', whole = '', fraction = '', suffix = '', exponentDigits = ''] = match ?? [];
  if (!match || (whole === '' && fraction === '')) {
    throw invalid("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  }
  let format: ParsedQuantity['format'] = 'DecimalSI';
  let numerator = BigInt(whole + fraction);
  let exponent = -fraction.length;
  const binary = BINARY.indexOf(suffix);
  const decimal = DECIMAL.find(([name]) => name === suffix);
  if (exponentDigits !== '') {
    if ((suffix !== 'e' && suffix !== 'E') || !/\d/.test(exponentDigits) || exponentDigits.length > 6)
      throw badSuffix();
    format = 'DecimalExponent';
    exponent += Number(exponentDigits);
  } else if (binary > 0) {
    format = 'BinarySI';
    numerator *= 1024n ** BigInt(binary);
  } else if (decimal !== undefined) exponent += decimal[1];
  else throw badSuffix();

  let nanos: bigint;
  const shift = exponent + 9;
  if (numerator === 0n) nanos = 0n;
  else if (shift >= 0) nanos = shift > 60 ? MAX : numerator * 10n ** BigInt(shift);
  else if (-shift > 400) nanos = 1n;
  else {
    const divisor = 10n ** BigInt(-shift);
    nanos = (numerator + divisor - 1n) / divisor;
  }
  if (nanos > MAX) nanos = MAX;
  return { nanos: sign === '-' ? -nanos : nanos, format };
}

/**
 * The canonical text: the largest suffix with a whole number in front. Binary quantities below 1024 or with a fraction
 * use decimal suffixes, as in Kubernetes.
 */
export function formatQuantity(quantity: ParsedQuantity): string {
  const { nanos } = quantity;
  if (nanos === 0n) return '0';
  const negative = nanos < 0n;
  const size = negative ? -nanos : nanos;
  return (negative ? '-' : '') + formatSize(size, quantity.format);
}

function formatSize(size: bigint, format: ParsedQuantity['format']): string {
  if (format === 'BinarySI' && size >= 1024n * NANO) {
    let units = (size + NANO - 1n) / NANO;
    let power = 0;
    while (power < BINARY.length - 1 && units % 1024n === 0n) {
      units /= 1024n;
      power++;
    }
    return `${units}${BINARY[power]}`;
  }
  for (const [suffix, exponent] of DECIMAL) {
    const scale = 10n ** BigInt(exponent + 9);
    if (size % scale !== 0n) continue;
    const mantissa = size / scale;
    if (format !== 'DecimalExponent') return `${mantissa}${suffix}`;
    return exponent === 0 ? `${mantissa}` : `${mantissa}e${exponent}`;
  }
  return `${size}n`;
}

/** Negative when a < b, 0 when they are the same amount (`1000m` and `1`), positive when a > b. */
export function compareQuantities(a: string | number, b: string | number): number {
  const left = parseQuantity(a).nanos;
  const right = parseQuantity(b).nanos;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The sum, in the format of the first. */
export function addQuantities(first: ParsedQuantity, second: ParsedQuantity): ParsedQuantity {
  return { nanos: first.nanos + second.nanos, format: first.format };
}

/** The quantity in units, rounded away from zero to a whole number (bytes for memory). */
export function quantityUnits(text: string | number): number {
  return Number(roundUp(parseQuantity(text).nanos, NANO));
}

/** The quantity in thousandths, rounded away from zero (millicores for CPU). */
export function quantityMillis(text: string | number): number {
  return Number(roundUp(parseQuantity(text).nanos, NANO / 1000n));
}

function roundUp(value: bigint, step: bigint): bigint {
  return value < 0n ? -((-value + step - 1n) / step) : (value + step - 1n) / step;
}

function badSuffix(): WeftError {
  return invalid("unable to parse quantity's suffix");
}

function invalid(message: string): WeftError {
  return new WeftError({ code: 'QUANTITY_INVALID', message });
}
