import { cpus, release, totalmem } from 'node:os';

/** What one benchmark has to say: lines for people and the numbers themselves. */
export interface PerfReport {
  readonly title: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
  /** Everything measured, for `-o json`. */
  readonly data: unknown;
}

/** The first column to the left, figures to the right. */
function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? '').length)));
  return [header, ...rows]
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0))).join('   '),
    )
    .join('\n');
}

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GB, kernel ${release()}, Node ${process.version}`;
}

export function print(report: PerfReport, args: readonly string[]): void {
  if (args.includes('json')) {
    process.stdout.write(`${JSON.stringify({ title: report.title, machine: machine(), data: report.data })}\n`);
    return;
  }
  process.stdout.write(
    `${report.title}\n${textTable(report.header, report.rows)}\n${report.notes.map((n) => `${n}\n`).join('')}`,
  );
}

/** Value behind a flag of the command line, as a number. */
export function numberOf(args: readonly string[], flag: string, fallback: number): number {
  const at = args.indexOf(flag);
  return at < 0 ? fallback : Number(args[at + 1]);
}
