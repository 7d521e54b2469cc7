/** What every user-visible error of Weft carries: a code to search for, a message that names the object, and a way out. */
export interface WeftErrorInit {
  /** Stable upper-case identifier, for example `CIDR_OVERLAP`. */
  readonly code: string;
  /** One sentence that names the object and the field at fault. */
  readonly message: string;
  /** What the reader can do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** Base class of all errors that Weft shows to a user. */
export class WeftError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(init: WeftErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = 'WeftError';
    this.code = init.code;
    this.hint = init.hint;
  }
}

/** The message of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
