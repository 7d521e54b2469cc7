import { parseIp } from '@weft/net';
import type { HTTPIngressPath, Ingress, IngressBackend, IngressClass } from '@weft/kube';
import type { FieldError, StrategyContext } from '../contract.ts';
import { type KindRules, keepsStatus, rules, setStatus } from './strategy.ts';
import { forbidden, invalid, notSupported, required } from './validate/errors.ts';
import { dns1035Label, dnsSubdomain, pathSegment, portName, wildcardSubdomain } from './validate/names.ts';
import { checkImmutable, checkPort, checkRule } from './validate/values.ts';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
const DEFAULT_CLASS = 'ingressclass.kubernetes.io/is-default-class';
const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];

function checkBackend(field: string, backend: IngressBackend | undefined): FieldError[] {
  const { service, resource } = backend ?? {};
  if (service && resource) return [invalid(field, '', 'cannot set both resource and service backends')];
  if (resource) {
    return [
      ...(resource.kind
        ? checkRule(`${field}.resource.kind`, resource.kind, pathSegment)
        : [required(`${field}.resource.kind`)]),
      ...(resource.name
        ? checkRule(`${field}.resource.name`, resource.name, pathSegment)
        : [required(`${field}.resource.name`)]),
    ];
  }
  if (!service) return [invalid(field, '', 'resource or service backend is required')];
  const at = `${field}.service`;
  const errors = service.name ? checkRule(`${at}.name`, service.name, dns1035Label) : [required(`${at}.name`)];
  const { name, number } = service.port ?? {};
  if (name && number) errors.push(invalid(field, '', 'cannot set both port name & port number'));
  else if (name) errors.push(...checkRule(`${at}.port.name`, name, portName));
  else if (number) errors.push(...checkPort(`${at}.port.number`, number));
  else errors.push(required(field, 'port name or number is required'));
  return errors;
}

const BAD_SEQUENCES = ['//', '/./', '/../', '%2f', '%2F'];
const BAD_ENDINGS = ['/..', '/.'];

function checkPath(field: string, { path = '', pathType, backend }: HTTPIngressPath): FieldError[] {
  const errors: FieldError[] = [];
  if (!pathType) return [required(`${field}.pathType`, 'pathType must be specified')];
  if (pathType === 'Exact' || pathType === 'Prefix') {
    if (!path.startsWith('/')) errors.push(invalid(`${field}.path`, path, 'must be an absolute path'));
    else {
      for (const bad of BAD_SEQUENCES) {
        if (path.includes(bad)) errors.push(invalid(`${field}.path`, path, `must not contain '${bad}'`));
      }
      for (const bad of BAD_ENDINGS) {
        if (path.endsWith(bad)) errors.push(invalid(`${field}.path`, path, `cannot end with '${bad}'`));
      }
    }
  } else if (pathType === 'ImplementationSpecific') {
    if (path !== '' && !path.startsWith('/')) errors.push(invalid(`${field}.path`, path, 'must be an absolute path'));
  } else errors.push(notSupported(`${field}.pathType`, pathType, PATH_TYPES));
  return [...errors, ...checkBackend(`${field}.backend`, backend)];
}

function checkHost(field: string, host: string): FieldError[] {
  if (parseIp(host) !== undefined) return [invalid(field, host, 'must be a DNS name, not an IP address')];
  return checkRule(field, host, host.includes('*') ? wildcardSubdomain : dnsSubdomain);
}

function validate({ spec }: Ingress): FieldError[] {
  const errors: FieldError[] = [];
  const rulesOf = spec.rules ?? [];
  if (rulesOf.length === 0 && !spec.defaultBackend) {
    errors.push({
      reason: 'FieldValueInvalid',
      field: 'spec',
      message: 'Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified',
    });
  }
  if (spec.defaultBackend) errors.push(...checkBackend('spec.defaultBackend', spec.defaultBackend));
  rulesOf.forEach((rule, i) => {
    const at = `spec.rules[${i}]`;
    if (rule.host) errors.push(...checkHost(`${at}.host`, rule.host));
    if (!rule.http) return;
    if (!rule.http.paths?.length) errors.push(required(`${at}.http.paths`));
    rule.http.paths?.forEach((path, j) => {
      errors.push(...checkPath(`${at}.http.paths[${j}]`, path));
    });
  });
  (spec.tls ?? []).forEach((tls, i) => {
    tls.hosts?.forEach((host, j) => {
      const rule = host.includes('*') ? wildcardSubdomain : dnsSubdomain;
      errors.push(...checkRule(`spec.tls[${i}].hosts[${j}]`, host, rule));
    });
    if (tls.secretName) errors.push(...checkRule(`spec.tls[${i}].secretName`, tls.secretName, dnsSubdomain));
  });
  if (spec.ingressClassName !== undefined) {
    errors.push(...checkRule('spec.ingressClassName', spec.ingressClassName, dnsSubdomain));
  }
  return errors;
}

