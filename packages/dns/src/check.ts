import { Metrics, silentLogger } from '@weft/plan';
import { CorefileError, type Position } from './corefile/error.ts';
import { fileImports } from './corefile/files.ts';
import { type ImportSource, parseCorefile } from './corefile/parser.ts';
import { isDirective } from './plugins/index.ts';
import { configure } from './server/configuration.ts';
import { HttpHub } from './server/http.ts';
import { DnsMetrics } from './server/metrics.ts';
import type { Runtime } from './server/plugin.ts';
import { Shared } from './server/shared.ts';
import { warnOfTraps } from './traps.ts';

/** Something to say about a line of a Corefile. */
export interface Diagnostic extends Position {
  /** With an error the server does not start; a warning is accepted, but hardly meant. */
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly hint?: string;
}

export interface CheckOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly imports?: ImportSource;
}

/** Checks a Corefile as the server would read it, without starting anything. */
export function checkCorefile(text: string, file = 'Corefile', options: CheckOptions = {}): Diagnostic[] {
  const found: Diagnostic[] = [];
  const warn = (position: Position, message: string): void => {
    found.push({ severity: 'warning', file: position.file, line: position.line, message });
  };
  try {
    const blocks = parseCorefile(text, file, {
      env: options.env ?? process.env,
      imports: options.imports ?? fileImports,
      isDirective,
      warn,
    });
    configure(blocks, { runtime: idleRuntime(), warn });
    warnOfTraps(blocks, warn);
  } catch (error) {
    if (!(error instanceof CorefileError)) throw error;
    const { position, message, hint } = error;
    found.push({ severity: 'error', ...pick(position), message, ...(hint === undefined ? {} : { hint }) });
  }
  return found;
}

function pick({ file, line }: Position): Position {
  return { file, line };
}

/** A runtime for set-up alone: nothing of it is started. */
function idleRuntime(): Runtime {
  const never = (): never => {
    throw new Error('not running');
  };
  return {
    log: silentLogger,
    version: '',
    metrics: new DnsMetrics(),
    loopMetrics: new Metrics(),
    http: new HttpHub(),
    kube: never,
    clock: { now: () => 0 },
    shared: new Shared(),
    corefile: undefined,
    reload: never,
    configHash: () => '',
    currentHash: () => '',
    setDebug: never,
    fatal: never,
  };
}
