import type { Logger, Metrics } from '@weft/plan';
import type { KubeconfigOptions } from './auth/kubeconfig.ts';
import type { KeyedCert } from './auth/pki.ts';
import type { Durability } from './store/log.ts';
import type { StreamingHandler } from './streaming-contract.ts';

export interface ApiServerOptions {
  /** Holds the store and the certificates; made when missing. */
  readonly dataDir: string;
  /** HTTPS for kubectl; port 0 takes a free one. Undefined: only the Unix sockets. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Plain HTTP; whoever can open it is the administrator. */
  readonly unixPath: string;
  /** HTTPS on a Unix socket, for pods that come through a proxy. */
  readonly unixTlsPath?: string;
  /** One CIDR per address family, the first is the primary one. */
  readonly serviceCidrs: readonly string[];
  /** Shown to controllers only. */
  readonly podCidrs?: readonly string[];
  /** Where pods and nodes reach the API: the endpoint of the Service `kubernetes`. */
  readonly advertiseAddress?: string;
  readonly advertisePort?: number;
  /** Host names and addresses that the server certificate has to cover besides its own. */
  readonly extraSans?: readonly string[];
  /** First and last, both included. */
  readonly nodePortRange: readonly [number, number];
  /** For example `cluster.local`. */
  readonly clusterDomain: string;
  readonly durability: Durability;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Path of the Unix socket of a node's kubelet, for exec, attach, port-forward and logs. */
  readonly kubeletSocket?: (node: string) => string;
  /** Serves those in another way. Without this and `kubeletSocket` they answer 501. */
  readonly streaming?: StreamingHandler;
  /** For tests. */
  readonly now?: () => Date;
  /** Events kept per resource for watches that come back; 4096 by default. */
  readonly watchHistory?: number;
  /** Time between watch bookmarks in milliseconds; 60,000 by default. */
  readonly bookmarkInterval?: number;
}

export interface ApiServer {
  /** `https://HOST:PORT`; undefined without `listen`. */
  readonly url: string | undefined;
  readonly port: number | undefined;
  readonly caPem: string;
  /** A kubeconfig of the administrator. `server` defaults to this server's URL, `name` to `weft`. */
  kubeconfig(options?: Partial<KubeconfigOptions>): string;
  /** A client certificate for a user of that name in those groups. */
  issueClientCert(commonName: string, groups: readonly string[]): Promise<KeyedCert>;
  /** Ends watches and connections, and closes the store. */
  close(): Promise<void>;
}
