import { parseLabelSelector } from '@weft/kube';
import { CorefileError, parsingError } from '../../corefile/error.ts';
import {
  args,
  type Option,
  option,
  type OptionSchema,
  type OptionValues,
  parseOptions,
} from '../../corefile/options.ts';
import { isReverseZone, zonesFromArgument } from '../../corefile/zones.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import { KubernetesHandler } from './handler.ts';
import { acquireView, type ViewOptions } from './view.ts';

/** A label selector, checked before the API server sees it. */
function selector(what: string, doc: string): Option<string> {
  return {
    syntax: 'EXPRESSION',
    doc,
    parse: (line) => {
      const text = args(line, 1, Number.POSITIVE_INFINITY).join(' ');
      const refuse = (why: string): never => {
        throw parsingError(line.name, `unable to parse ${what} selector value: '${text}': ${why}`);
      };
      try {
        const odd = parseLabelSelector(text).find(({ operator }) => operator === 'Gt' || operator === 'Lt');
        if (odd !== undefined) return refuse(`"${odd.operator}" isn't supported in label selectors`);
      } catch (error) {
        if (error instanceof CorefileError) throw error;
        return refuse((error as Error).message);
      }
      return text;
    },
  };
}

/** A limit of requests to the API server: checked, and not needed. */
function limit(syntax: string, pattern: RegExp): Option<string> {
  return {
    syntax,
    doc: 'Accepted; three watches need no limit.',
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      if (/^-[0-9.]+$/.test(text)) throw parsingError(line.name, `${line.name.text} must be >= 0`);
      if (!pattern.test(text)) throw parsingError(line.name, `invalid ${line.name.text} "${text}": invalid syntax`);
      return text;
    },
  };
}

const schema = {
  endpoint: {
    syntax: 'URL',
    doc: 'API server to use; the first of several. `unix:///PATH` is a socket.',
    parse: (line) => args(line, 1, Number.POSITIVE_INFINITY)[0] as string,
  },
  tls: option.words('CERT KEY CACERT', 'Client certificate, its key and the CA of the API server, as files.', 3, 3),
  kubeconfig: option.words('FILE [CONTEXT]', 'Reach the API server as a kubeconfig file says.', 1, 2),
  apiserver_qps: limit('QPS', /^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i),
  apiserver_burst: limit('BURST', /^\+?[0-9]+$/),
  apiserver_max_inflight: limit('NUM', /^\+?[0-9]+$/),
  namespaces: {
    ...option.words('NAMESPACE…', 'Serve only these namespaces; more lines add more.'),
    join: (before: string[], after: string[]) => [...before, ...after],
  },
  namespace_labels: selector('namespace_label', 'Serve only namespaces with these labels. Not with `namespaces`.'),
  labels: selector('label', 'Serve only Services and EndpointSlices with these labels.'),
  pods: option.choice(
    ['disabled', 'insecure', 'verified'],
    'Names `1-2-3-4.NAMESPACE.pod.ZONE`: none, any address, or only addresses that a pod of the namespace has.',
    (value) => `wrong value for pods: ${value},  must be one of: disabled, verified, insecure`,
  ),
  endpoint_pod_names: option.flag('Endpoints without hostname are named after their pod.'),
  ttl: option.integer('SECONDS', 'TTL of records, 0 to 3600. Default 5.', {
    min: 0,
    max: 3600,
    error: 'ttl must be in range [0, 3600]',
  }),
  noendpoints: option.flag('Do not watch endpoints: headless Services and endpoint names do not resolve.'),
  fallthrough: option.zones(
    '[ZONE…]',
    'Names that do not exist go to the next plugin; in these zones only, or in all.',
  ),
  ignore: option.choice(
    ['empty_service'],
    'Services without ready endpoints do not exist.',
    (value) => `unable to parse ignore value: '${value}'`,
  ),
  multicluster: option.zones(
    '[ZONE…]',
    'Zones of the plugin that have Services of several clusters (ServiceImport) instead of those of this one.',
  ),
  zonal: option.flag(
    'Headless Services answer `TOPOLOGY-ZONE.pin._zone.SERVICE…` and `TOPOLOGY-ZONE.prefer._zone.SERVICE…` too.',
  ),
  startup_timeout: option.duration('DURATION', 'Longest wait for the API server before the first answer. Default 5s.'),
} satisfies OptionSchema;

type Options = OptionValues<typeof schema>;

/** Options that CoreDNS once had: errors there too, with what to do instead. */
const REMOVED: Readonly<Record<string, string>> = {
  resyncperiod: 'remove the line: changes are watched, and nothing is listed again',
  upstream: 'remove the line: names outside of the cluster are resolved by the server itself',
  transfer: 'use the plugin transfer in the same server block',
};

