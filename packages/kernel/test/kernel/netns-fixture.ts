import { execFileSync } from 'node:child_process';
import { NetNs } from '../../src/index.ts';

/** Runs a program inside a namespace and gives its standard output. */
export function inside(ns: NetNs, cmd: string, ...args: string[]): string {
  return ns.run(() => execFileSync(cmd, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
}

export function json<T = Record<string, unknown>[]>(ns: NetNs, cmd: string, ...args: string[]): T {
  return JSON.parse(inside(ns, cmd, ...args)) as T;
}

/** Namespaces of one test, all closed at its end. */
export class Namespaces {
  readonly #all: NetNs[] = [];

  make(): NetNs {
    const ns = NetNs.anonymous();
    this.#all.push(ns);
    return ns;
  }

  close(): void {
    for (const ns of this.#all.splice(0)) ns.close();
  }
}
