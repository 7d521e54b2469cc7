import type { Affinity, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, Toleration } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { forbidden, invalid, notSupported, required } from '../validate/errors.ts';
import { checkLabelSelector, checkLabels } from '../validate/meta.ts';
import { dnsLabel, dnsSubdomain, labelValue, qualifiedName } from '../validate/names.ts';
import { checkEnum, checkIp, checkNonNegative, checkRule, inRange } from '../validate/values.ts';
import { checkContainers } from './validate-containers.ts';
import { checkVolumes } from './validate-volumes.ts';

const RESTART_POLICIES = ['Always', 'Never', 'OnFailure'];
const DNS_POLICIES = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'];
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARS = 2048;
const EFFECTS = ['NoExecute', 'NoSchedule', 'PreferNoSchedule'];

function checkDns(field: string, spec: PodSpec): FieldError[] {
  const errors = checkEnum(`${field}.dnsPolicy`, spec.dnsPolicy, DNS_POLICIES);
  const at = `${field}.dnsConfig`;
  const { nameservers = [], searches = [], options = [] } = spec.dnsConfig ?? {};
  if (spec.dnsPolicy === 'None' && !spec.dnsConfig) {
    errors.push(required(at, 'must provide `dnsConfig` when `dnsPolicy` is None'));
  } else if (spec.dnsPolicy === 'None' && nameservers.length === 0) {
    errors.push(required(`${at}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None'));
  }
  if (nameservers.length > MAX_NAMESERVERS) {
    errors.push(invalid(`${at}.nameservers`, nameservers, `must not have more than ${MAX_NAMESERVERS} nameservers`));
  }
  nameservers.forEach((ip, i) => {
    errors.push(...checkIp(`${at}.nameservers[${i}]`, ip));
  });
  if (searches.length > MAX_SEARCHES) {
    errors.push(invalid(`${at}.searches`, searches, `must not have more than ${MAX_SEARCHES} search paths`));
  }
  if (searches.join(' ').length > MAX_SEARCH_CHARS) {
    const text = `must not have more than ${MAX_SEARCH_CHARS} characters (including spaces) in the search list`;
    errors.push(invalid(`${at}.searches`, searches, text));
  }
  searches.forEach((search, i) => {
    if (search === '.') return; // the root: names are tried as they are
    // Underscores are allowed where names of hosts do not allow them (KEP-4427).
    const name = search.replace(/\.$/, '').replaceAll('_', 'a');
    errors.push(...dnsSubdomain(name).map((detail) => invalid(`${at}.searches[${i}]`, search, detail)));
  });
  options.forEach((option, i) => {
    if (!option.name) errors.push(required(`${at}.options[${i}]`, 'must not be empty'));
  });
  return errors;
}

function checkTolerations(field: string, tolerations: readonly Toleration[] | undefined): FieldError[] {
  return (tolerations ?? []).flatMap((toleration, i) => {
    const at = `${field}[${i}]`;
    const { key, operator = 'Equal', value, effect, tolerationSeconds } = toleration;
    const errors = key ? checkRule(`${at}.key`, key, qualifiedName) : [];
    if (!key && operator !== 'Exists') {
      const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      errors.push(invalid(`${at}.operator`, operator, text));
    }
    if (tolerationSeconds !== undefined && effect !== 'NoExecute') {
      errors.push(invalid(`${at}.effect`, effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    }
    if (operator === 'Exists') {
      if (value) errors.push(invalid(`${at}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
    } else if (operator === 'Equal') errors.push(...checkRule(`${at}.operator`, value ?? '', labelValue));
    else errors.push(notSupported(`${at}.operator`, operator, ['Equal', 'Exists']));
    if (effect && !EFFECTS.includes(effect)) errors.push(notSupported(`${at}.effect`, effect, EFFECTS));
    return errors;
  });
}

function checkTerm(field: string, term: NodeSelectorTerm): FieldError[] {
  return (term.matchExpressions ?? []).flatMap(({ key, operator, values = [] }, i) => {
    const at = `${field}.matchExpressions[${i}]`;
    const errors = checkRule(`${at}.key`, key, qualifiedName);
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        const text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        errors.push(forbidden(`${at}.values`, text));
      }
    } else if (operator === 'Gt' || operator === 'Lt') {
      if (values.length !== 1) {
        errors.push(required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      }
    } else errors.push(invalid(`${at}.operator`, operator, 'not a valid selector operator'));
    return errors;
  });
}

