export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Values that a log line may carry besides its message. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger. Injected everywhere; nothing in Weft writes to the console by itself. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose every line also carries these fields. */
  child(fields: LogFields): Logger;
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const extra = value as Error & { code?: unknown; hint?: unknown };
    return { message: value.message, code: extra.code, hint: extra.hint, stack: value.stack };
  }
  return typeof value === 'bigint' ? value.toString() : value;
}

/** A logger that writes one JSON object per line. */
export function jsonLogger(
  write: (line: string) => void,
  options: { level?: LogLevel; fields?: LogFields } = {},
): Logger {
  const threshold = RANK[options.level ?? 'info'];
  const base = options.fields ?? {};
  const emit = (level: LogLevel, message: string, fields?: LogFields): void => {
    if (RANK[level] < threshold) return;
    const line: Record<string, unknown> = { time: new Date().toISOString(), level, message, ...base };
    for (const [key, value] of Object.entries(fields ?? {})) line[key] = plain(value);
    write(`${JSON.stringify(line)}\n`);
  };
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
    child: (fields) => jsonLogger(write, { ...options, fields: { ...base, ...fields } }),
  };
}

/** A logger that drops everything. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
