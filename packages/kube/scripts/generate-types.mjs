// Writes src/types/*.ts from the facts of the published Kubernetes OpenAPI document (Apache-2.0).
//
//   node scripts/generate-types.mjs FACTS.json.gz && npx biome format --write src/types
//
// FACTS is a gzip'd JSON file with the key `definitions` (the OpenAPI v2 definitions without descriptions). The result
// is kept in the repository; a build never needs FACTS. What OpenAPI cannot say (closed value sets, fields that the API
// server always sets, lists that Go marshals as null) is said in the tables below.
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const definitions = JSON.parse(gunzipSync(readFileSync(process.argv[2] ?? ''))).definitions;

const roots = [
  ...[
    'Pod',
    'Service',
    'Endpoints',
    'Node',
    'Namespace',
    'ConfigMap',
    'Secret',
    'ServiceAccount',
    'Event',
    'Binding',
  ].map((k) => `io.k8s.api.core.v1.${k}`),
  ...['Deployment', 'ReplicaSet', 'DaemonSet', 'StatefulSet', 'ControllerRevision'].map(
    (k) => `io.k8s.api.apps.v1.${k}`,
  ),
  ...['Job', 'CronJob'].map((k) => `io.k8s.api.batch.v1.${k}`),
  ...['NetworkPolicy', 'Ingress', 'IngressClass', 'ServiceCIDR', 'IPAddress'].map(
    (k) => `io.k8s.api.networking.v1.${k}`,
  ),
  'io.k8s.api.discovery.v1.EndpointSlice',
  'io.k8s.api.coordination.v1.Lease',
  'io.k8s.api.events.v1.Event',
  'io.k8s.api.autoscaling.v1.Scale',
  'io.k8s.api.policy.v1.Eviction',
  'io.k8s.api.authentication.v1.TokenReview',
  'io.k8s.api.authentication.v1.TokenRequest',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition',
  'io.k8s.apimachinery.pkg.apis.meta.v1.Status',
];

/** Types written as an alias or by hand. */
const aliases = {
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': [
    'IntOrString',
    'number | string',
    'A number, or a name or percentage.',
  ],
  'io.k8s.apimachinery.pkg.api.resource.Quantity': [
    'Quantity',
    'string',
    'Fixed-point number with a suffix, such as `100m` or `64Mi`; see parseQuantity.',
  ],
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': ['Time', 'string', 'RFC 3339 with seconds, UTC.'],
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': ['MicroTime', 'string', 'RFC 3339 with microseconds, UTC.'],
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': [
    'FieldsV1',
    'Record<string, unknown>',
    'The set of fields one manager owns (KEP-555).',
  ],
  'io.k8s.apimachinery.pkg.runtime.RawExtension': ['RawExtension', 'Record<string, unknown>', 'An object of any kind.'],
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON': ['JsonValue', 'unknown', 'Any JSON value.'],
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray': [
    'JSONSchemaPropsOrArray',
    'JSONSchemaProps | JSONSchemaProps[]',
    '',
  ],
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool': [
    'JSONSchemaPropsOrBool',
    'JSONSchemaProps | boolean',
    '',
  ],
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray': [
    'JSONSchemaPropsOrStringArray',
    'JSONSchemaProps | string[]',
    '',
  ],
};

/** Names that two groups share; the bare name goes to the type that network code uses most. */
const renames = {
  'io.k8s.api.core.v1.EndpointPort': 'EndpointsPort',
  'io.k8s.api.events.v1.Event': 'EventsV1Event',
  'io.k8s.api.events.v1.EventSeries': 'EventsV1EventSeries',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference': 'WebhookServiceReference',
};