/** The class of an Ingress that names none: the newest that is marked as default. */
function admitClass(ingress: Ingress, ctx: StrategyContext): void {
  if (ingress.spec.ingressClassName !== undefined || ingress.metadata.annotations?.[CLASS_ANNOTATION] !== undefined) {
    return;
  }
  const defaults = ctx
    .list('networking.k8s.io/ingressclasses')
    .filter((c) => c.metadata.annotations?.[DEFAULT_CLASS] === 'true')
    .sort((a, b) => {
      const [left, right] = [a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? ''];
      return left === right ? (a.metadata.name < b.metadata.name ? -1 : 1) : left < right ? 1 : -1;
    });
  if (defaults[0] !== undefined) ingress.spec.ingressClassName = defaults[0].metadata.name;
}

/** networking.k8s.io/v1 Ingress. */
export const ingressRules: KindRules = rules<Ingress>({
  ...keepsStatus(() => ({ loadBalancer: {} })),
  hasGeneration: true,
  defaults: (ingress) => {
    ingress.spec ??= {};
  },
  prepareCreate: (ingress, ctx) => {
    setStatus(ingress, { loadBalancer: {} });
    admitClass(ingress, ctx);
  },
  validate,
  warnings: (ingress) =>
    ingress.metadata.annotations?.[CLASS_ANNOTATION] === undefined
      ? []
      : [`annotation "${CLASS_ANNOTATION}" is deprecated, please use 'spec.ingressClassName' instead`],
});

const MAX_CONTROLLER = 250;
const CONTROLLER = /^[^/]+\/.+$/;

function validateClass({ spec }: IngressClass): FieldError[] {
  const errors: FieldError[] = [];
  const controller = spec?.controller ?? '';
  if (controller.length > MAX_CONTROLLER) {
    errors.push({
      reason: 'FieldValueTooLong',
      field: 'spec.controller',
      message: `Too long: may not be more than ${MAX_CONTROLLER} bytes`,
    });
  }
  if (controller === '') errors.push(required('spec.controller'));
  else if (!CONTROLLER.test(controller)) {
    errors.push(invalid('spec.controller', controller, 'must be a domain-prefixed path (such as "acme.io/foo")'));
  } else errors.push(...checkRule('spec.controller', controller.split('/')[0] ?? '', dnsSubdomain));
  const p = spec?.parameters;
  if (!p) return errors;
  const at = 'spec.parameters';
  if (!p.kind) errors.push(required(`${at}.kind`, 'kind is required'));
  if (!p.name) errors.push(required(`${at}.name`, 'name is required'));
  if (p.scope !== 'Cluster' && p.scope !== 'Namespace') {
    errors.push(notSupported(`${at}.scope`, p.scope, ['Cluster', 'Namespace']));
  } else if (p.scope === 'Namespace' && !p.namespace) {
    errors.push(required(`${at}.namespace`, "`parameters.scope` is set to 'Namespace'"));
  } else if (p.scope === 'Cluster' && p.namespace) {
    errors.push(forbidden(`${at}.namespace`, "`parameters.scope` is set to 'Cluster'"));
  }
  return errors;
}

/** networking.k8s.io/v1 IngressClass. */
export const ingressClassRules: KindRules = rules<IngressClass>({
  hasGeneration: true,
  defaults: ({ spec }) => {
    if (spec?.parameters) spec.parameters.scope ??= 'Cluster';
  },
  validate: validateClass,
  validateUpdate: (next, old) => checkImmutable('spec.controller', next.spec.controller, old.spec.controller),
});
