import { type Expr, expr, type Verdict, values } from '@weft/kernel';
import { lastAddress, type Prefix } from '@weft/net';
import type { FamilyConfig } from '../config.ts';
import { CLASS_MASK, type ClassKind, className, ID_MASK } from './layout.ts';

/** A chain with its rules. The order of a list of chains is one in which each names only earlier ones. */
export interface ChainText {
  readonly name: string;
  readonly rules: readonly (readonly Expr[])[];
  readonly hook?: { readonly hook: 'prerouting' | 'output' | 'postrouting'; readonly priority: number };
}

/** Largest element count of the `numgen` modulus: the kernel takes a u32. */
const { cmp, fib, immediate, lookup, masquerade, meta, metaSet, nat, numgen, payload, reject, verdict, vmap } = expr;
const r = expr.reg32;
const { u32ne } = values;

/**
 * Builds the rules of one family.
 *
 * `meta priority` is the scratch register between the lookups: the value found in `frontends` stays in it while chains
 * take it apart. It is the only place that survives from one lookup to the next and that `nft` of every version can
 * still print; feeding a looked-up value straight into the next key makes nft 1.0.6 abort on `list ruleset`.
 */
export class RuleText {
  readonly #config: FamilyConfig;
  readonly #source: expr.HeaderField;
  readonly #destination: expr.HeaderField;
  /** 4-byte registers that an address fills. */
  readonly #words: number;

  constructor(config: FamilyConfig) {
    this.#config = config;
    const v4 = config.family === 4;
    this.#source = v4 ? expr.header.ip.saddr : expr.header.ip6.saddr;
    this.#destination = v4 ? expr.header.ip.daddr : expr.header.ip6.daddr;
    this.#words = v4 ? 1 : 4;
  }

