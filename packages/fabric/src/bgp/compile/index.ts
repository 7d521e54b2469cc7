import type { SpeakerConfig } from '../speaker/index.ts';
import { PeerReader } from './peers.ts';
import { ownRoutes, transitRules } from './routes.ts';
import { readSettings } from './settings.ts';
import { parseAsNumber, routerIdOf } from './values.ts';
import type { BgpProblem, BgpWorld } from './world.ts';

export type * from './world.ts';

/** What the speaker of a node is told, and what in the objects cannot be used. Pure. */
export function compileSpeaker(world: BgpWorld): {
  readonly config: SpeakerConfig;
  readonly problems: readonly BgpProblem[];
} {
  const found = new Map<string, BgpProblem>();
  const say = (problem: BgpProblem): void => {
    found.set(`${problem.kind} ${problem.name} ${problem.message}`, problem);
  };
  const { self } = world;
  const settings = readSettings(world, say);
  const annotated = self.asNumber === undefined ? settings.as : parseAsNumber(self.asNumber);
  if (annotated === undefined) {
    const message = `annotation projectcalico.org/ASNumber: "${self.asNumber ?? ''}" is not an AS number`;
    say({ kind: 'Node', name: self.name, message });
  }
  const as = annotated ?? settings.as;
  const peers = new PeerReader(world, settings, as, transitRules(world, settings), say).read();
  const config: SpeakerConfig = {
    as,
    routerId: routerIdOf(self),
    ...(self.clusterId === undefined ? {} : { clusterId: self.clusterId }),
    port: settings.port,
    ...(settings.bindNodeIp ? { listen: Object.values(self.ip) } : {}),
    peers,
    routes: ownRoutes(world, settings),
  };
  return { config, problems: [...found.values()] };
}
