import { formatIp, parseIp } from '@weft/net';
import type { Informer } from '@weft/kube';
import { type Diff, type Entry, type Plan, PlanLoop, type Provenance, type Subsystem } from '@weft/plan';
import type { HistogramVec } from '../../server/metrics.ts';
import type { KubeAccess, Runtime } from '../../server/plugin.ts';
import type { Rr } from '../../wire/index.ts';
import { type CompileOptions, ServiceAnswers } from './compile.ts';
import { measured } from './measured.ts';
import {
  IMPORT_NAME,
  type ServiceImport,
  slimImport,
  slimImportedSlice,
  type SlimNamespace,
  type SlimPod,
  type SlimService,
  type SlimSlice,
  slimNamespace,
  slimPod,
  slimService,
  slimSlice,
} from './objects.ts';
import { AnswerTable } from './table.ts';

/** What a view watches and how it compiles. Blocks with equal options share one view, also across reloads. */
export interface ViewOptions extends CompileOptions {
  readonly access: KubeAccess;
  /** Namespaces to serve; undefined for all. */
  readonly namespaces: readonly string[] | undefined;
  readonly namespaceSelector: string | undefined;
  readonly labelSelector: string | undefined;
  /** Do not watch endpoints: no headless Services, no endpoint names. */
  readonly endpoints: boolean;
  /** Watch pods, to answer only for addresses that one has. */
  readonly pods: boolean;
  /** Keep the labels of pods, for metadata. */
  readonly podLabels: boolean;
  /** Keep the topology zones of endpoints, for names that ask for them. */
  readonly zonal: boolean;
}

/** A namespace or the answers of a Service: the two kinds of entries in the plan. */
type Value =
  | { readonly kind: 'namespace'; readonly name: string }
  | { readonly kind: 'service'; readonly answers: ServiceAnswers };

interface Informers {
  readonly services: Informer<never, SlimService>;
  readonly namespaces: Informer<never, SlimNamespace>;
  readonly slices: Informer<never, SlimSlice> | undefined;
  readonly pods: Informer<never, SlimPod> | undefined;
}

/** Seconds: from one millisecond to about nine minutes, doubling. */
const LATENCY_BOUNDS = Array.from({ length: 20 }, (_, i) => 0.001 * 2 ** i);

/** The resource of Services of several clusters. */
const SERVICE_IMPORTS = {
  group: 'multicluster.x-k8s.io',
  version: 'v1alpha1',
  kind: 'ServiceImport',
  plural: 'serviceimports',
  namespaced: true,
} as const;

const POD_FIELDS = 'status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown';

/** The cluster as DNS sees it: watch, compile, diff and apply, in this order, for one set of options. */
export class ClusterView implements Subsystem<Value> {
  readonly name = 'dns';
  readonly table: AnswerTable;
  readonly #options: ViewOptions;
  readonly #runtime: Runtime;
  readonly #stop = new AbortController();
  readonly #loop: PlanLoop<Value>;
  readonly #latency: HistogramVec;
  #informers: Informers | undefined;
  #ready = false;
  #closeClient: (() => void) | undefined;
  /** Resolves when the table holds all that existed at the start. */
  readonly synced: Promise<void>;

