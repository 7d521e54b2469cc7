import { BgpError, NOTIFY, type OpenMessage } from '../codec/index.ts';
import type { Negotiated, SessionOptions } from './types.ts';

/** The OPEN that these options call for. */
export function openMessage(options: SessionOptions): OpenMessage {
  const { localAs, routerId, families, holdTime, restartTime, restarting, forwarding } = options;
  const gracefulRestart =
    restartTime === undefined
      ? undefined
      : { restarting, time: restartTime, families: families.map((family) => ({ family, forwarding })) };
  return {
    type: 'open',
    as: localAs,
    holdTime,
    routerId,
    capabilities: {
      families,
      as4: localAs,
      routeRefresh: true,
      ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    },
  };
}

/** What our options and the peer's OPEN have in common. Throws BgpError when that is not enough for a session. */
export function negotiate(options: SessionOptions, open: OpenMessage): Negotiated {
  const { localAs, peerAs, routerId, families } = options;
  const { as, capabilities } = open;
  if (as !== peerAs) throw new BgpError(NOTIFY.open, 2, `the peer is in AS ${as}, not ${peerAs}`);
  const internal = as === localAs;
  // Within an AS identifiers are unique (RFC 6286).
  if (internal && open.routerId === routerId)
    throw new BgpError(NOTIFY.open, 3, `the peer has our router id ${routerId}`);
  const common = families.filter((family) => capabilities.families.includes(family));
  if (common.length === 0) {
    const theirs = capabilities.families.map((f) => `IPv${f}`).join(', ') || 'none that we know';
    throw new BgpError(NOTIFY.open, 7, `no common address family: the peer has ${theirs}`);
  }
  return {
    families: common,
    as4: capabilities.as4 !== undefined,
    internal,
    holdTime: Math.min(options.holdTime, open.holdTime),
    routeRefresh: capabilities.routeRefresh,
    routerId: open.routerId,
    capabilities,
  };
}
