import { EMSGSIZE, errnoName } from '../errno.ts';
import { combineErrors, KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { type NlFailure, NlSocket } from '../netlink/socket.ts';
import { type NlMessage, NlReader, NlWriter } from '../netlink/wire.ts';
import type { NetNs } from '../sys/netns.ts';
import { elementAt, type NftBatch, type NftLabel, putBatchBegin, putBatchEnd } from './batch.ts';
import { FAMILIES, NFT_MSG } from './constants.ts';
import { decodeElements, elementForm, joinRanges, type RawElement } from './elements.ts';
import { decodeChain, decodeRule, decodeSet, decodeTable, encodeRuleRef, encodeSetRef, nfgenmsg } from './objects.ts';
import type {
  ListedChain,
  ListedElement,
  ListedRule,
  ListedSet,
  ListedTable,
  NftFamily,
  SetRef,
  SetSpec,
  TableRef,
} from './types.ts';

/** Batches above this size (some 600 elements) take the kernel more than a millisecond and are sent from a pool thread. */
const SLOW_BYTES = 24_576;

export interface CommitOptions {
  /** Commit only when the rules are still of this generation (see `generation`); ERESTART otherwise. */
  readonly genid?: number;
  /**
   * A batch that the send buffer cannot take in one piece (only in a user namespace, beyond net.core.wmem_max) is
   * committed as several transactions in order. Packets may then see a part of it.
   */
  readonly allowSplit?: boolean;
}

/** nftables of one network namespace (nf_tables over nfnetlink). */
export class Nft {
  readonly #socket: NlSocket;

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): Nft {
    return new Nft(NlSocket.open(C.NETLINK_NETFILTER, ns));
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Commits a batch as one transaction: all of it or nothing. The error is the first refusal and names its object (for
   * elements also the key); `errors` lists every refusal.
   */
  commit(batch: NftBatch, options: CommitOptions = {}): Promise<void> {
    if (batch.count === 0) return Promise.resolve();
    try {
      const { writer, labels, deletes } = batch.encoded(options.genid ?? 0);
      if (writer.pos > SLOW_BYTES && !this.#socket.canSend(writer.pos + 20)) {
        if (options.allowSplit === true) return this.#split(writer, labels);
        throw new KernelError({
          errno: EMSGSIZE,
          operation: 'commit nft batch of',
          object: `${writer.pos} bytes`,
          hint: 'raise net.core.wmem_max, or allow the batch to be split',
        });
      }
      return this.#send(writer, labels, deletes || writer.pos > SLOW_BYTES);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #send(writer: NlWriter, labels: readonly NftLabel[], slow: boolean): Promise<void> {
    putBatchEnd(writer);
    const done = this.#socket.request(writer, { slow, ack: writer.starts.length - 2 });
    const settle = (): void => writer.drop();
    return done.then(
      (result) => {
        try {
          if (result.failures.length > 0) throw toError(result.failures, labels, writer);
        } finally {
          settle();
        }
      },
      (error) => {
        settle();
        throw error;
      },
    );
  }

  async #split(writer: NlWriter, labels: readonly NftLabel[]): Promise<void> {
    const limit = this.#socket.sendLimit - 64;
    const ends = [...writer.starts.slice(1), writer.pos];
    let i = 1;
    while (i < writer.starts.length) {
      const part = new NlWriter(1 << 18);
      putBatchBegin(part);
      const partLabels = [labels[0] as NftLabel];
      for (; i < writer.starts.length; i++) {
        const from = writer.starts[i] as number;
        const to = ends[i] as number;
        if (partLabels.length > 1 && part.pos + to - from > limit) break;
        part.starts.push(part.pos);
        part.raw(writer.bytes.subarray(from, to));
        partLabels.push(labels[i] as NftLabel);
      }
      await this.#send(part, partLabels, true);
    }
  }

  /** Number of the current rule set generation; every commit by anybody changes it. */
  async generation(): Promise<number> {
    const w = new NlWriter(64);
    w.begin(NFT_MSG.GETGEN, C.NLM_F_REQUEST);
    nfgenmsg(w, 0);
    w.end();
    let id = 0;
    const result = await this.#socket.request(w, {
      onMessage: (m) => {
        const a = new NlReader(m.bytes, m.start + 4, m.end);
        while (a.next()) if (a.type === 1) id = a.u32be();
      },
    });
    if (result.failures.length > 0)
      throw toError(result.failures, [{ operation: 'read', object: () => 'nft generation' }], w);
    return id;
  }

  async #dump<T>(
    type: number,
    what: string,
    body: (w: NlWriter) => void,
    read: (m: NlMessage, out: T[]) => void,
  ): Promise<T[]> {
    const w = new NlWriter(256);
    w.begin(type, C.NLM_F_REQUEST | C.NLM_F_DUMP);
    body(w);
    w.end();
    const out: T[] = [];
    const result = await this.#socket.dump(
      w,
      (m) => read(m, out),
      () => {
        out.length = 0;
      },
    );
    if (result.failures.length > 0) throw toError(result.failures, [{ operation: 'list', object: () => what }], w);
    return out;
  }

  listTables(family?: NftFamily): Promise<ListedTable[]> {
    return this.#dump(
      NFT_MSG.GETTABLE,
      'nft tables',
      (w) => nfgenmsg(w, family === undefined ? 0 : FAMILIES[family]),
      (m, out) => out.push(decodeTable(m)),
    );
  }

  listChains(table: TableRef): Promise<ListedChain[]> {
    return this.#dump(
      NFT_MSG.GETCHAIN,
      `nft chains of ${table.family} ${table.name}`,
      (w) => {
        nfgenmsg(w, FAMILIES[table.family]);
        w.str(1, table.name);
      },
      (m, out) => {
        const chain = decodeChain(m);
        if (chain.table === table.name) out.push(chain);
      },
    );
  }

  /** Rules of a table, or of one of its chains, in order. */
  listRules(table: TableRef, chain?: string): Promise<ListedRule[]> {
    return this.#dump(
      NFT_MSG.GETRULE,
      `nft rules of ${table.family} ${table.name}${chain === undefined ? '' : ` ${chain}`}`,
      (w) => {
        if (chain !== undefined) encodeRuleRef(w, { family: table.family, table: table.name, chain });
        else {
          nfgenmsg(w, FAMILIES[table.family]);
          w.str(1, table.name);
        }
      },
      (m, out) => {
        const rule = decodeRule(m);
        if (rule.table === table.name && (chain === undefined || rule.chain === chain)) out.push(rule);
      },
    );
  }

  /** Named sets and maps of a table. */
  listSets(table: TableRef): Promise<ListedSet[]> {
    return this.#dump(
      NFT_MSG.GETSET,
      `nft sets of ${table.family} ${table.name}`,
      (w) => {
        nfgenmsg(w, FAMILIES[table.family]);
        w.str(1, table.name);
      },
      (m, out) => {
        const { anonymous, ...set } = decodeSet(m);
        if (!anonymous && set.table === table.name) out.push(set);
      },
    );
  }

  /** Elements of a set; ranges come with an inclusive `keyEnd`. Give the `SetSpec` to spare a look at the set's flags. */
  async listElements(set: SetRef | SetSpec): Promise<ListedElement[]> {
    const spec =
      'key' in set
        ? set
        : (await this.listSets({ family: set.family, name: set.table })).find((s) => s.name === set.name);
    const raw = await this.#dump<RawElement>(
      NFT_MSG.GETSETELEM,
      `elements of nft set ${set.family} ${set.table} ${set.name}`,
      (w) => encodeSetRef(w, set),
      decodeElements,
    );
    if (spec !== undefined && elementForm(spec).pairs) return joinRanges(raw);
    return raw.map((item) => item.element);
  }
}

