import type { KubeObject } from '@weft/kube';

/** An object of any kind, with whatever fields it has. */
export type AnyObject = KubeObject & { [field: string]: unknown };

/**
 * One state of one object. It never changes: lists, watch events and continue tokens share it. The parsed object and
 * its JSON are made from each other on first use, and kept.
 */
export class Stored {
  /** `namespace/name`, or `name`. */
  readonly key: string;
  readonly rv: number;
  #object: AnyObject | undefined;
  #json: Buffer | undefined;
  #base: Stored | undefined;

  constructor(key: string, rv: number, object: AnyObject | undefined, json: Buffer | undefined) {
    this.key = key;
    this.rv = rv;
    this.#object = object;
    this.#json = json;
  }

  /** Read only: callers that change it must copy it first. */
  get object(): AnyObject {
    if (this.#object === undefined) {
      if (this.#base === undefined) this.#object = JSON.parse((this.#json as Buffer).toString()) as AnyObject;
      else {
        const { object } = this.#base;
        this.#object = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.rv) } };
        this.#base = undefined;
      }
    }
    return this.#object;
  }

  get json(): Buffer {
    this.#json ??= Buffer.from(JSON.stringify(this.object));
    return this.#json;
  }

  /** The same state under another resource version, as the last word on a deleted object. */
  at(rv: number): Stored {
    const state = new Stored(this.key, rv, undefined, undefined);
    state.#base = this;
    return state;
  }
}

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** One change, with the state before it; watchers derive from both whether an object entered or left their selection. */
export class StoreEvent {
  readonly type: EventType;
  readonly rv: number;
  /** For DELETED the last state, under the deletion's resource version. */
  readonly current: Stored;
  readonly previous: Stored | undefined;
  #lines: Map<string, Buffer> | undefined;
  #left: Stored | undefined;

  constructor(type: EventType, rv: number, current: Stored, previous: Stored | undefined) {
    this.type = type;
    this.rv = rv;
    this.current = current;
    this.previous = previous;
  }

  /** What a watcher is told when the object leaves its selection: the state that still matched, at this version. */
  get left(): Stored {
    this.#left ??= this.type === 'DELETED' ? this.current : (this.previous as Stored).at(this.rv);
    return this.#left;
  }

  /** The bytes of one form of this event, made once and shared by all watchers. */
  line(form: string, make: () => Buffer): Buffer {
    this.#lines ??= new Map();
    let line = this.#lines.get(form);
    if (line === undefined) {
      line = make();
      this.#lines.set(form, line);
    }
    return line;
  }
}
