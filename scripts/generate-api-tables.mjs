// Writes the API server's tables of kinds from the facts of the published Kubernetes documents (Apache-2.0):
//
//   node scripts/generate-api-tables.mjs OPENAPI.json[.gz] PROTOBUF.json[.gz]
//
// OPENAPI has `definitions` and `paths` of the OpenAPI v2 document without descriptions; PROTOBUF has, for every message,
// field number → [name, type]. The result (packages/apiserver/src/generated) is kept in the repository, so that a build
// never needs the facts. Short names and categories are in neither document; they are said in the tables below.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const read = (file) => {
  const bytes = readFileSync(file);
  return JSON.parse(file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
};
const sorted = (texts) => [...texts].sort((a, b) => (a < b ? -1 : 1));

const [openapiFile, protobufFile] = process.argv.slice(2);
if (openapiFile === undefined || protobufFile === undefined) {
  throw new Error('usage: generate-api-tables.mjs OPENAPI.json[.gz] PROTOBUF.json[.gz]');
}
const { definitions, paths } = read(openapiFile);
const messages = read(protobufFile);
const out = new URL('../packages/apiserver/src/generated/', import.meta.url);
mkdirSync(out, { recursive: true });

/** Served groups in discovery's order: the order decides what `kubectl get events` means. */
const served = [
  ['', 'v1'],
  ['apps', 'v1'],
  ['events.k8s.io', 'v1'],
  ['authentication.k8s.io', 'v1'],
  ['authorization.k8s.io', 'v1'],
  ['autoscaling', 'v2'],
  ['autoscaling', 'v1'],
  ['batch', 'v1'],
  ['certificates.k8s.io', 'v1'],
  ['networking.k8s.io', 'v1'],
  ['policy', 'v1'],
  ['rbac.authorization.k8s.io', 'v1'],
  ['storage.k8s.io', 'v1'],
  ['admissionregistration.k8s.io', 'v1'],
  ['apiextensions.k8s.io', 'v1'],
  ['scheduling.k8s.io', 'v1'],
  ['coordination.k8s.io', 'v1'],
  ['node.k8s.io', 'v1'],
  ['discovery.k8s.io', 'v1'],
];
const isServed = (group, version) => served.some(([g, v]) => g === group && v === version);

const shortNames = {
  '/componentstatuses': ['cs'],
  '/configmaps': ['cm'],
  '/endpoints': ['ep'],
  '/events': ['ev'],
  '/limitranges': ['limits'],
  '/namespaces': ['ns'],
  '/nodes': ['no'],
  '/persistentvolumeclaims': ['pvc'],
  '/persistentvolumes': ['pv'],
  '/pods': ['po'],
  '/replicationcontrollers': ['rc'],
  '/resourcequotas': ['quota'],
  '/serviceaccounts': ['sa'],
  '/services': ['svc'],
  'apiextensions.k8s.io/customresourcedefinitions': ['crd', 'crds'],
  'apps/daemonsets': ['ds'],
  'apps/deployments': ['deploy'],
  'apps/replicasets': ['rs'],
  'apps/statefulsets': ['sts'],
  'autoscaling/horizontalpodautoscalers': ['hpa'],
  'batch/cronjobs': ['cj'],
  'certificates.k8s.io/certificatesigningrequests': ['csr'],
  'events.k8s.io/events': ['ev'],
  'networking.k8s.io/ingresses': ['ing'],
  'networking.k8s.io/ipaddresses': ['ip'],
  'networking.k8s.io/networkpolicies': ['netpol'],
  'policy/poddisruptionbudgets': ['pdb'],
  'scheduling.k8s.io/priorityclasses': ['pc'],
  'storage.k8s.io/storageclasses': ['sc'],
  'storage.k8s.io/volumeattributesclasses': ['vac'],
};
const all = [
  '/pods',
  '/replicationcontrollers',
  '/services',
  'apps/daemonsets',
  'apps/deployments',
  'apps/replicasets',
  'apps/statefulsets',
  'autoscaling/horizontalpodautoscalers',
  'batch/cronjobs',
  'batch/jobs',
];
const apiExtensions = [
  'admissionregistration.k8s.io/mutatingadmissionpolicies',
  'admissionregistration.k8s.io/mutatingadmissionpolicybindings',
  'admissionregistration.k8s.io/mutatingwebhookconfigurations',
  'admissionregistration.k8s.io/validatingadmissionpolicies',
  'admissionregistration.k8s.io/validatingadmissionpolicybindings',
  'admissionregistration.k8s.io/validatingwebhookconfigurations',
  'apiextensions.k8s.io/customresourcedefinitions',
];

// ---- resources -----------------------------------------------------------------------------------------------------

