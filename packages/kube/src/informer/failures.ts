import { isExpired, StatusError } from '../status.ts';

/** Errors on resuming that only a new reading of the state can cure. */
export function mustRelist(error: unknown): boolean {
  if (!(error instanceof StatusError)) return false;
  if (isExpired(error)) return true;
  // The server went back in time (restored from a backup): our version lies in its future.
  if (error.status.details?.causes?.some((cause) => cause.reason === 'ResourceVersionTooLarge')) return true;
  return error.httpCode >= 400 && error.httpCode < 500 && ![401, 403, 404, 408, 429].includes(error.httpCode);
}

/** Refusals that mean the server has no streaming lists, rather than that it is busy or we may not ask. */
export function refusesStreamingList(error: unknown): boolean {
  return (
    error instanceof StatusError &&
    error.httpCode >= 400 &&
    error.httpCode < 500 &&
    ![401, 403, 404, 408, 410, 429].includes(error.httpCode)
  );
}
