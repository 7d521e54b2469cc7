export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  inc(labels?: Labels, by?: number): void;
  value(labels?: Labels): number;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Forgets the value of these labels: what it was about is gone. */
  remove(labels?: Labels): void;
  value(labels?: Labels): number;
}

export interface Histogram {
  /** Records one observation, in the unit that the metric's name says (seconds by convention). */
  observe(value: number, labels?: Labels): void;
}

/** Bounds in seconds that suit operations between 100 µs and 10 s. */
export const DEFAULT_BUCKETS: readonly number[] = [
  0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

interface Series {
  readonly name: string;
  render(out: string[]): void;
}

function labelKey(labels: Labels | undefined): string {
  if (labels === undefined) return '';
  const names = Object.keys(labels).sort();
  return names
    .map((n) => `${n}="${String(labels[n]).replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')}"`)
    .join(',');
}

function sample(name: string, key: string, value: number): string {
  const text = Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : value < 0 ? '-Inf' : 'NaN';
  return key === '' ? `${name} ${text}` : `${name}{${key}} ${text}`;
}

/** A registry of metrics in the Prometheus text exposition format 0.0.4. */
export class Metrics {
  readonly #series = new Map<string, Series>();
  readonly #collectors: (() => void)[] = [];

  counter(name: string, help: string): Counter {
    return this.#once(name, () => new ScalarSeries(name, help, 'counter')) as ScalarSeries;
  }

  gauge(name: string, help: string): Gauge {
    return this.#once(name, () => new ScalarSeries(name, help, 'gauge')) as ScalarSeries;
  }

  histogram(name: string, help: string, buckets: readonly number[] = DEFAULT_BUCKETS): Histogram {
    return this.#once(name, () => new HistogramSeries(name, help, buckets)) as HistogramSeries;
  }

  /** Runs `collect` before every rendering, for gauges that are read rather than kept. */
  beforeRender(collect: () => void): void {
    this.#collectors.push(collect);
  }

  render(): string {
    for (const collect of this.#collectors) collect();
    const out: string[] = [];
    for (const series of [...this.#series.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) series.render(out);
    return `${out.join('\n')}\n`;
  }

  #once(name: string, make: () => Series): Series {
    let series = this.#series.get(name);
    if (series === undefined) {
      series = make();
      this.#series.set(name, series);
    }
    return series;
  }
}

class ScalarSeries implements Series, Counter, Gauge {
  readonly name: string;
  readonly #help: string;
  readonly #type: string;
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string, type: 'counter' | 'gauge') {
    this.name = name;
    this.#help = help;
    this.#type = type;
  }

  inc(labels?: Labels, by = 1): void {
    const key = labelKey(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }

  set(value: number, labels?: Labels): void {
    this.#values.set(labelKey(labels), value);
  }

  remove(labels?: Labels): void {
    this.#values.delete(labelKey(labels));
  }

  value(labels?: Labels): number {
    return this.#values.get(labelKey(labels)) ?? 0;
  }

  render(out: string[]): void {
    out.push(`# HELP ${this.name} ${this.#help}`, `# TYPE ${this.name} ${this.#type}`);
    if (this.#values.size === 0) out.push(sample(this.name, '', 0));
    for (const [key, value] of this.#values) out.push(sample(this.name, key, value));
  }
}

class HistogramSeries implements Series, Histogram {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #values = new Map<string, { counts: number[]; sum: number; total: number }>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  observe(value: number, labels?: Labels): void {
    const key = labelKey(labels);
    let entry = this.#values.get(key);
    if (entry === undefined) {
      entry = { counts: this.#bounds.map(() => 0), sum: 0, total: 0 };
      this.#values.set(key, entry);
    }
    entry.sum += value;
    entry.total += 1;
    const at = this.#bounds.findIndex((bound) => value <= bound);
    if (at >= 0) entry.counts[at] = (entry.counts[at] ?? 0) + 1;
  }

  render(out: string[]): void {
    out.push(`# HELP ${this.name} ${this.#help}`, `# TYPE ${this.name} histogram`);
    for (const [key, entry] of this.#values) {
      const prefix = key === '' ? '' : `${key},`;
      let running = 0;
      this.#bounds.forEach((bound, i) => {
        running += entry.counts[i] ?? 0;
        out.push(sample(`${this.name}_bucket`, `${prefix}le="${bound}"`, running));
      });
      out.push(sample(`${this.name}_bucket`, `${prefix}le="+Inf"`, entry.total));
      out.push(sample(`${this.name}_sum`, key, entry.sum), sample(`${this.name}_count`, key, entry.total));
    }
  }
}
