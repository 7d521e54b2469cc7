import { errorMessage, WeftError } from '@weft/plan';

/** Error codes of the CNI specification ("Error", 1–99); 8 and 999 are additions of libcni. */
export const CniCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  /** STATUS: ADD cannot be served. */
  unavailable: 50,
  /** STATUS: existing containers may have limited connectivity. */
  limited: 51,
  /** The interface asked for exists in the sandbox already. */
  interfaceExists: 100,
  /** CHECK found the container's network changed. */
  checkFailed: 101,
  /** The host port asked for belongs to another container. */
  hostPortTaken: 102,
  internal: 999,
} as const;

/** An error as a CNI plugin reports it: on stdout, with exit status 1. */
export class CniError extends WeftError {
  readonly cniCode: number;
  readonly details: string | undefined;

  constructor(cniCode: number, message: string, details?: string, cause?: unknown) {
    const hint = details === undefined || details === '' ? {} : { hint: details };
    super({ code: `CNI_${cniCode}`, message, ...hint, ...(cause === undefined ? {} : { cause }) });
    this.name = 'CniError';
    this.cniCode = cniCode;
    this.details = details;
  }
}

/** Any failure as a CNI error; what is not one already becomes code 999. */
export function asCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  const hint = error instanceof WeftError ? error.hint : undefined;
  return new CniError(CniCode.internal, errorMessage(error), hint, error);
}

/** The text a plugin prints for an error. `details` is left out when empty. */
export function formatCniError(error: CniError, cniVersion?: string): string {
  return JSON.stringify(
    {
      ...(cniVersion === undefined ? {} : { cniVersion }),
      code: error.cniCode,
      msg: error.message,
      ...(error.details === undefined || error.details === '' ? {} : { details: error.details }),
    },
    null,
    4,
  );
}