const conditionStatus = "'True' | 'False' | 'Unknown'";
const protocol = "'TCP' | 'UDP' | 'SCTP'";
const taintEffect = "'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'";
/** Type.field -> TypeScript type. `!` in front marks a field that is always there in what an API server returns. */
const overrides = {
  'ObjectMeta.name': '!string',
  'PodTemplateSpec.metadata': 'Partial<ObjectMeta>',
  'JobTemplateSpec.metadata': 'Partial<ObjectMeta>',
  'PersistentVolumeClaimTemplate.metadata': 'Partial<ObjectMeta>',
  'ContainerPort.protocol': protocol,
  'ServicePort.protocol': protocol,
  'EndpointPort.protocol': protocol,
  'EndpointsPort.protocol': protocol,
  'NetworkPolicyPort.protocol': protocol,
  'ServiceSpec.type': "'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'",
  'ServiceSpec.sessionAffinity': "'ClientIP' | 'None'",
  'ServiceSpec.externalTrafficPolicy': "'Cluster' | 'Local'",
  'ServiceSpec.internalTrafficPolicy': "'Cluster' | 'Local'",
  'ServiceSpec.ipFamilies': "('IPv4' | 'IPv6')[]",
  'ServiceSpec.ipFamilyPolicy': "'SingleStack' | 'PreferDualStack' | 'RequireDualStack'",
  'ServiceSpec.trafficDistribution': "'PreferClose' | 'PreferSameZone' | 'PreferSameNode' | (string & {})",
  'LoadBalancerIngress.ipMode': "'VIP' | 'Proxy'",
  'EndpointSlice.addressType': "'IPv4' | 'IPv6' | 'FQDN'",
  'EndpointSlice.endpoints': '!Endpoint[] | null',
  'EndpointSlice.ports': 'EndpointPort[] | null',
  'Endpoints.subsets': 'EndpointSubset[] | null',
  'Container.imagePullPolicy': "'Always' | 'Never' | 'IfNotPresent'",
  'EphemeralContainer.imagePullPolicy': "'Always' | 'Never' | 'IfNotPresent'",
  'Container.terminationMessagePolicy': "'File' | 'FallbackToLogsOnError'",
  'EphemeralContainer.terminationMessagePolicy': "'File' | 'FallbackToLogsOnError'",
  'Container.restartPolicy': "'Always' | 'Never' | 'OnFailure'",
  'PodSpec.restartPolicy': "'Always' | 'OnFailure' | 'Never'",
  'PodSpec.dnsPolicy': "'ClusterFirst' | 'ClusterFirstWithHostNet' | 'Default' | 'None'",
  'PodSpec.preemptionPolicy': "'Never' | 'PreemptLowerPriority'",
  'PodStatus.phase': "'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'",
  'PodStatus.qosClass': "'Guaranteed' | 'Burstable' | 'BestEffort'",
  'Toleration.operator': "'Exists' | 'Equal' | 'Lt' | 'Gt'",
  'Toleration.effect': taintEffect,
  'Taint.effect': taintEffect,
  'NodeSelectorRequirement.operator': "'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt'",
  'LabelSelectorRequirement.operator': "'In' | 'NotIn' | 'Exists' | 'DoesNotExist'",
  'HTTPGetAction.scheme': "'HTTP' | 'HTTPS'",
  'EmptyDirVolumeSource.medium': "'' | 'Memory' | (string & {})",
  'HostPathVolumeSource.type':
    "'' | 'DirectoryOrCreate' | 'Directory' | 'FileOrCreate' | 'File' | 'Socket' | 'CharDevice' | 'BlockDevice'",
  'VolumeMount.mountPropagation': "'None' | 'HostToContainer' | 'Bidirectional'",
  'NodeAddress.type': "'Hostname' | 'InternalIP' | 'ExternalIP' | 'InternalDNS' | 'ExternalDNS'",
  'NamespaceStatus.phase': "'Active' | 'Terminating'",
  'NetworkPolicySpec.policyTypes': "('Ingress' | 'Egress')[]",
  'HTTPIngressPath.pathType': "'Exact' | 'Prefix' | 'ImplementationSpecific'",
  'DeploymentStrategy.type': "'Recreate' | 'RollingUpdate'",
  'DaemonSetUpdateStrategy.type': "'OnDelete' | 'RollingUpdate'",
  'StatefulSetUpdateStrategy.type': "'OnDelete' | 'RollingUpdate'",
  'StatefulSetSpec.podManagementPolicy': "'OrderedReady' | 'Parallel'",
  'TopologySpreadConstraint.whenUnsatisfiable': "'DoNotSchedule' | 'ScheduleAnyway'",
  'Event.type': "'Normal' | 'Warning' | (string & {})",
  'EventsV1Event.type': "'Normal' | 'Warning' | (string & {})",
  'Condition.status': conditionStatus,
  'PodCondition.status': conditionStatus,
  'NodeCondition.status': conditionStatus,
  'NamespaceCondition.status': conditionStatus,
  'DeploymentCondition.status': conditionStatus,
  'ReplicaSetCondition.status': conditionStatus,
  'DaemonSetCondition.status': conditionStatus,
  'StatefulSetCondition.status': conditionStatus,
  'JobCondition.status': conditionStatus,
  'DeleteOptions.propagationPolicy': "'Orphan' | 'Background' | 'Foreground'",
  'Status.status': "'Success' | 'Failure'",
  'Status.metadata': 'ListMeta',
  'JSONSchemaProps.$ref': 'string',
  'JSONSchemaProps.$schema': 'string',
};
/** The API server always returns `spec` for these kinds (a Go struct without a pointer). */
const specAlways = new Set(
  'Pod Service NetworkPolicy Ingress IngressClass Deployment ReplicaSet DaemonSet StatefulSet Job CronJob ServiceCIDR IPAddress'.split(
    ' ',
  ),
);
const docs = {
  ObjectMeta:
    'What every object carries. `name` is always there in what an API server returns; see `Draft` for objects to create.',
  EndpointPort: 'A port of an EndpointSlice (discovery.k8s.io/v1); that of Endpoints is EndpointsPort.',
  EndpointsPort: 'A port of Endpoints (core/v1, `EndpointPort` there; renamed because EndpointSlice has one too).',
  Event: 'The core/v1 event; that of events.k8s.io/v1 is EventsV1Event.',
  EventsV1Event: 'The events.k8s.io/v1 `Event`; stored as the same object as the core/v1 event.',
  EventsV1EventSeries: 'The events.k8s.io/v1 `EventSeries`.',
  WebhookServiceReference: 'The apiextensions.k8s.io/v1 `ServiceReference`.',
  'EndpointSlice.endpoints': 'Null when Go marshals an empty slice.',
  'EndpointSlice.ports': 'Null when Go marshals an empty slice; absent or empty means no ports (not all ports).',
  'Secret.data': 'Values are base64.',
  'ConfigMap.binaryData': 'Values are base64.',
};

