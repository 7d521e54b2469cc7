import type { Family } from '@weft/net';
import { diffPlans, type Plan } from '@weft/plan';
import { endpointWidth, formatEndpoint, unpackList } from '../model/packed.ts';
import type { Planned } from '../model/types.ts';
import { SocketMaps } from './sockets.ts';

/** What sockets are led to, for people: a line per frontend. */
export function socketLines(family: Family, plan: Plan<Planned>): string[] {
  const values = [...plan.values()].map(({ value }) => value);
  const state = new SocketMaps(family, values);
  state.update(diffPlans(new Map(), plan), 0);
  return state
    .leads()
    .map(({ frontend, endpoints }) => {
      const list = unpackList(endpoints, endpointWidth(family)).map(formatEndpoint);
      return `connect ${formatEndpoint(frontend)} : ${list.join(', ')}`;
    })
    .sort();
}