const verbOf = { get: 'get', post: 'create', put: 'update', patch: 'patch', delete: 'delete' };
const resources = new Map();
for (const [path, operations] of Object.entries(paths)) {
  const m =
    /^\/(?:api|apis\/([^/]+))\/([^/]+)\/(?:namespaces\/\{namespace\}\/)?([^/{}]+)(?:\/\{name\}(?:\/([a-z]+))?)?$/.exec(
      path,
    );
  if (m === null) continue;
  const [, group = '', version, plural, sub] = m;
  if (!isServed(group, version)) continue;
  const id = `${group}/${version}/${plural}`;
  const inNamespace = path.includes('/{namespace}/');
  const entry = resources.get(id) ?? {
    group,
    version,
    plural,
    namespaced: false,
    verbs: new Set(),
    subresources: new Map(),
  };
  resources.set(id, entry);
  entry.namespaced ||= inNamespace;
  for (const [method, { action, gvk }] of Object.entries(operations)) {
    if (sub === undefined) {
      entry.kind = gvk.kind;
      entry.verbs.add({ post: 'create', put: 'update' }[action] ?? action);
      if (action === 'list' && plural !== 'componentstatuses') entry.verbs.add('watch');
    } else if (verbOf[method] !== undefined) {
      const s = entry.subresources.get(sub) ?? { name: sub, gvk, verbs: new Set() };
      entry.subresources.set(sub, s);
      s.verbs.add(verbOf[method]);
    }
  }
}

