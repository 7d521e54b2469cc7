import { WeftError } from '@weft/plan';
import { groupResource, type ResourceType } from './resources.ts';
import type { Status, StatusCause, StatusDetails } from './types/meta.ts';

/** The values of `Status.reason` (metav1.StatusReason) and the HTTP code that goes with each. */
const CODE_OF_REASON = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Gone: 410,
  Expired: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  TooManyRequests: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
  ServerTimeout: 500,
  Timeout: 504,
  StorageReadError: 500,
} as const;

export type StatusReason = keyof typeof CODE_OF_REASON | 'Unknown';

const REASON_OF_CODE: Readonly<Record<number, StatusReason>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** An API server's refusal, as the `Status` object it sent. */
export class StatusError extends WeftError {
  readonly status: Status;
  /** HTTP status code, for example 409. */
  readonly httpCode: number;
  readonly reason: StatusReason;

  constructor(status: Status, hint?: string) {
    const httpCode = status.code ?? 500;
    const reason = (status.reason as StatusReason | undefined) || REASON_OF_CODE[httpCode] || 'Unknown';
    super({
      code: reason.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
      message: status.message || `the server answered ${httpCode} ${reason}`,
      ...(hint === undefined ? {} : { hint }),
    });
    this.name = 'StatusError';
    this.status = status;
    this.httpCode = httpCode;
    this.reason = reason;
  }
}

/** True for a StatusError, and when `reason` is given, for one with that reason. */
export function isStatus(error: unknown, reason?: StatusReason): error is StatusError {
  return error instanceof StatusError && (reason === undefined || error.reason === reason);
}

/** True when the resource version asked for is no longer kept, and a new list is the only way on (410). */
export function isExpired(error: unknown): boolean {
  return error instanceof StatusError && (error.httpCode === 410 || error.reason === 'Expired');
}

/** Builds the `Status` object of a failure. */
export function failure(reason: StatusReason, message: string, details?: StatusDetails, code?: number): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code: code ?? (reason === 'Unknown' ? 500 : CODE_OF_REASON[reason]),
  };
}

/** A resource or kind that an error names. */
export type NamedResource = Pick<ResourceType, 'group' | 'plural' | 'kind'>;

const detailsOf = (type: NamedResource, name: string): StatusDetails => ({
  name,
  ...(type.group === '' ? {} : { group: type.group }),
  kind: type.plural,
});

/** The refusals of the API machinery, in its own wording (k8s.io/apimachinery/pkg/api/errors). */
export const statusErrors = {
  notFound: (type: NamedResource, name: string): StatusError =>
    new StatusError(failure('NotFound', `${groupResource(type)} "${name}" not found`, detailsOf(type, name))),

  alreadyExists: (type: NamedResource, name: string): StatusError =>
    new StatusError(failure('AlreadyExists', `${groupResource(type)} "${name}" already exists`, detailsOf(type, name))),

  conflict: (
    type: NamedResource,
    name: string,
    why = 'the object has been modified; please apply your changes to the latest version and try again',
  ): StatusError =>
    new StatusError(
      failure(
        'Conflict',
        `Operation cannot be fulfilled on ${groupResource(type)} "${name}": ${why}`,
        detailsOf(type, name),
      ),
    ),

  /** `causes` are field errors; their messages are listed behind the object's name as Kubernetes does. */
  invalid: (type: NamedResource, name: string, causes: readonly StatusCause[]): StatusError => {
    const lines = causes.map((c) => (c.field ? `${c.field}: ${c.message}` : (c.message ?? '')));
    const list = lines.length === 1 ? lines[0] : `[${[...new Set(lines)].join(', ')}]`;
    const kind = type.group === '' ? type.kind : `${type.kind}.${type.group}`;
    return new StatusError(
      failure('Invalid', `${kind} "${name}" is invalid: ${list}`, {
        name,
        ...(type.group === '' ? {} : { group: type.group }),
        kind: type.kind,
        causes: [...causes],
      }),
    );
  },

  badRequest: (message: string): StatusError => new StatusError(failure('BadRequest', message)),

  unauthorized: (message = 'Unauthorized'): StatusError => new StatusError(failure('Unauthorized', message)),

  forbidden: (type: NamedResource, name: string, why: string): StatusError =>
    new StatusError(
      failure(
        'Forbidden',
        name === ''
          ? `${groupResource(type)} is forbidden: ${why}`
          : `${groupResource(type)} "${name}" is forbidden: ${why}`,
        detailsOf(type, name),
      ),
    ),

  methodNotAllowed: (type: NamedResource, action: string): StatusError =>
    new StatusError(
      failure('MethodNotAllowed', `${action} is not supported on resources of kind "${groupResource(type)}"`, {
        ...(type.group === '' ? {} : { group: type.group }),
        kind: type.plural,
      }),
    ),

  /** The resource version asked for is no longer kept. */
  expired: (message: string): StatusError => new StatusError(failure('Expired', message)),

  unsupportedMediaType: (message: string): StatusError => new StatusError(failure('UnsupportedMediaType', message)),

  tooManyRequests: (message: string, retryAfterSeconds: number): StatusError =>
    new StatusError(failure('TooManyRequests', message, { retryAfterSeconds })),

  internal: (message: string): StatusError =>
    new StatusError(failure('InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] })),
};
