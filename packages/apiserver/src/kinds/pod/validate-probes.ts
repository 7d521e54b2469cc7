import type { Container, LifecycleHandler, Probe } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { checkPortOrName } from '../service/validate.ts';
import { forbidden, invalid, required } from '../validate/errors.ts';
import { checkEnum, checkNonNegative, checkPort } from '../validate/values.ts';

const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

/** Exactly one way to act, and that one complete. */
export function checkHandler(field: string, handler: Probe | LifecycleHandler): FieldError[] {
  const given = HANDLERS.filter((key) => key in handler && (handler as Record<string, unknown>)[key]);
  if (given.length === 0) return [required(field, 'must specify a handler type')];
  const errors: FieldError[] = given
    .slice(1)
    .map((key) => forbidden(`${field}.${key}`, 'may not specify more than 1 handler type'));
  const { exec, httpGet, tcpSocket } = handler;
  if (exec && !exec.command?.length) errors.push(required(`${field}.exec.command`));
  if (httpGet) {
    if (!httpGet.path) errors.push(required(`${field}.httpGet.path`));
    errors.push(...checkPortOrName(`${field}.httpGet.port`, httpGet.port));
    errors.push(...checkEnum(`${field}.httpGet.scheme`, httpGet.scheme, ['HTTP', 'HTTPS']));
    (httpGet.httpHeaders ?? []).forEach((header, i) => {
      if (!/^[-A-Za-z0-9]+$/.test(header.name)) {
        const text =
          "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
        errors.push(invalid(`${field}.httpGet.httpHeaders[${i}].name`, header.name, text));
      }
    });
  }
  if (tcpSocket) errors.push(...checkPortOrName(`${field}.tcpSocket.port`, tcpSocket.port));
  if ('grpc' in handler && handler.grpc) errors.push(...checkPort(`${field}.grpc.port`, handler.grpc.port));
  return errors;
}

const COUNTS = [
  'initialDelaySeconds',
  'timeoutSeconds',
  'periodSeconds',
  'successThreshold',
  'failureThreshold',
] as const;

function checkProbe(field: string, probe: Probe | undefined, onceIsEnough: boolean): FieldError[] {
  if (!probe) return [];
  const errors = checkHandler(field, probe);
  for (const key of COUNTS) errors.push(...checkNonNegative(`${field}.${key}`, probe[key]));
  if (onceIsEnough && probe.successThreshold !== undefined && probe.successThreshold !== 1) {
    errors.push(invalid(`${field}.successThreshold`, probe.successThreshold, 'must be 1'));
  }
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) {
    errors.push(invalid(`${field}.terminationGracePeriodSeconds`, grace, 'must be greater than 0'));
  }
  return errors;
}

export function checkProbes(field: string, container: Container): FieldError[] {
  const errors = [
    ...checkProbe(`${field}.livenessProbe`, container.livenessProbe, true),
    ...checkProbe(`${field}.readinessProbe`, container.readinessProbe, false),
    ...checkProbe(`${field}.startupProbe`, container.startupProbe, true),
  ];
  if (container.readinessProbe?.terminationGracePeriodSeconds !== undefined) {
    const at = `${field}.readinessProbe.terminationGracePeriodSeconds`;
    const value = container.readinessProbe.terminationGracePeriodSeconds;
    errors.push(invalid(at, value, 'must not be set for readinessProbes'));
  }
  return errors;
}
