import type { Gauge, Metrics } from '@weft/plan';
import type { Speaker } from './speaker/index.ts';

/** What a speaker's sessions and table look like from outside. */
export class BgpMetrics {
  readonly #up: Gauge;
  readonly #received: Gauge;
  readonly #advertised: Gauge;
  readonly #flaps: Gauge;
  readonly #faults: Gauge;
  readonly #table: Gauge;
  #known = new Set<string>();

  constructor(metrics: Metrics) {
    this.#up = metrics.gauge('weft_bgp_session_up', '1 when the session with a peer is established.');
    this.#received = metrics.gauge('weft_bgp_routes_received', 'Routes that a peer has sent.');
    this.#advertised = metrics.gauge('weft_bgp_routes_advertised', 'Routes that a peer was told.');
    this.#flaps = metrics.gauge('weft_bgp_session_established_count', 'Times that the session with a peer came up.');
    this.#faults = metrics.gauge('weft_bgp_update_faults', 'Faults in what a peer sent that did not end its session.');
    this.#table = metrics.gauge('weft_bgp_table_routes', 'Destinations with a route in use.');
  }

  update(speaker: Speaker): void {
    const names = new Set<string>();
    for (const session of speaker.sessions()) {
      const peer = session.config.name;
      names.add(peer);
      this.#up.set(session.state === 'Established' ? 1 : 0, { peer });
      this.#received.set(speaker.rib.count(peer).received, { peer });
      this.#advertised.set(session.advertised, { peer });
      this.#flaps.set(session.counters.established, { peer });
      this.#faults.set(session.counters.faults, { peer });
    }
    // A peer that is gone must not look like one that is down.
    for (const peer of this.#known) {
      if (names.has(peer)) continue;
      for (const gauge of [this.#up, this.#received, this.#advertised, this.#flaps, this.#faults])
        gauge.remove({ peer });
    }
    this.#known = names;
    this.#table.set(speaker.rib.size);
  }
}
