const CLOUD = 'it reads the API of one cloud provider, which a cluster DNS server does not need';
const SIGNING = 'zones are not signed here: no cluster zone is, and files may be signed by the tools that make them';
const TRANSPORT = 'the server speaks DNS over UDP, TCP, TLS and HTTPS';

/**
 * The plugins of CoreDNS that a Corefile cannot use here, with the reason that users are told. Together with `PLUGINS`
 * these are all names of `ORDER`.
 */
export const UNSERVED: ReadonlyMap<string, string> = new Map([
  ['azure', CLOUD],
  ['clouddns', CLOUD],
  ['dnssec', SIGNING],
  ['dnstap', 'queries are seen with log, prometheus and weft dns top'],
  ['erratic', 'it only breaks answers for tests'],
  ['etcd', 'its records would need a second store next to the Kubernetes API'],
  ['geoip', 'it needs a database of places that is not free to hand on'],
  ['grpc', TRANSPORT],
  ['grpc_server', TRANSPORT],
  ['https3', TRANSPORT],
  ['nomad', 'it serves the names of another orchestrator'],
  ['on', 'it runs commands of the Corefile, which a DNS server must not do'],
  ['pprof', 'it profiles programs written in Go'],
  ['proxyproto', 'clients of a cluster DNS server reach it without a proxy that hides their addresses'],
  ['quic', TRANSPORT],
  ['route53', CLOUD],
  ['shed', 'load beyond what is answered waits in the socket, whose queue is bounded'],
  ['sign', SIGNING],
  ['tsig', SIGNING],
]);
