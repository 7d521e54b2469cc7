import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniRuntime, type CniRuntimeOptions } from '../../src/runtime/runtime.ts';

/** One call as a fake plugin saw it. */
export interface SeenCall {
  readonly plugin: string;
  readonly env: Readonly<Record<string, string>>;
  readonly input: Readonly<Record<string, unknown>>;
}

/** A directory with shell scripts as plugins, which write down how they were called, and a runtime for them. */
export class FakePlugins {
  readonly dir: string;
  readonly runtime: CniRuntime;
  #serial = 0;

  constructor(dir: string, options: Partial<CniRuntimeOptions> = {}) {
    this.dir = dir;
    for (const name of ['bin', 'calls', 'net.d']) mkdirSync(join(dir, name), { recursive: true });
    this.runtime = new CniRuntime({
      confDir: join(dir, 'net.d'),
      binDirs: [join(dir, 'bin')],
      cacheDir: join(dir, 'cache'),
      env: { PATH: process.env['PATH'] },
      ...options,
    });
  }

  /** Makes a plugin; `script` runs after the call was written down, with CALL as its number. */
  plugin(name: string, script: string): void {
    const file = join(this.dir, 'bin', name);
    const calls = join(this.dir, 'calls');
    const record = `n=$(ls ${calls} | grep -c env$); n=$(printf %03d $n)
env >${calls}/$n-${name}.env; cat >${calls}/$n-${name}.json`;
    writeFileSync(file, `#!/bin/sh\n${record}\n${script}\n`);
    chmodSync(file, 0o755);
  }

  /** A plugin that prints a result of its own, or the prevResult's place in the chain. */
  answers(name: string, result: unknown): void {
    const file = join(this.dir, `answer${++this.#serial}`);
    writeFileSync(file, typeof result === 'string' ? result : JSON.stringify(result));
    this.plugin(name, `[ "$CNI_COMMAND" != ADD ] || cat ${file}`);
  }

  calls(): readonly SeenCall[] {
    const dir = join(this.dir, 'calls');
    return readdirSync(dir)
      .filter((name) => name.endsWith('.env'))
      .sort()
      .map((name) => {
        const env = readFileSync(join(dir, name), 'utf8')
          .split('\n')
          .filter((line) => line.includes('='))
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
        const input = readFileSync(join(dir, name.replace(/env$/, 'json')), 'utf8');
        return {
          plugin: name.slice(4, -4),
          env: Object.fromEntries(env) as Record<string, string>,
          input: (input === '' ? {} : JSON.parse(input)) as Record<string, unknown>,
        };
      });
  }

  cached(network = 'n', containerId = 'c', ifname = 'eth0'): string | undefined {
    const file = join(this.dir, 'cache', 'results', `${network}-${containerId}-${ifname}`);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  }
}