const order = (r) => served.findIndex(([g, v]) => g === r.group && v === r.version);
const rows = [...resources.values()].sort((a, b) => order(a) - order(b) || (a.plural < b.plural ? -1 : 1));
const resourceLines = rows.map((r) => {
  const id = `${r.group}/${r.plural}`;
  const categories = [...(all.includes(id) ? ['all'] : []), ...(apiExtensions.includes(id) ? ['api-extensions'] : [])];
  const parent = { group: r.group, version: r.version };
  const subs = [...r.subresources.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((s) => {
      // exec and its like carry no body; discovery names their options kind, in the parent's group and version.
      const differs = s.gvk.group !== parent.group || s.gvk.version !== parent.version;
      return [s.name, s.gvk.kind, sorted(s.verbs).join(), ...(differs ? [s.gvk.group, s.gvk.version] : [])].join(' ');
    });
  return [
    r.group,
    r.version,
    r.plural,
    r.kind,
    r.namespaced ? 'n' : 'c',
    sorted(r.verbs).join(),
    (shortNames[id] ?? []).join(),
    categories.join(),
    subs.join(';'),
  ].join('|');
});

// ---- OpenAPI -------------------------------------------------------------------------------------------------------

const REF = '#/definitions/';
const wanted = new Set();
const want = (name) => {
  if (wanted.has(name) || definitions[name] === undefined) return;
  wanted.add(name);
  const visit = (schema) => {
    if (schema.$ref) want(schema.$ref.slice(REF.length));
    for (const p of Object.values(schema.properties ?? {})) visit(p);
    if (schema.items) visit(schema.items);
    if (typeof schema.additionalProperties === 'object') visit(schema.additionalProperties);
  };
  visit(definitions[name]);
};
for (const [name, d] of Object.entries(definitions)) {
  if ((d['x-kubernetes-group-version-kind'] ?? []).some((k) => isServed(k.group, k.version))) want(name);
}

// Body of every PATCH operation; no field refers to it.
want('io.k8s.apimachinery.pkg.apis.meta.v1.Patch');

class Interner {
  list = [];
  #index = new Map();
  of(value) {
    let i = this.#index.get(value);
    if (i === undefined) {
      i = this.list.push(value) - 1;
      this.#index.set(value, i);
    }
    return i;
  }
}

const typeNames = sorted(wanted);
const packages = new Interner();
const descriptors = new Interner();
const scalar = {
  'string:': 's',
  'string:byte': 'y',
  'string:date-time': 's',
  'string:int-or-string': 'x',
  'boolean:': 'b',
  'integer:int32': 'i',
  'integer:int64': 'l',
  'number:double': 'n',
  'object:': 'o',
  ':': '*',
};
const expression = (schema) => {
  if (schema.$ref) return `#${typeNames.indexOf(schema.$ref.slice(REF.length))}`;
  if (schema.type === 'array') return `[${expression(schema.items)}`;
  if (schema.type === 'object' && schema.additionalProperties) return `{${expression(schema.additionalProperties)}`;
  const code = scalar[`${schema.type ?? ''}:${schema.format ?? ''}`];
  if (code === undefined) throw new Error(`unknown schema ${JSON.stringify(schema)}`);
  return code;
};
const typeRows = typeNames.map((name) => {
  const d = definitions[name];
  const dot = name.lastIndexOf('.');
  const gvks = (d['x-kubernetes-group-version-kind'] ?? []).filter((k) => isServed(k.group, k.version));
  const body =
    d.properties === undefined
      ? `=${expression(d)}`
      : Object.entries(d.properties)
          .map(([field, schema]) => {
            const required = (d.required ?? []).includes(field);
            const strategy = (schema['x-kubernetes-patch-strategy'] ?? '')
              .split(',')
              .map((s) => s[0] ?? '')
              .join('');
            const text = [
              expression(schema) + (required ? '!' : ''),
              (schema['x-kubernetes-list-type'] ?? '')[0] ?? '',
              (schema['x-kubernetes-list-map-keys'] ?? []).join(),
              schema['x-kubernetes-patch-merge-key'] ?? '',
              strategy,
              (schema['x-kubernetes-map-type'] ?? '')[0] ?? '',
            ]
              .join('|')
              .replace(/\|+$/, '');
            return `${field} ${descriptors.of(text)}`;
          })
          .join();
  return [
    `${packages.of(name.slice(0, dot))} ${name.slice(dot + 1)}`,
    body,
    gvks.map((k) => `${k.group} ${k.version} ${k.kind}`).join(),
    (d['x-kubernetes-map-type'] ?? '')[0] ?? '',
  ]
    .join('\t')
    .replace(/\t+$/, '');
});

// ---- protobuf ------------------------------------------------------------------------------------------------------

const protoWanted = new Set();
const packageOf = (name) => name.slice(0, name.lastIndexOf('.'));
const protoRef = (type, from) => {
  const base = type.replace(/^\[\]/, '').replace(/^map<string,\.?(.*)>$/, '$1');
  if (messages[base] !== undefined) return base;
  const local = `${packageOf(from)}.${base}`;
  return messages[local] === undefined ? undefined : local;
};
const wantProto = (name) => {
  if (protoWanted.has(name)) return;
  protoWanted.add(name);
  for (const [, type] of Object.values(messages[name])) {
    const ref = protoRef(type, name);
    if (ref !== undefined) wantProto(ref);
  }
};
for (const name of typeNames) {
  const proto = name.replace(/^io\.k8s\./, 'k8s.io.');
  if (messages[proto] !== undefined) wantProto(proto);
}
const protoNames = sorted(protoWanted);
const protoPackages = new Interner();
const protoTypes = new Interner();
const protoRows = protoNames.map((name) => {
  const fields = Object.entries(messages[name]).map(([number, [field, type]]) => {
    const ref = protoRef(type, name);
    const text =
      ref === undefined
        ? type
        : type.replace(/^(\[\]|map<string,)?.*?(>?)$/, (_, a = '', b) => `${a}#${protoNames.indexOf(ref)}${b}`);
    return `${number} ${field} ${protoTypes.of(text.replace('map<string,', '{').replace('>', '').replace('[]', '['))}`;
  });
  return `${protoPackages.of(packageOf(name))} ${name.slice(name.lastIndexOf('.') + 1)}\t${fields.join()}`;
});

// ---- output --------------------------------------------------------------------------------------------------------

const credit = `// Written by scripts/generate-api-tables.mjs; edit that script instead.
// Facts from the OpenAPI and protobuf documents of Kubernetes, https://github.com/kubernetes/kubernetes (Apache-2.0).
`;
const table = (lines) => {
  const text = lines.join('\n');
  if (/[`\\$]\{|`|\\/.test(text)) throw new Error('a table must not need escapes');
  return `\`${text}\``;
};
const write = (file, comment, parts) =>
  writeFileSync(
    new URL(file, out),
    `${credit}//\n${comment}\n${Object.entries(parts)
      .map(([k, v]) => `export const ${k} = ${table(v)};\n`)
      .join('')}`,
  );
write(
  'resources.ts',
  '// group | version | plural | kind | namespaced or cluster | verbs | short names | categories | subresources',
  { RESOURCES: resourceLines },
);
write(
  'openapi.ts',
  `// DESCRIPTORS: type[!] | list type | list map keys | patch merge key | patch strategy | map type. Types: s string, b boolean,
// i int32, l int64, n double, y bytes in base64, x int-or-string, o object, * anything, #N type N, [ array of, { map of.
// TYPES: package and name \\t field and descriptor, … \\t group version kind, … \\t map type.`,
  { PACKAGES: packages.list, DESCRIPTORS: descriptors.list, TYPES: typeRows },
);
write(
  'protobuf.ts',
  '// MESSAGES: package and name \\t number field type, … Types: [ repeated, { map of string to, #N message N.',
  {
    PACKAGES: protoPackages.list,
    TYPES: protoTypes.list,
    MESSAGES: protoRows,
  },
);
console.log(`${resourceLines.length} resources, ${typeRows.length} types, ${protoRows.length} messages`);