const nameOf = (id) => aliases[id]?.[0] ?? renames[id] ?? id.slice(id.lastIndexOf('.') + 1);

const volumeLike =
  /(VolumeSource|^Volume|^PersistentVolume|Projection|KeyToPath|DownwardAPIVolume|TypedLocalObject|TypedObject)/;
const podLike = new Set();
function walk(id, seen) {
  if (seen.has(id)) return;
  seen.add(id);
  if (aliases[id]) {
    if (id.includes('JSONSchemaPropsOr'))
      walk('io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps', seen);
    return;
  }
  for (const p of Object.values(definitions[id].properties ?? {})) {
    for (const s of [p, p.items, p.additionalProperties, p.additionalProperties?.items])
      if (s?.$ref) walk(s.$ref.slice('#/definitions/'.length), seen);
  }
}
walk('io.k8s.api.core.v1.Pod', podLike);

function fileOf(id) {
  if (id.startsWith('io.k8s.apimachinery')) return 'meta';
  if (id.includes('apiextensions')) return 'apiextensions';
  const group = id.split('.')[3];
  if (group !== 'core') return group === 'autoscaling' || group === 'policy' ? 'subresources' : group;
  const name = nameOf(id);
  if (volumeLike.test(name)) return 'volume';
  if (podLike.has(id)) return 'pod';
  return 'core';
}

