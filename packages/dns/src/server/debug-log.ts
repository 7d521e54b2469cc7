import type { LogFields, Logger } from '@weft/plan';

/** A logger whose debug messages can be let through while the server runs, whatever its level is. */
export class DebugLog implements Logger {
  /** Shared with the children. */
  readonly #state: { on: boolean };
  readonly #base: Logger;

  constructor(base: Logger, state: { on: boolean } = { on: false }) {
    this.#base = base;
    this.#state = state;
  }

  set debugging(on: boolean) {
    this.#state.on = on;
  }

  readonly debug = (message: string, fields?: LogFields): void => {
    if (this.#state.on) this.#base.info(message, { ...fields, level: 'debug' });
    else this.#base.debug(message, fields);
  };

  readonly info = (message: string, fields?: LogFields): void => this.#base.info(message, fields);
  readonly warn = (message: string, fields?: LogFields): void => this.#base.warn(message, fields);
  readonly error = (message: string, fields?: LogFields): void => this.#base.error(message, fields);
  readonly child = (fields: LogFields): Logger => new DebugLog(this.#base.child(fields), this.#state);
}