function checkAffinity(field: string, affinity: Affinity | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const hard = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (hard) {
    const at = `${field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
    if (!hard.nodeSelectorTerms?.length) errors.push(required(at, 'must have at least one node selector term'));
    hard.nodeSelectorTerms?.forEach((term, i) => {
      errors.push(...checkTerm(`${at}[${i}]`, term));
    });
  }
  for (const kind of ['podAffinity', 'podAntiAffinity'] as const) {
    const rules = affinity?.[kind];
    const terms = [
      ...(rules?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(
        (term, i) => [term, `requiredDuringSchedulingIgnoredDuringExecution[${i}]`] as const,
      ),
      ...(rules?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
        (weighted, i) =>
          [
            (weighted.podAffinityTerm as PodAffinityTerm | undefined) ?? { topologyKey: '' },
            `preferredDuringSchedulingIgnoredDuringExecution[${i}].podAffinityTerm`,
          ] as const,
      ),
    ];
    for (const [term, path] of terms) {
      const at = `${field}.${kind}.${path}`;
      errors.push(...checkLabelSelector(`${at}.labelSelector`, term.labelSelector));
      if (term.topologyKey) errors.push(...checkRule(`${at}.topologyKey`, term.topologyKey, qualifiedName));
      else errors.push(required(`${at}.topologyKey`, 'can not be empty'));
    }
  }
  return errors;
}

function checkSpread(field: string, spec: PodSpec): FieldError[] {
  return (spec.topologySpreadConstraints ?? []).flatMap((constraint, i) => {
    const at = `${field}.topologySpreadConstraints[${i}]`;
    return [
      ...(constraint.maxSkew > 0 ? [] : [invalid(`${at}.maxSkew`, constraint.maxSkew, 'must be greater than zero')]),
      ...(constraint.topologyKey
        ? checkRule(`${at}.topologyKey`, constraint.topologyKey, qualifiedName)
        : [required(`${at}.topologyKey`, 'can not be empty')]),
      ...checkEnum(`${at}.whenUnsatisfiable`, constraint.whenUnsatisfiable, ['DoNotSchedule', 'ScheduleAnyway']),
      ...checkLabelSelector(`${at}.labelSelector`, constraint.labelSelector),
    ];
  });
}

function checkNames(field: string, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const name = (key: 'serviceAccountName' | 'nodeName' | 'priorityClassName' | 'runtimeClassName'): void => {
    const value = spec[key];
    if (value) errors.push(...checkRule(`${field}.${key}`, value, dnsSubdomain));
  };
  name('serviceAccountName');
  name('nodeName');
  name('priorityClassName');
  name('runtimeClassName');
  if (spec.hostname) errors.push(...checkRule(`${field}.hostname`, spec.hostname, dnsLabel));
  if (spec.subdomain) errors.push(...checkRule(`${field}.subdomain`, spec.subdomain, dnsLabel));
  (spec.hostAliases ?? []).forEach((alias, i) => {
    const at = `${field}.hostAliases[${i}]`;
    errors.push(...checkIp(`${at}.ip`, alias.ip));
    (alias.hostnames ?? []).forEach((host, j) => {
      errors.push(...checkRule(`${at}.hostnames[${j}]`, host, dnsSubdomain));
    });
  });
  (spec.readinessGates ?? []).forEach((gate, i) => {
    const at = `${field}.readinessGates[${i}].conditionType`;
    errors.push(...checkRule(at, gate.conditionType, qualifiedName));
  });
  return errors;
}

function checkSecurity(field: string, spec: PodSpec): FieldError[] {
  const { runAsUser, runAsGroup, fsGroup } = spec.securityContext ?? {};
  return [
    ...Object.entries({ runAsUser, runAsGroup, fsGroup }).flatMap(([key, value]) =>
      value === undefined || inRange(value, 0, 2 ** 31 - 1)
        ? []
        : [invalid(`${field}.securityContext.${key}`, value, 'must be between 0 and 2147483647, inclusive')],
    ),
    ...(spec.shareProcessNamespace === true && spec.hostPID === true
      ? [invalid(`${field}.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled')]
      : []),
  ];
}

/**
 * A pod's spec, alone (with `pod`) or in a template (ValidatePodSpec and its helpers). `field` is the path of the spec.
 * Defaults must have been filled in.
 */
export function validatePodSpec(field: string, spec: PodSpec, pod?: Pod): FieldError[] {
  const { errors: volumeErrors, names: volumes } = checkVolumes(`${field}.volumes`, spec.volumes);
  const errors = [
    ...volumeErrors,
    ...checkContainers(field, spec, volumes),
    ...checkEnum(`${field}.restartPolicy`, spec.restartPolicy, RESTART_POLICIES),
    ...checkDns(field, spec),
    ...checkLabels(`${field}.nodeSelector`, spec.nodeSelector),
    ...checkNames(field, spec),
    ...checkTolerations(`${field}.tolerations`, spec.tolerations),
    ...checkAffinity(`${field}.affinity`, spec.affinity),
    ...checkSpread(field, spec),
    ...checkSecurity(field, spec),
    ...checkNonNegative(`${field}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds),
  ];
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && !inRange(deadline, 1, 2 ** 31 - 1)) {
    errors.push(invalid(`${field}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive'));
  }
  if (pod === undefined && spec.ephemeralContainers?.length) {
    errors.push(forbidden(`${field}.ephemeralContainers`, 'ephemeral containers not allowed in pod template'));
  }
  return errors;
}
