/** IP protocol numbers that IPVS balances. */
export type IpvsProtocol = 6 | 17 | 132;

/** Which virtual service: address, protocol and port. */
export interface IpvsKey {
  readonly address: string;
  readonly protocol: IpvsProtocol;
  readonly port: number;
}

/** A virtual service (`struct ip_vs_service_user`). */
export interface IpvsService extends IpvsKey {
  /** `rr`, `wrr`, `lc`, `wlc`, `lblc`, `lblcr`, `sh`, `dh`, `sed`, `nq`, `mh` … */
  readonly scheduler: string;
  /** IP_VS_SVC_F_* bits; see `IPVS_PERSISTENT` and its siblings. */
  readonly flags: number;
  /** Seconds a client stays with a server (with `IPVS_PERSISTENT`). */
  readonly timeout: number;
}

/** A real server of a virtual service, reached by network address translation. */
export interface IpvsDestination {
  readonly address: string;
  readonly port: number;
  /** 0: it gets no new connections and keeps those it has. */
  readonly weight: number;
}

/** Counters since the entry was made. */
export interface IpvsStats {
  readonly connections: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface IpvsServiceState extends IpvsService {
  readonly stats: IpvsStats;
}

export interface IpvsDestinationState extends IpvsDestination {
  readonly active: number;
  readonly inactive: number;
  readonly stats: IpvsStats;
}

/** Idle times of connections, in seconds; 0 leaves the kernel's own. */
export interface IpvsTimeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export const IPVS_PERSISTENT = 0x1;
/** Set by the kernel on every service it has. */
export const IPVS_HASHED = 0x2;
/** First flag of a scheduler's own: `sh-fallback`, `mh-fallback`. */
export const IPVS_SCHED1 = 0x8;
/** Second flag of a scheduler's own: `sh-port`, `mh-port`. */
export const IPVS_SCHED2 = 0x10;
