import type { LogFields, Logger, LogLevel } from '@weft/plan';
import { errorMessage } from '@weft/plan';

const LETTER: Readonly<Record<LogLevel, string>> = { debug: 'I', info: 'I', warn: 'W', error: 'E' };

function two(n: number, width = 2): string {
  return String(n).padStart(width, '0');
}

function value(v: unknown): string {
  if (v instanceof Error) return JSON.stringify(errorMessage(v));
  return typeof v === 'string' ? JSON.stringify(v) : (JSON.stringify(v) ?? 'null');
}

/**
 * Lines as klog writes them, so that what reads kube-proxy's log reads ours:
 * `I1201 01:14:59.123456       1 proxy.ts:1] "Using nftables Proxier" mode="nftables"`. `verbosity` 4 and more shows
 * debug lines.
 */
export function klogLogger(write: (line: string) => void, verbosity: number, fields: LogFields = {}): Logger {
  const line = (level: LogLevel, message: string, more: LogFields | undefined): void => {
    if (level === 'debug' && verbosity < 4) return;
    const now = new Date();
    const micros = two(Math.floor((performance.timeOrigin + performance.now()) * 1000) % 1_000_000, 6);
    const head = `${LETTER[level]}${two(now.getMonth() + 1)}${two(now.getDate())} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}.${micros}`;
    const all = Object.entries({ ...fields, ...more });
    const where = typeof fields['component'] === 'string' ? fields['component'] : 'kube-proxy';
    const rest = all
      .filter(([key]) => key !== 'component')
      .map(([key, v]) => ` ${key === 'error' ? 'err' : key}=${value(v)}`);
    write(`${head} ${String(process.pid).padStart(7)} ${where}] ${JSON.stringify(message)}${rest.join('')}\n`);
  };
  return {
    debug: (message, more) => line('debug', message, more),
    info: (message, more) => line('info', message, more),
    warn: (message, more) => line('warn', message, more),
    error: (message, more) => line('error', message, more),
    child: (more) => klogLogger(write, verbosity, { ...fields, ...more }),
  };
}