const all = new Set();
for (const r of roots) walk(r, all);
const files = new Map();
for (const id of all) {
  const f = fileOf(id);
  if (!files.has(f)) files.set(f, []);
  files.get(f).push(id);
}

function tsType(s, uses) {
  if (s.$ref) {
    const id = s.$ref.slice('#/definitions/'.length);
    uses.add(id);
    return nameOf(id);
  }
  if (s.type === 'array') return `${tsType(s.items, uses)}[]`;
  if (s.additionalProperties) return `Record<string, ${tsType(s.additionalProperties, uses)}>`;
  if (s.type === 'integer' || s.type === 'number') return 'number';
  if (s.type === 'object') return 'Record<string, unknown>';
  return s.type ?? 'unknown';
}

for (const [file, ids] of files) {
  ids.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const uses = new Set();
  let body = '';
  for (const id of ids) {
    const name = nameOf(id);
    if (aliases[id]) {
      const [, type, doc] = aliases[id];
      if (doc) body += `/** ${doc} */\n`;
      body += `export type ${name} = ${type};\n\n`;
      for (const m of type.matchAll(/\bJSONSchemaProps\b/g)) void m;
      continue;
    }
    const def = definitions[id];
    const gvk = def['x-kubernetes-group-version-kind']?.[0];
    const top = gvk && def.properties?.metadata?.$ref?.endsWith('ObjectMeta');
    if (docs[name]) body += `/** ${docs[name]} */\n`;
    body += `export interface ${name} {\n`;
    for (const [field, schema] of Object.entries(def.properties ?? {})) {
      const own = new Set();
      let type = tsType(schema, own);
      let optional = !(def.required ?? []).includes(field);
      if (top && field === 'metadata') optional = false;
      if (top && field === 'spec' && specAlways.has(name)) optional = false;
      if (field === 'metadata' && schema.$ref?.endsWith('ListMeta')) optional = true;
      const o = overrides[`${name}.${field}`];
      if (o) {
        optional = !o.startsWith('!') && optional;
        type = o.replace('!', '');
        if (field === 'metadata' && type.startsWith('Partial')) optional = true;
        for (const u of own) if (type.includes(nameOf(u))) uses.add(u);
      } else for (const u of own) uses.add(u);
      if (o && o.startsWith('!')) optional = false;
      const doc = docs[`${name}.${field}`];
      if (doc) body += `  /** ${doc} */\n`;
      const key = /^[A-Za-z_$][\w$]*$/.test(field) ? field : `'${field}'`;
      body += `  ${key}${optional ? '?' : ''}: ${type};\n`;
    }
    body += '}\n\n';
  }
  const imports = new Map();
  for (const u of uses) {
    const f = fileOf(u);
    if (f === file) continue;
    if (!imports.has(f)) imports.set(f, []);
    imports.get(f).push(nameOf(u));
  }
  const head = [...imports]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([f, names]) => `import type { ${names.sort().join(', ')} } from './${f}.ts';\n`)
    .join('');
  writeFileSync(
    new URL(`../src/types/${file}.ts`, import.meta.url),
    `// Written by scripts/generate-types.mjs from the published Kubernetes OpenAPI document; edit that script instead.\n${head}\n${body}`,
  );
}
writeFileSync(
  new URL('../src/types/index.ts', import.meta.url),
  `// Written by scripts/generate-types.mjs.\n${[...files.keys()]
    .sort((a, b) => a.localeCompare(b))
    .map((f) => `export type * from './${f}.ts';\n`)
    .join('')}`,
);