function toError(failures: readonly NlFailure[], labels: readonly NftLabel[], w: NlWriter): KernelError {
  const errors = failures.map((failure) => {
    const label = labels[Math.max(0, failure.index)] ?? { operation: 'commit', object: () => 'nft batch' };
    const start = w.starts[failure.index];
    const element =
      label.set !== undefined && failure.offset !== undefined && start !== undefined
        ? elementAt(w.bytes, start, failure.offset, label.set)
        : undefined;
    return new KernelError({
      errno: failure.errno,
      operation: label.operation,
      object: element === undefined ? label.object() : `${label.object()} { ${element} }`,
      ...(failure.extack === undefined ? {} : { extack: failure.extack }),
      ...hint(errnoName(failure.errno), label.operation),
    });
  });
  return combineErrors(errors);
}

function hint(code: string, operation: string): { readonly hint?: string } {
  if (code === 'ENOENT' && operation.startsWith('add'))
    return { hint: 'its table, chain or set does not exist, or this kernel lacks an expression it uses' };
  if (code === 'EBUSY' && operation.startsWith('delete')) return { hint: 'something still refers to it' };
  if (code === 'EEXIST' && operation.includes('elements'))
    return { hint: 'the key is there with other data: delete it in the same batch before adding' };
  return {};
}
