import { WeftError } from '@weft/plan';

/** Where in which file something stands. Lines count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
}

/** A Corefile that cannot be served. `message` reads as CoreDNS prints it, position included. */
export class CorefileError extends WeftError {
  readonly position: Position;

  constructor(position: Position, message: string, hint?: string) {
    super({ code: 'COREFILE', message, ...(hint === undefined ? {} : { hint }) });
    this.name = 'CorefileError';
    this.position = position;
  }
}

/** `Corefile:4 - Error during parsing: MESSAGE`. */
export function parsingError(position: Position, message: string, hint?: string): CorefileError {
  return new CorefileError(
    position,
    `${position.file}:${position.line} - Error during parsing: ${message}`,
    hint ?? `see line ${position.line} of ${position.file}`,
  );
}

export function syntaxError(position: Position, found: string, expected: string): CorefileError {
  return new CorefileError(
    position,
    `${position.file}:${position.line} - Syntax error: Unexpected token '${found}', expecting '${expected}'`,
  );
}

/** The error for a wrong number of words after `word`. */
export function argumentError(position: Position, word: string): CorefileError {
  return parsingError(position, `Wrong argument count or unexpected line ending after '${word}'`);
}

/** Prefixes an error of a plugin's set-up with the plugin's name, as CoreDNS does. */
export function inPlugin(plugin: string, position: Position, error: unknown): CorefileError {
  const message = error instanceof Error ? error.message : String(error);
  const at = error instanceof CorefileError ? error.position : position;
  const hint = error instanceof WeftError ? error.hint : undefined;
  return new CorefileError(at, `plugin/${plugin}: ${message}`, hint);
}