  /** The chains that every table has, in an order in which each names only earlier ones or maps. */
  fixedChains(): ChainText[] {
    const bit = this.#config.masqueradeMark;
    const keepAll = u32ne(0xffffffff);
    const dnat = (): Expr[] => [
      expr.ct('status', r(0)),
      expr.bitwise({ sreg: r(0), dreg: r(0), mask: u32ne(values.CT_STATUS.dnat) }),
      cmp('neq', r(0), u32ne(0)),
    ];
    // Packets made here still carry the scratch value; routed ones had it set anew by ip_forward. IPv6 forwarding is
    // not known to do that, so there every translated packet gives it back.
    const madeHere = this.#config.family === 4 ? [meta('iif', r(0)), cmp('eq', r(0), u32ne(0))] : [];
    const table: Expr[][] = [[verdict({ jump: 'services' })], [verdict({ jump: 'leftover' })]];
    return [
      {
        name: 'masq',
        rules: [
          [
            meta('mark', r(0)),
            expr.bitwise({ sreg: r(0), dreg: r(0), mask: u32ne(~bit >>> 0), xor: u32ne(bit) }),
            metaSet('mark', r(0)),
          ],
        ],
      },
      {
        name: 'reject-it',
        rules: [
          [
            meta('l4proto', r(0)),
            cmp('eq', r(0), values.proto('tcp')),
            // ICMP errors are rate limited by the kernel: three of four clients would wait for a time-out.
            reject({ with: 'tcp reset' }),
          ],
          [reject({ with: 'icmp' })],
        ],
      },
      { name: 'dispatch', rules: [[...this.#scratch(CLASS_MASK), vmap('classes', r(0))]] },
      { name: 'dispatch-local', rules: [[...this.#scratch(CLASS_MASK), vmap('local-classes', r(0))]] },
      {
        name: 'leftover',
        rules: [
          [
            payload(this.#destination, r(0)),
            lookup({ set: 'cluster-ips', sreg: r(0) }),
            verdict({ goto: 'reject-it' }),
          ],
          ...this.#config.serviceCidrs.map((block) => [
            ...this.#within(this.#destination, block),
            verdict('drop' as const),
          ]),
        ],
      },
      { name: 'services', rules: this.#services() },
      { name: 'nat-prerouting', hook: { hook: 'prerouting', priority: values.PRIORITY.dstnat }, rules: table },
      { name: 'nat-output', hook: { hook: 'output', priority: values.PRIORITY.dstnat }, rules: table },
      {
        name: 'nat-postrouting',
        hook: { hook: 'postrouting', priority: values.PRIORITY.srcnat },
        rules: [
          [...madeHere, ...dnat(), immediate(r(0), u32ne(0)), metaSet('priority', r(0))],
          [
            ...dnat(),
            payload(this.#source, r(0)),
            payload(this.#destination, r(this.#words)),
            lookup({ set: 'hairpin', sreg: r(0) }),
            verdict({ jump: 'masq' }),
          ],
          [
            meta('mark', r(0)),
            expr.bitwise({ sreg: r(0), dreg: r(0), mask: u32ne(bit) }),
            cmp('eq', r(0), u32ne(0)),
            verdict('return'),
          ],
          [
            meta('mark', r(0)),
            expr.bitwise({ sreg: r(0), dreg: r(0), mask: keepAll, xor: u32ne(bit) }),
            metaSet('mark', r(0)),
          ],
          [masquerade({ flags: ['fully-random'] })],
        ],
      },
    ];
  }

  /** The chain of a class, preceded by the chains it names that are not there from the start. */
  classChains(kind: ClassKind, endpoints: number, affinity: number): ChainText[] {
    const name = className(kind, endpoints, affinity);
    const balance = affinity > 0 ? this.#stickyBalance(endpoints, affinity) : this.#balance(endpoints);
    const masq: Expr = verdict({ jump: 'masq' });
    switch (kind) {
      case 'c': {
        const outsiders = this.#notFromPods();
        const first: Expr[][] = this.#config.masqueradeAll
          ? [[masq]]
          : outsiders === undefined
            ? []
            : [[...outsiders, masq]];
        return [{ name, rules: [...first, ...balance] }];
      }
      case 'x':
        return [{ name, rules: [[masq], ...balance] }];
      case 'l':
        return [{ name, rules: balance }];
      case 'e': {
        const plain = className('n', endpoints, affinity);
        const fromPods = this.#fromPods();
        const fromNode: Expr[] = [
          fib({ result: 'type', flags: ['saddr'], dreg: r(0) }),
          cmp('eq', r(0), u32ne(values.RTN.local)),
        ];
        return [
          { name: plain, rules: balance },
          {
            name,
            rules: [
              ...fromPods.map((match) => [...match, verdict({ goto: plain })]),
              [...fromNode, masq],
              [...fromNode, verdict({ goto: plain })],
              [
                ...this.#scratch(ID_MASK),
                lookup({ set: 'local', sreg: r(0), dreg: r(0) }),
                metaSet('priority', r(0)),
                verdict({ goto: 'dispatch-local' }),
              ],
              [verdict('drop')],
            ],
          },
        ];
      }
    }
  }

  /** The chain of one list of source ranges, whose blocks are in the interval set `set`. */
  firewallChain(name: string, set: string): ChainText {
    return {
      name,
      rules: [[payload(this.#source, r(0)), lookup({ set, sreg: r(0) }), verdict('return')], [verdict('drop')]],
    };
  }

  #services(): Expr[][] {
    const { nodePorts } = this.#config;
    const w = this.#words;
    const frontend = [payload(this.#destination, r(0)), meta('l4proto', r(w)), payload(expr.header.th.dport, r(w + 1))];
    const nodePort: Expr[] = [
      meta('l4proto', r(0)),
      payload(expr.header.th.dport, r(1)),
      lookup({ set: 'nodeports', sreg: r(0), dreg: r(0) }),
      metaSet('priority', r(0)),
      verdict({ goto: 'dispatch' }),
    ];
    const local: Expr[] = [
      fib({ result: 'type', flags: ['daddr'], dreg: r(0) }),
      cmp('eq', r(0), u32ne(values.RTN.local)),
    ];
    const loopback: Prefix =
      this.#config.family === 4
        ? { ip: { family: 4, bytes: Uint8Array.of(127, 0, 0, 0) }, length: 8 }
        : { ip: { family: 6, bytes: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) }, length: 128 };
    const rules: Expr[][] = [
      [...frontend, vmap('firewall', r(0))],
      [
        ...frontend,
        lookup({ set: 'frontends', sreg: r(0), dreg: r(0) }),
        metaSet('priority', r(0)),
        verdict({ goto: 'dispatch' }),
      ],
    ];
    if (nodePorts.all) rules.push([...local, ...this.#within(this.#destination, loopback, 'neq'), ...nodePort]);
    if (nodePorts.cidrs.length > 0) {
      const inBlocks = [payload(this.#destination, r(0)), lookup({ set: 'nodeport-blocks', sreg: r(0) })];
      rules.push([...local, ...inBlocks, ...nodePort]);
    }
    if (nodePorts.primary) {
      rules.push([payload(this.#destination, r(0)), lookup({ set: 'nodeport-ips', sreg: r(0) }), ...nodePort]);
    }
    return rules;
  }

  /** Loads the masked scratch value. */
  #scratch(mask: number): Expr[] {
    return [meta('priority', r(0)), expr.bitwise({ sreg: r(0), dreg: r(0), mask: u32ne(mask) })];
  }

  /** One rule per protocol: nft 1.0.6 refuses to load back a `dnat … map` that is not bound to a transport protocol. */
  #perProtocol(rest: readonly Expr[]): Expr[][] {
    return (['tcp', 'udp', 'sctp'] as const).map((name) => [
      meta('l4proto', r(0)),
      cmp('eq', r(0), values.proto(name)),
      ...rest,
    ]);
  }

  #dnat(): Expr {
    const family = this.#config.family === 4 ? 'ip' : 'ip6';
    return nat({ kind: 'dnat', family, addrReg: r(0), portReg: r(this.#words) });
  }

  #balance(endpoints: number): Expr[][] {
    const through = (modulus: number): Expr[][] =>
      this.#perProtocol([
        ...this.#scratch(ID_MASK),
        numgen({ mode: 'random', modulus, dreg: r(1) }),
        lookup({ set: 'endpoints', sreg: r(0), dreg: r(0) }),
        this.#dnat(),
      ]);
    return [
      ...through(endpoints),
      // The lookups of one packet can see different generations: a class of 5 and, a moment later, only 4 endpoints.
      // Index 0 is there as long as there is any.
      ...through(1),
      [verdict({ goto: 'reject-it' })],
    ];
  }

  #stickyBalance(endpoints: number, affinity: number): Expr[][] {
    const timeout = affinity * 1000;
    const dataReg = r(this.#config.family === 4 ? 4 : 6);
    const key = [...this.#scratch(ID_MASK), payload(this.#source, r(1))];
    const remember = (op: 'update' | 'delete'): Expr[] => [
      ...key,
      meta('priority', dataReg),
      expr.dynset({ set: 'affinity', op, key: r(0), data: dataReg, ...(op === 'update' ? { timeout } : {}) }),
    ];
    const draw = (modulus: number): Expr[] => [
      ...this.#scratch(ID_MASK),
      numgen({ mode: 'random', modulus, dreg: r(1) }),
      lookup({ set: 'slots', sreg: r(0), dreg: r(0) }),
      metaSet('priority', r(0)),
    ];
    const toSlot = this.#perProtocol([
      meta('priority', r(0)),
      lookup({ set: 'slot-endpoints', sreg: r(0), dreg: r(0) }),
      this.#dnat(),
    ]);
    // A client without an entry, or with one for an endpoint that is gone. The second draw of each pair overrides the
    // first, which stands when the index of the larger range was just removed.
    const newClient = [remember('delete'), draw(1), draw(endpoints), remember('update'), ...toSlot];
    return [
      [...key, lookup({ set: 'affinity', sreg: r(0) }), ...remember('update')],
      [...key, lookup({ set: 'affinity', sreg: r(0), dreg: r(0) }), metaSet('priority', r(0))],
      ...toSlot,
      ...newClient,
      // Again: the slot that was drawn may have been removed before it was looked up.
      ...newClient,
      [verdict({ goto: 'reject-it' })],
    ];
  }

  /** Matches packets whose field is inside (`neq`: outside) a block. */
  #within(field: expr.HeaderField, block: Prefix, op: 'eq' | 'neq' = 'eq'): Expr[] {
    const mask = lastAddress({
      ip: { family: block.ip.family, bytes: new Uint8Array(field.len) },
      length: block.length,
    }).bytes.map((byte) => ~byte);
    const whole = block.length === field.len * 8;
    return [
      payload(field, r(0)),
      ...(whole ? [] : [expr.bitwise({ sreg: r(0), dreg: r(0), mask })]),
      cmp(op, r(0), block.ip.bytes),
    ];
  }

  /** Undefined when nothing tells pods from others. */
  #notFromPods(): Expr[] | undefined {
    const { detector } = this.#config;
    switch (detector.by) {
      case 'none':
        return undefined;
      case 'bridge':
        return [meta('iifname', r(0)), cmp('neq', r(0), values.ifname(detector.name))];
      case 'interfacePrefix':
        return [meta('iifname', r(0)), cmp('neq', r(0), values.ifnamePrefix(detector.prefix))];
      case 'cidr': {
        const [only] = detector.cidrs;
        if (only === undefined) return undefined;
        if (detector.cidrs.length === 1) return this.#within(this.#source, only, 'neq');
        return [payload(this.#source, r(0)), lookup({ set: 'pod-blocks', sreg: r(0), invert: true })];
      }
    }
  }

  /** Matches that each hold for packets from pods; none when nothing tells pods from others. */
  #fromPods(): Expr[][] {
    const { detector } = this.#config;
    switch (detector.by) {
      case 'none':
        return [];
      case 'bridge':
        return [[meta('iifname', r(0)), cmp('eq', r(0), values.ifname(detector.name))]];
      case 'interfacePrefix':
        return [[meta('iifname', r(0)), cmp('eq', r(0), values.ifnamePrefix(detector.prefix))]];
      case 'cidr':
        return detector.cidrs.map((block) => this.#within(this.#source, block));
    }
  }
}

/** The verdict that an element of `classes` or `local-classes` holds for a chain. */
export function gotoChain(name: string): Verdict {
  return { goto: name };
}