export const kubernetes: Plugin = {
  name: 'kubernetes',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    for (const line of directive.block ?? []) {
      const instead = REMOVED[line.name.text];
      if (instead !== undefined) throw parsingError(line.name, `unknown property '${line.name.text}'`, instead);
    }
    const options = parseOptions(schema, directive.block, context.warn);
    const named = directive.args.flatMap((token) => zonesFromArgument(token));
    const zones = named.length > 0 ? named : [...context.block.zones];
    const primary = zones.find((zone) => !isReverseZone(zone));
    if (primary === undefined) throw parsingError(directive.name, 'non-reverse zone name must be used');
    if (options.namespaces !== undefined && options.namespace_labels !== undefined) {
      throw parsingError(directive.name, 'namespaces and namespace_labels cannot both be set');
    }
    const multicluster = options.multicluster ?? [];
    const foreign = multicluster.find((zone) => !zones.includes(zone));
    if (foreign !== undefined) {
      throw parsingError(
        directive.name,
        `is not authoritative for the multicluster zone ${foreign} (authoritative zones: [${zones.join(' ')}])`,
        'list the zone after kubernetes too',
      );
    }
    if (options.zonal === true && options.noendpoints === true)
      throw parsingError(directive.name, 'zonal requires the endpoint cache; remove noendpoints');
    return handlersOf(options, zones, primary, context);
  },
};

/** One handler for the zones of this cluster, and one for those of several clusters. */
function handlersOf(
  options: Options,
  zones: readonly string[],
  primary: string,
  context: SetupContext,
): KubernetesHandler[] {
  const viewOptions = toViewOptions(options, context.pluginNames().includes('metadata'));
  const imported = new Set(options.multicluster);
  const common = {
    primary,
    ttl: viewOptions.ttl,
    pods: options.pods ?? 'disabled',
    fallthrough: options.fallthrough,
    lookup: context.lookup,
    localAddresses: context.localAddresses,
  };
  const own = new KubernetesHandler({
    ...common,
    zones: zones.filter((zone) => !imported.has(zone)),
    shape: { multicluster: false, zonal: viewOptions.zonal },
  });
  follow(own, viewOptions, options, context);
  const handlers = [own];
  context.readiness('kubernetes', () => handlers.every(({ view }) => view?.ready === true));
  if (imported.size === 0) return handlers;
  const several = new KubernetesHandler({
    ...common,
    zones: zones.filter((zone) => imported.has(zone)),
    podView: () => own.view,
    shape: { multicluster: true, zonal: false },
  });
  follow(
    several,
    { ...viewOptions, multicluster: true, zonal: false, pods: false, podLabels: false },
    options,
    context,
  );
  // The one that has the narrower zones is asked first.
  const narrower = zones.some(
    (zone) => imported.has(zone) && zones.some((z) => !imported.has(z) && zone.endsWith(`.${z}`)),
  );
  if (narrower) handlers.unshift(several);
  else handlers.push(several);
  return handlers;
}

/** Gives a handler its view while the configuration is in force. */
function follow(handler: KubernetesHandler, view: ViewOptions, options: Options, context: SetupContext): void {
  let release: (() => void) | undefined;
  context.onStart(async (signal) => {
    const acquired = acquireView(view, context.runtime);
    release = acquired.release;
    handler.view = acquired.value;
    await within(acquired.value.synced, (options.startup_timeout ?? 5) * 1000, signal, () =>
      context.runtime.log.warn('plugin/kubernetes: starting server with unsynced Kubernetes API'),
    );
  });
  context.onStop(() => release?.());
}

function toViewOptions(options: Options, podLabels: boolean): ViewOptions {
  const [cert, key, ca] = options.tls ?? [];
  const [path, kubeContext] = options.kubeconfig ?? [];
  return {
    access: {
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      ...(options.tls === undefined
        ? {}
        : {
            tls: {
              ...(cert === undefined ? {} : { cert }),
              ...(key === undefined ? {} : { key }),
              ...(ca === undefined ? {} : { ca }),
            },
          }),
      ...(path === undefined
        ? {}
        : { kubeconfig: { path, ...(kubeContext === undefined ? {} : { context: kubeContext }) } }),
    },
    namespaces: options.namespaces,
    namespaceSelector: options.namespace_labels,
    labelSelector: options.labels,
    endpoints: options.noendpoints !== true,
    pods: options.pods === 'verified',
    podLabels: podLabels && options.pods === 'verified',
    ttl: options.ttl ?? 5,
    podNames: options.endpoint_pod_names === true,
    ignoreEmpty: options.ignore === 'empty_service',
    multicluster: false,
    zonal: options.zonal === true,
  };
}

/** Waits for `done`, but not for longer than `ms`; then says so and goes on. A failure counts as not done. */
async function within(done: Promise<void>, ms: number, signal: AbortSignal, late: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  const expired = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
    stop = () => resolve(false);
    signal.addEventListener('abort', stop, { once: true });
  });
  const synced = await Promise.race([
    done.then(
      () => true,
      () => false,
    ),
    expired,
  ]);
  clearTimeout(timer);
  if (stop !== undefined) signal.removeEventListener('abort', stop);
  if (!synced && !signal.aborted) late();
}
