import type { KubeObject } from '@weft/kube';
import { age, createdAt, integer, name, part, printer, wide } from './printer.ts';

export const customResourceDefinitions = printer<KubeObject>(name, createdAt);

interface PriorityClass extends KubeObject {
  value?: number;
  globalDefault?: boolean;
  preemptionPolicy?: string;
}

export const priorityClasses = printer<PriorityClass>(
  name,
  part('Value', (c) => c.value ?? 0, integer, 'Priority of pods of the class'),
  part('Global-Default', (c) => c.globalDefault ?? false, { type: 'boolean' }, 'For pods that name no class'),
  age,
  part('PreemptionPolicy', (c) => c.preemptionPolicy ?? '', wide, 'Whether pods of the class displace others'),
);

interface RuntimeClass extends KubeObject {
  handler?: string;
}

export const runtimeClasses = printer<RuntimeClass>(
  name,
  part('Handler', (c) => c.handler ?? '', {}, 'Container runtime configuration'),
  age,
);

type IntOrString = number | string;

interface PodDisruptionBudget extends KubeObject {
  spec?: { minAvailable?: IntOrString; maxUnavailable?: IntOrString };
  status?: { disruptionsAllowed?: number };
}

export const podDisruptionBudgets = printer<PodDisruptionBudget>(
  name,
  part('Min Available', (b) => String(b.spec?.minAvailable ?? 'N/A'), {}, 'Pods that must stay'),
  part('Max Unavailable', (b) => String(b.spec?.maxUnavailable ?? 'N/A'), {}, 'Pods that may be missing'),
  part('Allowed Disruptions', (b) => b.status?.disruptionsAllowed ?? 0, integer, 'Pods that may be evicted now'),
  age,
);

interface MetricValue {
  value?: string;
  averageValue?: string;
  averageUtilization?: number;
}

interface Metric {
  type: string;
  resource?: { name?: string; target?: MetricValue; current?: MetricValue };
  pods?: { target?: MetricValue; current?: MetricValue };
  object?: { target?: MetricValue; current?: MetricValue };
  external?: { target?: MetricValue; current?: MetricValue };
}

export interface HorizontalPodAutoscaler extends KubeObject {
  spec: {
    scaleTargetRef?: { kind: string; name: string };
    minReplicas?: number;
    maxReplicas?: number;
    metrics?: Metric[];
    targetCPUUtilizationPercentage?: number;
  };
  status?: {
    currentReplicas?: number;
    currentMetrics?: Metric[];
    currentCPUUtilizationPercentage?: number;
  };
}

const valueText = (value: MetricValue | undefined): string => {
  if (value === undefined) return '<unknown>';
  if (value.averageUtilization !== undefined) return `${value.averageUtilization}%`;
  return value.averageValue === undefined ? (value.value ?? '<unknown>') : `${value.averageValue} (avg)`;
};

function metricText(metric: Metric, current: Metric | undefined): string {
  const side = (m: Metric | undefined, key: 'target' | 'current'): MetricValue | undefined =>
    (m?.resource ?? m?.pods ?? m?.object ?? m?.external)?.[key];
  const label = metric.resource?.target?.averageUtilization === undefined ? '' : `${metric.resource.name}: `;
  return `${label}${valueText(side(current, 'current'))}/${valueText(side(metric, 'target'))}`;
}

function targetsText(hpa: HorizontalPodAutoscaler): string {
  const { metrics, targetCPUUtilizationPercentage: cpu } = hpa.spec;
  if (cpu !== undefined) {
    const now = hpa.status?.currentCPUUtilizationPercentage;
    return `cpu: ${now === undefined ? '<unknown>' : `${now}%`}/${cpu}%`;
  }
  if (!metrics?.length) return '<none>';
  const texts = metrics.map((metric, i) => metricText(metric, hpa.status?.currentMetrics?.[i]));
  return texts.length > 2 ? `${texts.slice(0, 2).join(', ')} + ${texts.length - 2} more...` : texts.join(', ');
}

export const horizontalPodAutoscalers = printer<HorizontalPodAutoscaler>(
  name,
  part('Reference', (h) => `${h.spec.scaleTargetRef?.kind}/${h.spec.scaleTargetRef?.name}`, {}, 'What is scaled'),
  part('Targets', targetsText, {}, 'Metrics: current value and target'),
  part(
    'MinPods',
    (h) => (h.spec.minReplicas === undefined ? '<unset>' : String(h.spec.minReplicas)),
    {},
    'Lower bound',
  ),
  part('MaxPods', (h) => h.spec.maxReplicas ?? 0, integer, 'Upper bound'),
  part('Replicas', (h) => h.status?.currentReplicas ?? 0, integer, 'Pods now'),
  age,
);

interface Webhooks extends KubeObject {
  webhooks?: unknown[];
}

export const webhookConfigurations = printer<Webhooks>(
  name,
  part('Webhooks', (w) => w.webhooks?.length ?? 0, integer, 'Number of webhooks'),
  age,
);

interface AdmissionPolicy extends KubeObject {
  spec?: {
    validations?: unknown[];
    mutations?: unknown[];
    paramKind?: { apiVersion?: string; kind?: string };
    policyName?: string;
    paramRef?: { name?: string; namespace?: string; selector?: unknown };
  };
}

const paramKind = (p: AdmissionPolicy): string =>
  p.spec?.paramKind ? `${p.spec.paramKind.apiVersion}/${p.spec.paramKind.kind}` : '<unset>';

export const validatingAdmissionPolicies = printer<AdmissionPolicy>(
  name,
  part('Validations', (p) => p.spec?.validations?.length ?? 0, integer),
  part('ParamKind', paramKind),
  age,
);

export const mutatingAdmissionPolicies = printer<AdmissionPolicy>(
  name,
  part('Mutations', (p) => p.spec?.mutations?.length ?? 0, integer),
  part('ParamKind', paramKind),
  age,
);

export const admissionPolicyBindings = printer<AdmissionPolicy>(
  name,
  part('PolicyName', (p) => p.spec?.policyName ?? ''),
  part('ParamRef', (p) => {
    const ref = p.spec?.paramRef;
    if (!ref) return '<unset>';
    return ref.name ? `${ref.namespace ? `${ref.namespace}/` : '*/'}${ref.name}` : '<selector>';
  }),
  age,
);

interface CertificateSigningRequest extends KubeObject {
  spec?: { signerName?: string; username?: string; expirationSeconds?: number };
  status?: { certificate?: string; conditions?: { type: string }[] };
}

function csrCondition(csr: CertificateSigningRequest): string {
  const has = (type: string): boolean => csr.status?.conditions?.some((c) => c.type === type) ?? false;
  const text = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
  return [text, ...(has('Failed') ? ['Failed'] : []), ...(csr.status?.certificate ? ['Issued'] : [])].join(',');
}

export const certificateSigningRequests = printer<CertificateSigningRequest>(
  name,
  age,
  part('SignerName', (c) => c.spec?.signerName ?? '', {}, 'Who signs it'),
  part('Requestor', (c) => c.spec?.username ?? '', {}, 'Who asked for it'),
  part(
    'RequestedDuration',
    (c) => (c.spec?.expirationSeconds === undefined ? '<none>' : `${c.spec.expirationSeconds}s`),
    {},
    'Lifetime that was asked for',
  ),
  part('Condition', csrCondition, {}, 'Where the request stands'),
);
