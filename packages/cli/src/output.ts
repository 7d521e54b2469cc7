import { errorMessage, WeftError } from '@weft/plan';

/** Where a command writes and how: colour and glyphs only on a terminal, one JSON document with `-o json`. */
export interface Output {
  readonly tty: boolean;
  readonly json: boolean;
  line(text: string): void;
  note(text: string): void;
  /** The command's result for scripts; printed only with `-o json`. */
  result(value: unknown): void;
}

export function createOutput(format: string | undefined): Output {
  const json = format === 'json';
  const tty = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  return {
    tty,
    json,
    line: (text) => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    note: (text) => {
      process.stderr.write(tty ? `\u001b[33m!\u001b[0m ${text}\n` : `note: ${text}\n`);
    },
    result: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
    },
  };
}

/** Left-aligned columns, as kubectl prints them. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? '').length)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd((widths[i] ?? 0) + 3)))
      .join('')
      .trimEnd(),
  );
}

export function formatMs(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** Prints an error the way every command does. */
export function printError(error: unknown, json: boolean): void {
  const known = error instanceof WeftError ? error : undefined;
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ error: { code: known?.code ?? 'INTERNAL', message: errorMessage(error), hint: known?.hint } })}\n`,
    );
    return;
  }
  process.stderr.write(`error [${known?.code ?? 'INTERNAL'}]: ${errorMessage(error)}\n`);
  if (known?.hint !== undefined) process.stderr.write(`hint: ${known.hint}\n`);
  if (known === undefined && error instanceof Error && process.env['WEFT_DEBUG'] !== undefined)
    process.stderr.write(`${error.stack}\n`);
}
