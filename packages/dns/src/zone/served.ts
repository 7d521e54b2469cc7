import { failure, type Handler, type TransferSource } from '../server/handler.ts';
import type { SetupContext } from '../server/plugin.ts';
import type { ZoneSet } from '../server/zoneset.ts';
import { ZoneMap } from '../server/zoneset.ts';
import { keyToText, type NameKey, RCODE } from '../wire/index.ts';
import { answerFromZone } from './answer.ts';
import type { Zone } from './zone.ts';

/** The zones that one plugin serves: which they are, and what they hold now. */
export class ServedZones implements TransferSource {
  #zones = new ZoneMap<{ zone: Zone | undefined }>();
  readonly #origins = new Set<NameKey>();
  readonly #listeners = new Set<(origin: NameKey) => void>();

  /** Adds a zone that is served before it has been read: its names are SERVFAIL until then. */
  expect(origin: NameKey): void {
    if (this.#origins.has(origin)) return;
    this.#origins.add(origin);
    this.#zones.set(keyToText(origin), { zone: undefined });
  }

  /** What a zone holds from now on; undefined when that is no longer known. */
  put(origin: NameKey, zone: Zone | undefined): void {
    const before = this.get(origin);
    this.expect(origin);
    this.#zones.set(keyToText(origin), { zone });
    if (zone !== undefined && zone !== before) for (const listener of this.#listeners) listener(origin);
  }

  /** Serves a zone no longer. */
  remove(origin: NameKey): void {
    if (!this.#origins.delete(origin)) return;
    const rest = new ZoneMap<{ zone: Zone | undefined }>();
    for (const other of this.#origins) rest.set(keyToText(other), { zone: this.get(other) });
    this.#zones = rest;
  }

  get(origin: NameKey): Zone | undefined {
    return this.#zones.get(keyToText(origin))?.zone;
  }

  /** The zone with the longest origin that holds a name. */
  match(
    key: NameKey,
    labels: readonly number[],
  ): { readonly origin: NameKey; readonly zone: Zone | undefined } | undefined {
    const match = this.#zones.match(key, labels);
    return match === undefined ? undefined : { origin: key.slice(match.offset), zone: match.value.zone };
  }

  origins(): Iterable<NameKey> {
    return this.#origins;
  }

  zone(origin: NameKey): { soa: Zone['soa']; records: ReturnType<Zone['records']> } | undefined {
    const zone = this.get(origin);
    return zone === undefined ? undefined : { soa: zone.soa, records: zone.records() };
  }

  onChange(listener: (origin: NameKey) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Answers from zones. Names that do not exist go to the next plugin in the zones of `through`. */
export function zoneHandler(
  name: string,
  zones: ServedZones,
  lookup: SetupContext['lookup'],
  through: ZoneSet | undefined,
): Handler {
  return {
    name,
    transfers: zones,
    owns: (key, labels) => through?.has(key, labels) !== true && zones.match(key, labels) !== undefined,
    serve(request, next) {
      const { key, labels } = request.query;
      const match = zones.match(key, labels);
      if (match === undefined) return next(request);
      if (match.zone === undefined) {
        return failure(name, RCODE.SERVFAIL, new Error(`zone ${keyToText(match.origin)} is not loaded`));
      }
      if (
        through?.has(key, labels) === true &&
        match.zone.lookup(request.query.qname, request.query.type).kind === 'nxdomain'
      ) {
        return next(request);
      }
      return answerFromZone(name, match.zone, request, lookup);
    },
  };
}
