import type { Plugin } from '../server/plugin.ts';
import { acl } from './acl/index.ts';
import { any } from './any/index.ts';
import { auto } from './auto/index.ts';
import { autopath } from './autopath/index.ts';
import { bind } from './bind/index.ts';
import { bufsize } from './bufsize/index.ts';
import { cache } from './cache/setup.ts';
import { cancel } from './cancel/index.ts';
import { chaos } from './chaos/index.ts';
import { debug } from './debug/index.ts';
import { dns64 } from './dns64/index.ts';
import { errors } from './errors/index.ts';
import { file } from './file/index.ts';
import { forward } from './forward/setup.ts';
import { header } from './header/index.ts';
import { health } from './health/index.ts';
import { hosts } from './hosts/index.ts';
import { https } from './https/index.ts';
import { k8sExternal } from './k8s_external/index.ts';
import { kubernetes } from './kubernetes/setup.ts';
import { loadbalance } from './loadbalance/index.ts';
import { local } from './local/index.ts';
import { log } from './log/index.ts';
import { loop } from './loop/index.ts';
import { metadata } from './metadata/index.ts';
import { minimal } from './minimal/index.ts';
import { multisocket } from './multisocket/index.ts';
import { nsid } from './nsid/index.ts';
import { prometheus } from './prometheus/index.ts';
import { ready } from './ready/index.ts';
import { reload } from './reload/index.ts';
import { rewrite } from './rewrite/index.ts';
import { root } from './root/index.ts';
import { secondary } from './secondary/index.ts';
import { template } from './template/index.ts';
import { timeouts } from './timeouts/index.ts';
import { tls } from './tls/index.ts';
import { trace } from './trace/index.ts';
import { transfer } from './transfer/index.ts';
import { view } from './view/index.ts';
import { whoami } from './whoami/index.ts';

/**
 * Every plugin of CoreDNS in the order of its plugin.cfg. A query passes the plugins of a block in this order, however
 * the Corefile orders them.
 */
export const ORDER: readonly string[] = (
  'root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts multisocket reload nsid bufsize bind ' +
  'debug trace ready health pprof shed prometheus errors log dnstap local dns64 any chaos loadbalance tsig rewrite ' +
  'autopath acl cache header dnssec tls minimal template transfer hosts route53 azure clouddns k8s_external ' +
  'kubernetes file auto secondary etcd loop forward grpc erratic whoami on sign view nomad'
).split(' ');

const KNOWN = new Set(ORDER);

/** Is there a plugin of this name, here or in CoreDNS? */
export function isDirective(name: string): boolean {
  return KNOWN.has(name);
}

/** The plugins that are served. */
export const PLUGINS: ReadonlyMap<string, Plugin> = new Map(
  [
    acl,
    any,
    auto,
    autopath,
    bind,
    bufsize,
    cache,
    cancel,
    chaos,
    debug,
    dns64,
    errors,
    file,
    forward,
    header,
    health,
    hosts,
    https,
    k8sExternal,
    kubernetes,
    loadbalance,
    local,
    log,
    loop,
    metadata,
    minimal,
    multisocket,
    nsid,
    prometheus,
    ready,
    reload,
    rewrite,
    root,
    secondary,
    template,
    timeouts,
    tls,
    trace,
    transfer,
    view,
    whoami,
  ].map((plugin) => [plugin.name, plugin]),
);

/** Names of the plugins that are served, in alphabetical order. */
export const pluginNames: readonly string[] = [...PLUGINS.keys()].sort();
