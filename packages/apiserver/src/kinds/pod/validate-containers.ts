import {
  compareQuantities,
  type Container,
  type ContainerPort,
  type LifecycleHandler,
  parseQuantity,
  type PodSpec,
  type ResourceRequirements,
} from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { duplicate, forbidden, invalid, notFound, required } from '../validate/errors.ts';
import { dnsLabel, portName, qualifiedName } from '../validate/names.ts';
import { checkEnum, checkPort, checkRule, inRange, PROTOCOLS } from '../validate/values.ts';
import { checkEnv, checkEnvFrom } from './validate-env.ts';
import { checkHandler, checkProbes } from './validate-probes.ts';

const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];

function checkPorts(field: string, ports: readonly ContainerPort[] | undefined, hostNetwork: boolean): FieldError[] {
  const names = new Set<string>();
  return (ports ?? []).flatMap((port, i) => {
    const at = `${field}[${i}]`;
    const errors: FieldError[] = [];
    if (port.name) {
      const bad = checkRule(`${at}.name`, port.name, portName);
      errors.push(...bad);
      if (bad.length === 0 && names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    if (!port.containerPort) errors.push(required(`${at}.containerPort`));
    else errors.push(...checkPort(`${at}.containerPort`, port.containerPort));
    if (port.hostPort) {
      errors.push(...checkPort(`${at}.hostPort`, port.hostPort));
      if (hostNetwork && port.hostPort !== port.containerPort) {
        const text = 'must match `hostPort` when `hostNetwork` is true';
        errors.push(invalid(`${at}.containerPort`, port.containerPort, text));
      }
    }
    return [...errors, ...checkEnum(`${at}.protocol`, port.protocol, PROTOCOLS)];
  });
}

/** No two containers of a pod can have one port of the node. */
function checkHostPorts(field: string, spec: PodSpec): FieldError[] {
  const taken = new Set<string>();
  return (spec.containers ?? []).flatMap((container, i) =>
    (container.ports ?? []).flatMap((port, j) => {
      if (!port.hostPort) return [];
      const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`;
      if (taken.has(key)) return [duplicate(`${field}.containers[${i}].ports[${j}].hostPort`, key)];
      taken.add(key);
      return [];
    }),
  );
}

function checkMounts(field: string, container: Container, volumes: ReadonlySet<string>): FieldError[] {
  const paths = new Set<string>();
  return (container.volumeMounts ?? []).flatMap((mount, i) => {
    const at = `${field}.volumeMounts[${i}]`;
    const errors: FieldError[] = [];
    if (!mount.name) errors.push(required(`${at}.name`));
    else if (!volumes.has(mount.name)) errors.push(notFound(`${at}.name`, mount.name));
    if (!mount.mountPath) errors.push(required(`${at}.mountPath`));
    else if (paths.has(mount.mountPath)) errors.push(invalid(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
    if (mount.subPath && mount.subPathExpr) {
      errors.push(invalid(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'));
    }
    for (const key of ['subPath', 'subPathExpr'] as const) {
      const path = mount[key];
      if (path?.startsWith('/')) errors.push(invalid(`${at}.${key}`, path, 'must be a relative path'));
      else if (path?.split('/').includes('..')) errors.push(invalid(`${at}.${key}`, path, "must not contain '..'"));
    }
    if (mount.mountPropagation) {
      const modes = ['Bidirectional', 'HostToContainer', 'None'];
      errors.push(...checkEnum(`${at}.mountPropagation`, mount.mountPropagation, modes));
      if (mount.mountPropagation === 'Bidirectional' && container.securityContext?.privileged !== true) {
        const text = 'Bidirectional mount propagation is available only to privileged containers';
        errors.push(forbidden(`${at}.mountPropagation`, text));
      }
    }
    return errors;
  });
}

const STANDARD_RESOURCES = ['cpu', 'memory', 'ephemeral-storage'];

function checkResourceName(field: string, name: string): FieldError[] {
  const errors = checkRule(field, name, qualifiedName);
  if (errors.length > 0 || name.includes('/') || STANDARD_RESOURCES.includes(name) || name.startsWith('hugepages-')) {
    return errors;
  }
  return [
    invalid(field, name, 'must be a standard resource type or fully qualified'),
    invalid(field, name, 'must be a standard resource for containers'),
  ];
}

function checkResources(field: string, resources: ResourceRequirements | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const { limits = {}, requests = {} } = resources ?? {};
  for (const [list, key] of [
    [limits, 'limits'],
    [requests, 'requests'],
  ] as const) {
    for (const [name, value] of Object.entries(list)) {
      errors.push(...checkResourceName(`${field}.${key}[${name}]`, name));
      if (parseQuantity(value).nanos < 0n) {
        errors.push(invalid(`${field}.${key}[${name}]`, value, 'must be greater than or equal to 0'));
      }
    }
  }
  for (const [name, request] of Object.entries(requests)) {
    const limit = Object.hasOwn(limits, name) ? limits[name] : undefined;
    if (limit !== undefined && compareQuantities(request, limit) > 0) {
      const text = `must be less than or equal to ${name} limit of ${limit}`;
      errors.push(invalid(`${field}.requests`, String(request), text));
    }
  }
  return errors;
}

function checkLifecycle(field: string, container: Container): FieldError[] {
  const hooks: (readonly [string, LifecycleHandler | undefined])[] = [
    ['postStart', container.lifecycle?.postStart],
    ['preStop', container.lifecycle?.preStop],
  ];
  return hooks.flatMap(([key, handler]) => (handler ? checkHandler(`${field}.lifecycle.${key}`, handler) : []));
}

function checkSecurity(field: string, container: Container): FieldError[] {
  const security = container.securityContext;
  if (!security) return [];
  const { runAsUser, runAsGroup } = security;
  const errors = Object.entries({ runAsUser, runAsGroup }).flatMap(([key, value]) =>
    value === undefined || inRange(value, 0, 2 ** 31 - 1)
      ? []
      : [invalid(`${field}.securityContext.${key}`, value, 'must be between 0 and 2147483647, inclusive')],
  );
  if (security.privileged === true && security.allowPrivilegeEscalation === false) {
    const text = 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true';
    errors.push(invalid(`${field}.securityContext`, security, text));
  }
  return errors;
}

function checkContainer(
  field: string,
  container: Container,
  spec: PodSpec,
  volumes: ReadonlySet<string>,
  names: Set<string>,
): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(`${field}.name`));
  else {
    errors.push(...checkRule(`${field}.name`, container.name, dnsLabel));
    if (names.has(container.name)) errors.push(duplicate(`${field}.name`, container.name));
    names.add(container.name);
  }
  const image = container.image ?? '';
  if (image === '') errors.push(required(`${field}.image`));
  else if (image !== image.trim()) {
    errors.push(invalid(`${field}.image`, image, 'must not have leading or trailing whitespace'));
  }
  return [
    ...errors,
    ...checkPorts(`${field}.ports`, container.ports, spec.hostNetwork === true),
    ...checkEnv(`${field}.env`, container.env),
    ...checkEnvFrom(`${field}.envFrom`, container.envFrom),
    ...checkMounts(field, container, volumes),
    ...checkEnum(`${field}.imagePullPolicy`, container.imagePullPolicy, PULL_POLICIES),
    ...checkEnum(`${field}.terminationMessagePolicy`, container.terminationMessagePolicy, [
      'FallbackToLogsOnError',
      'File',
    ]),
    ...checkResources(`${field}.resources`, container.resources),
    ...checkSecurity(field, container),
  ];
}

/** Init containers run to their end before the others start, so only sidecars among them can be probed. */
function checkInitOnly(field: string, container: Container): FieldError[] {
  if (container.restartPolicy === 'Always') {
    return [...checkLifecycle(field, container), ...checkProbes(field, container)];
  }
  const errors: FieldError[] = [];
  if (container.restartPolicy !== undefined) {
    errors.push(...checkEnum(`${field}.restartPolicy`, container.restartPolicy, ['Always']));
  }
  for (const key of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    if (container[key]) {
      errors.push(forbidden(`${field}.${key}`, 'may not be set for init containers without restartPolicy=Always'));
    }
  }
  return errors;
}

/** Containers and init containers of a pod, whose names share one space. */
export function checkContainers(field: string, spec: PodSpec, volumes: ReadonlySet<string>): FieldError[] {
  if (!spec.containers?.length) return [required(`${field}.containers`)];
  const names = new Set<string>();
  const errors = spec.containers.flatMap((container, i) => {
    const at = `${field}.containers[${i}]`;
    return [
      ...checkContainer(at, container, spec, volumes, names),
      ...checkLifecycle(at, container),
      ...checkProbes(at, container),
    ];
  });
  for (const [i, container] of (spec.initContainers ?? []).entries()) {
    const at = `${field}.initContainers[${i}]`;
    errors.push(...checkContainer(at, container, spec, volumes, names), ...checkInitOnly(at, container));
  }
  for (const [i, container] of (spec.ephemeralContainers ?? []).entries()) {
    const at = `${field}.ephemeralContainers[${i}]`;
    errors.push(...checkContainer(at, container as Container, spec, volumes, names));
    const target = container.targetContainerName;
    if (target && !spec.containers.some((c) => c.name === target)) {
      errors.push(notFound(`${at}.targetContainerName`, target));
    }
  }
  return [...errors, ...checkHostPorts(field, spec)];
}
