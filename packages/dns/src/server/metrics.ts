/** One number that the hot path adds to. */
export interface Cell {
  value: number;
}

/** Observations in buckets; the unit is the one the metric's name says. */
export interface HistogramCell {
  observe(value: number): void;
  /** Counts `count` observations of at most `value` that add up to `sum`. */
  observeMany(value: number, count: number, sum: number): void;
  /** Adds counts per bucket, with one more for what is above the last bound, and the sum of what was counted. */
  add(counts: ArrayLike<number>, sum: number): void;
}

function labelText(names: readonly string[], values: readonly string[]): string {
  return names
    .map((name, i) => {
      const value = (values[i] ?? '').replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"');
      return `${name}="${value}"`;
    })
    .join(',');
}

/** A family of counters or gauges told apart by labels. Cells are fetched once and then cost one addition. */
export class CounterVec {
  readonly #cells = new Map<string, Cell>();
  readonly #labels: readonly string[];

  constructor(labels: readonly string[]) {
    this.#labels = labels;
  }

  cell(...values: readonly string[]): Cell {
    const key = labelText(this.#labels, values);
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = { value: 0 };
      this.#cells.set(key, cell);
    }
    return cell;
  }

  render(name: string, out: string[]): void {
    for (const [key, cell] of this.#cells)
      out.push(key === '' ? `${name} ${cell.value}` : `${name}{${key}} ${cell.value}`);
  }
}

class Buckets implements HistogramCell {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #total = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    this.observeMany(value, 1, value);
  }

  observeMany(value: number, count: number, sum: number): void {
    this.#sum += sum;
    this.#total += count;
    let i = 0;
    while (i < this.#bounds.length && value > (this.#bounds[i] as number)) i += 1;
    this.#counts[i] = (this.#counts[i] as number) + count;
  }

  add(counts: ArrayLike<number>, sum: number): void {
    this.#sum += sum;
    for (let i = 0; i < this.#counts.length; i++) {
      const count = counts[i] ?? 0;
      this.#counts[i] = (this.#counts[i] as number) + count;
      this.#total += count;
    }
  }

  render(name: string, key: string, out: string[]): void {
    const prefix = key === '' ? '' : `${key},`;
    let running = 0;
    this.#bounds.forEach((bound, i) => {
      running += this.#counts[i] as number;
      out.push(`${name}_bucket{${prefix}le="${bound}"} ${running}`);
    });
    out.push(`${name}_bucket{${prefix}le="+Inf"} ${this.#total}`);
    const suffix = key === '' ? '' : `{${key}}`;
    out.push(`${name}_sum${suffix} ${this.#sum}`, `${name}_count${suffix} ${this.#total}`);
  }
}

/** A family of histograms told apart by labels. */
export class HistogramVec {
  readonly #cells = new Map<string, Buckets>();
  readonly #labels: readonly string[];
  readonly #bounds: readonly number[];

  constructor(labels: readonly string[], bounds: readonly number[]) {
    this.#labels = labels;
    this.#bounds = bounds;
  }

  cell(...values: readonly string[]): HistogramCell {
    const key = labelText(this.#labels, values);
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = new Buckets(this.#bounds);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  render(name: string, out: string[]): void {
    for (const [key, cell] of this.#cells) cell.render(name, key, out);
  }
}

interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly vec: CounterVec | HistogramVec;
}

/** Metrics of one DNS server in the Prometheus text format 0.0.4. They outlive reloads. */
export class DnsMetrics {
  readonly #families = new Map<string, Family>();
  readonly #collectors = new Set<() => void>();

  counter(name: string, help: string, labels: readonly string[] = []): CounterVec {
    return this.#family(name, () => ({ type: 'counter', help, vec: new CounterVec(labels) })) as CounterVec;
  }

  gauge(name: string, help: string, labels: readonly string[] = []): CounterVec {
    return this.#family(name, () => ({ type: 'gauge', help, vec: new CounterVec(labels) })) as CounterVec;
  }

  histogram(name: string, help: string, labels: readonly string[], bounds: readonly number[]): HistogramVec {
    return this.#family(name, () => ({
      type: 'histogram',
      help,
      vec: new HistogramVec(labels, bounds),
    })) as HistogramVec;
  }

  /** Runs before every rendering, for gauges that are read rather than kept. Returns how to stop it. */
  beforeRender(collect: () => void): () => void {
    this.#collectors.add(collect);
    return () => void this.#collectors.delete(collect);
  }

  render(): string {
    for (const collect of this.#collectors) collect();
    const out: string[] = [];
    for (const [name, family] of [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const lines: string[] = [];
      family.vec.render(name, lines);
      if (lines.length > 0) out.push(`# HELP ${name} ${family.help}`, `# TYPE ${name} ${family.type}`, ...lines);
    }
    return `${out.join('\n')}\n`;
  }

  #family(name: string, make: () => Family): CounterVec | HistogramVec {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = make();
      this.#families.set(name, family);
    }
    return family.vec;
  }
}