  constructor(options: ViewOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
    this.table = new AnswerTable(Math.floor(runtime.clock.now() / 1000), options);
    this.#latency = runtime.metrics.histogram(
      'coredns_kubernetes_dns_programming_duration_seconds',
      'Histogram of the time (in seconds) it took to program a dns instance.',
      ['service_kind'],
      LATENCY_BOUNDS,
    );
    this.#loop = new PlanLoop(this, { log: runtime.log, metrics: runtime.loopMetrics });
    this.#loop.hold();
    this.synced = this.#start();
    this.synced.catch(() => {});
  }

  /** What its Services are to the API. */
  get #kind(): string {
    return this.#options.multicluster ? 'ServiceImport' : 'Service';
  }

  get ready(): boolean {
    return this.#ready;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop.stop();
    this.#closeClient?.();
  }

  /** Is this the address of a pod in the namespace? Only known when pods are watched. */
  hasPod(namespace: string, ip: string): boolean {
    return this.#informers?.pods?.byIndex('ip', ip).some((pod) => pod.namespace === namespace) ?? false;
  }

  /** The pod with this address. Only known when pods are watched. */
  podOf(ip: string): SlimPod | undefined {
    return this.#informers?.pods?.byIndex('ip', canonical(ip))[0];
  }

  compile(unit: string): Plan<Value> {
    const plan = new Map<string, Entry<Value>>();
    const informers = this.#informers;
    if (informers === undefined) return plan;
    const key = unit.slice(1);
    if (unit.startsWith('n')) {
      if (informers.namespaces.get(key) !== undefined) {
        plan.set(unit, { value: { kind: 'namespace', name: key }, cause: { kind: 'Namespace', name: key } });
      }
      return plan;
    }
    const service = informers.services.get(key);
    if (service !== undefined) {
      const slices = informers.slices?.byIndex('service', key) ?? [];
      const cause: Provenance = { kind: this.#kind, namespace: service.namespace, name: service.name };
      plan.set(unit, {
        value: { kind: 'service', answers: new ServiceAnswers(service, slices, this.#options) },
        cause,
      });
    }
    return plan;
  }

  // The loop awaits what apply returns; the table itself changes in one turn.
  apply(diff: Diff<Value>): Promise<void> {
    // First: who is told of a change finds the serial that goes with it.
    this.table.serial = Math.floor(this.#runtime.clock.now() / 1000);
    for (const { value } of diff.removed.values()) this.#replace(value, undefined);
    for (const { from, to } of diff.changed.values()) this.#replace(from.value, to.value);
    for (const { value } of diff.added.values()) this.#replace(undefined, value);
    if (this.#ready) {
      for (const { from, to } of diff.changed.values()) this.#observe(from.value, to.value);
      for (const { value } of diff.added.values()) this.#observe(undefined, value);
    }
    return Promise.resolve();
  }

  same(a: Value, b: Value): boolean {
    if (a.kind === 'service' && b.kind === 'service') return a.answers.same(b.answers);
    return a.kind === b.kind;
  }

  /** The objects behind a Service's answers, or behind some addresses of it; the Service comes first. */
  causes(answers: ServiceAnswers, records?: readonly Rr[]): Provenance[] {
    const wanted = records === undefined ? undefined : new Set(records.map((rr) => formatIp(rr.rdata)));
    const { service, slices } = answers;
    const out: Provenance[] = [{ kind: this.#kind, namespace: service.namespace, name: service.name }];
    for (const slice of slices) {
      slice.endpoints.forEach((endpoint, i) => {
        if (wanted !== undefined && !wanted.has(canonical(endpoint.address))) return;
        out.push({
          kind: 'EndpointSlice',
          namespace: slice.namespace,
          name: slice.name,
          field: `endpoints[${i}] ${endpoint.pod}`.trimEnd(),
        });
      });
    }
    return out;
  }

  /** How long endpoints of headless Services took to be answered, as CoreDNS counts it. */
  #observe(before: Value | undefined, after: Value): void {
    if (after.kind !== 'service' || after.answers.service.kind !== 'headless') return;
    const known = before?.kind === 'service' ? before.answers.slices : [];
    for (const slice of after.answers.slices) {
      if (slice.triggered === 0 || known.some((old) => old === slice)) continue;
      this.#latency.cell('headless_with_selector').observe((this.#runtime.clock.now() - slice.triggered) / 1000);
    }
  }

  #replace(before: Value | undefined, after: Value | undefined): void {
    if (before?.kind === 'namespace' && after === undefined) this.table.removeNamespace(before.name);
    else if (after?.kind === 'namespace') this.table.addNamespace(after.name);
    else {
      const old = before?.kind === 'service' ? before.answers : undefined;
      const fresh = after?.kind === 'service' ? after.answers : undefined;
      this.table.replace(old, fresh);
    }
  }

  async #start(): Promise<void> {
    const { log, loopMetrics } = this.#runtime;
    const { access } = this.#options;
    const [kube, made] = await Promise.all([import('@weft/kube'), this.#runtime.kube(access)]);
    const client = measured(made, access, this.#runtime.metrics);
    this.#closeClient = () => client.close?.();
    if (this.#stop.signal.aborted) return this.#closeClient();
    const { namespaces, labelSelector, namespaceSelector } = this.#options;
    const served = namespaces === undefined ? undefined : new Set(namespaces);
    const exposed = <T extends { namespace: string }>(object: T | undefined): T | undefined =>
      object !== undefined && (served === undefined || served.has(object.namespace)) ? object : undefined;
    const common = { client, log, metrics: loopMetrics };
    const { resources } = kube;
    const { multicluster, zonal } = this.#options;
    const selected = labelSelector === undefined ? {} : { labelSelector };
    const services = multicluster
      ? new kube.Informer({
          ...common,
          name: 'dns-serviceimports',
          type: kube.resourceType<ServiceImport>(SERVICE_IMPORTS),
          ...selected,
          transform: (object) => exposed(slimImport(object)),
        })
      : new kube.Informer({
          ...common,
          name: 'dns-services',
          type: resources.services,
          ...selected,
          transform: (object) => exposed(slimService(object)),
        });
    const namespaceInformer = new kube.Informer({
      ...common,
      name: multicluster ? 'dns-multicluster-namespaces' : 'dns-namespaces',
      type: resources.namespaces,
      ...(namespaceSelector === undefined ? {} : { labelSelector: namespaceSelector }),
      transform: (object): SlimNamespace | undefined =>
        served === undefined || served.has(object.metadata.name) ? slimNamespace(object) : undefined,
    });
    const slices = this.#options.endpoints
      ? new kube.Informer({
          ...common,
          name: multicluster ? 'dns-imported-endpointslices' : 'dns-endpointslices',
          type: resources.endpointslices,
          ...(multicluster ? { labelSelector: [IMPORT_NAME, labelSelector].filter(Boolean).join(',') } : selected),
          transform: (object) => exposed(multicluster ? slimImportedSlice(object) : slimSlice(object, zonal)),
        })
      : undefined;
    slices?.index('service', (slice) => `${slice.namespace}/${slice.service}`);
    const pods = this.#options.pods
      ? new kube.Informer({
          ...common,
          name: 'dns-pods',
          type: resources.pods,
          fieldSelector: POD_FIELDS,
          transform: (object) => exposed(slimPod(object, this.#options.podLabels)),
        })
      : undefined;
    pods?.index('ip', (pod) => canonical(pod.ip));
    this.#informers = { services, namespaces: namespaceInformer, slices, pods };

    const touchService = (object: SlimService): void => this.#loop.touch(`s${object.namespace}/${object.name}`);
    const touchSlice = (object: SlimSlice): void => this.#loop.touch(`s${object.namespace}/${object.service}`);
    const touchNamespace = (object: SlimNamespace): void => this.#loop.touch(`n${object.name}`);
    services.on({ add: touchService, update: (_, now) => touchService(now), delete: touchService });
    namespaceInformer.on({ add: touchNamespace, delete: touchNamespace });
    slices?.on({
      add: touchSlice,
      update: (before, now) => {
        if (before.service !== now.service) touchSlice(before);
        touchSlice(now);
      },
      delete: touchSlice,
    });
    const all = [services, namespaceInformer, slices, pods].filter((informer) => informer !== undefined);
    for (const informer of all) informer.start(this.#stop.signal);
    await Promise.all(all.map((informer) => informer.synced));
    this.#loop.release();
    await this.#loop.idle();
    this.#ready = true;
    // Names that do not exist are denied from now on.
    this.table.changedAll();
  }
}

function canonical(text: string): string {
  const ip = parseIp(text);
  return ip === undefined ? text : formatIp(ip);
}

/** The view for these options: made when nobody has one yet. */
export function acquireView(options: ViewOptions, runtime: Runtime): { value: ClusterView; release: () => void } {
  return runtime.shared.acquire(`kubernetes ${JSON.stringify(options)}`, () => {
    const view = new ClusterView(options, runtime);
    return { value: view, close: () => void view.close() };
  });
}
