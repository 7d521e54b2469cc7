import type { Provenance } from '@weft/plan';
import type { BgpProblem } from './compile/index.ts';
import type { Speaker } from './speaker/index.ts';

/** A peer as `weft bgp status` shows it. */
export interface BgpPeerStatus {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly as: number;
  /** `node-to-node mesh` or `BGPPeer NAME`. */
  readonly type: string;
  readonly cause: Provenance;
  readonly state: string;
  /** When it last came up or went down, RFC 3339. */
  readonly since: string;
  /** Why the last session or attempt ended. */
  readonly lastError?: string;
  readonly families: readonly string[];
  readonly routes: {
    readonly received: number;
    readonly accepted: number;
    readonly advertised: number;
    readonly pending: number;
    readonly stale: number;
  };
  /** Seconds, once agreed on. */
  readonly holdTime?: number;
  readonly routerId?: string;
  readonly gracefulRestart: boolean;
  readonly established: number;
  readonly messages: { readonly in: number; readonly out: number };
  readonly faults: number;
}

/** A node's speaker as `weft bgp status` shows it. */
export interface BgpStatus {
  readonly node: string;
  readonly as: number;
  readonly routerId: string;
  readonly clusterId?: string;
  readonly port: number;
  readonly listenError?: string;
  /** The routes of an earlier life are kept until the peers have told theirs. */
  readonly restarting: boolean;
  readonly peers: readonly BgpPeerStatus[];
  readonly announced: readonly { readonly prefix: string; readonly cause?: Provenance }[];
  /** Destinations with a route in use, our own included. */
  readonly table: number;
  readonly problems: readonly BgpProblem[];
}

function peerStatus(speaker: Speaker, session: ReturnType<Speaker['sessions']>[number]): BgpPeerStatus {
  const { config, negotiated, lastError, counters } = session;
  return {
    name: config.name,
    address: config.address,
    port: config.port,
    as: config.as,
    type: config.cause.kind === 'BGPPeer' ? `BGPPeer ${config.cause.name}` : 'node-to-node mesh',
    cause: config.cause,
    state: session.state,
    since: new Date(session.since).toISOString(),
    ...(lastError === undefined ? {} : { lastError }),
    families: (negotiated?.families ?? config.families).map((family) => `IPv${family}`),
    routes: {
      ...speaker.rib.count(config.name),
      advertised: session.advertised,
      pending: session.pending,
      stale: speaker.rib.stale(config.name),
    },
    ...(negotiated === undefined ? {} : { holdTime: negotiated.holdTime, routerId: negotiated.routerId }),
    gracefulRestart: negotiated?.capabilities.gracefulRestart !== undefined,
    established: counters.established,
    messages: { in: counters.messagesIn, out: counters.messagesOut },
    faults: counters.faults,
  };
}

/** What a node's speaker does now. Without a speaker: nothing yet. */
export function bgpStatus(node: string, speaker: Speaker | undefined, problems: readonly BgpProblem[]): BgpStatus {
  const self = speaker?.self;
  return {
    node,
    as: self?.as ?? 0,
    routerId: self?.routerId ?? '0.0.0.0',
    ...(self?.clusterId === undefined ? {} : { clusterId: self.clusterId }),
    port: self?.port ?? 0,
    ...(speaker?.listenError === undefined ? {} : { listenError: speaker.listenError }),
    restarting: speaker?.restarting ?? false,
    peers: speaker?.sessions().map((session) => peerStatus(speaker, session)) ?? [],
    announced: (self?.routes ?? []).map(({ prefix, cause }) => ({ prefix, ...(cause === undefined ? {} : { cause }) })),
    table: speaker?.rib.size ?? 0,
    problems,
  };
}
