import { errnoName } from '../errno.ts';
import { KernelError } from '../errors.ts';
import type { NlFailure } from '../netlink/socket.ts';
import type { RtLabel } from './batch.ts';

/** A refusal with the name of what was asked for. */
export function toError(failure: NlFailure, label: RtLabel): KernelError {
  return new KernelError({
    errno: failure.errno,
    operation: label.operation,
    object: label.object(),
    ...(failure.extack === undefined ? {} : { extack: failure.extack }),
  });
}

/** The refusals of a batch, each with the name of what was asked for; those that its request allows are left out. */
export function toErrors(failures: readonly NlFailure[], labels: readonly RtLabel[]): KernelError[] {
  const errors: KernelError[] = [];
  for (const failure of failures) {
    const label = labels[failure.index];
    if (label === undefined || label.ignore?.includes(errnoName(failure.errno)) === true) continue;
    errors.push(toError(failure, label));
  }
  return errors;
}

/** Gives an error of the socket itself the name of what was being done. */
export function named(labels: readonly RtLabel[]): (error: unknown) => never {
  return (error) => {
    const label = labels[0];
    if (!(error instanceof KernelError) || label === undefined) throw error;
    throw new KernelError({
      errno: error.errno,
      operation: label.operation,
      object: label.object(),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  };
}
