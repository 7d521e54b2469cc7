import { queryEnvironment } from '../../expression/query.ts';
import { authoritative, failure, type Handler, type Outcome } from '../../server/handler.ts';
import type { DnsMetrics } from '../../server/metrics.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { CLASS, className, nameToText, RCODE, recordFromText, type Rr, typeName, TYPE } from '../../wire/index.ts';
import { environmentOf, readRule, type Rule, schema, type Section } from './rule.ts';

/** A query that a rule is for. */
interface Match {
  /** What templates see as `.`. */
  readonly data: object;
  readonly zone: string;
  readonly class: string;
  readonly type: string;
}

/** `next`: the rule is not for this query. `nothing`: it is, and refuses it. */
function matchOf(rule: Rule, request: Request): Match | 'next' | 'nothing' {
  const { query } = request;
  if (rule.class !== CLASS.ANY && query.class !== CLASS.ANY && rule.class !== query.class) return 'next';
  if (rule.type !== TYPE.ANY && query.type !== TYPE.ANY && rule.type !== query.type) return 'next';
  const zone = rule.zones.match(query.key, query.labels);
  if (zone === undefined) return 'next';
  const missed = rule.through?.has(query.key, query.labels) === true ? 'next' : 'nothing';
  const match = rule.patterns.map((pattern) => pattern.exec(request.name)).find((found) => found !== null);
  if (match === undefined || match === null) return missed;
  const groups = groupsOf(match);
  const variables = new Map<string, unknown>();
  if (rule.variables.length + rule.conditions.length > 0) {
    const environment = environmentOf(queryEnvironment(request), groups);
    try {
      for (const { name, value } of rule.variables) {
        const result = value(environment);
        environment.set(name, { value: result });
        variables.set(name, result);
      }
      if (!rule.conditions.every((condition) => condition(environment) === true)) return missed;
    } catch {
      return 'nothing';
    }
  }
  const cls = className(query.class === CLASS.ANY ? rule.class : query.class);
  const type = typeName(query.type === TYPE.ANY ? rule.type : query.type);
  const question = { Name: nameToText(query.qname), Qtype: query.type, Qclass: query.class };
  const data = {
    Zone: zone,
    Name: request.name,
    Class: cls,
    Type: type,
    Match: [...match].map((text) => text ?? ''),
    Group: groups,
    Question: question,
    Message: { Id: query.id, Question: [question] },
    Remote: request.context.remoteAddress,
    Var: variables,
    Meta: (label: unknown) => request.label(String(label)),
  };
  return { data, zone, class: cls, type };
}

function groupsOf(match: RegExpExecArray): Map<string, string> {
  const groups = new Map<string, string>();
  match.forEach((text, i) => groups.set(String(i), text ?? ''));
  for (const [key, text] of Object.entries(match.groups ?? {})) groups.set(key, text ?? '');
  return groups;
}

const LABELS = ['server', 'zone', 'view', 'class', 'type'];

/** Counts what rules do, with CoreDNS's names. */
class Counters {
  readonly #metrics: DnsMetrics;

  constructor(metrics: DnsMetrics) {
    this.#metrics = metrics;
  }

  matched(request: Request, { zone, class: cls, type }: Match): void {
    this.#metrics
      .counter('coredns_template_matches_total', 'Counter of template regex matches.', LABELS)
      .cell(request.served.server, zone, request.served.view, cls, type).value += 1;
  }

  failed(kind: 'template' | 'rr', request: Request, match: Match, section: Section, text: string): void {
    const help = kind === 'rr' ? 'Counter of mis-templated RRs.' : 'Counter of go template failures.';
    const { served } = request;
    this.#metrics
      .counter(`coredns_template_${kind}_failures_total`, help, [...LABELS, 'section', 'template'])
      .cell(served.server, match.zone, served.view, match.class, match.type, section, text).value += 1;
  }
}

/** Answers by templates: records made from the question. */
export const template: Plugin = {
  name: 'template',
  once: false,
  options: schema,
  setup(directives, context) {
    const rules = directives.map((directive) => readRule(directive, context.block.zones));
    const answer = answerer(context);
    const handler: Handler = {
      name: 'template',
      serve(request, next) {
        for (const rule of rules) {
          const match = matchOf(rule, request);
          if (match === 'next') continue;
          return match === 'nothing' ? failure('template', RCODE.SERVFAIL) : answer(rule, request, match);
        }
        return next(request);
      },
    };
    return handler;
  },
};

/** Makes the function that fills in the templates of a rule. */
function answerer(context: SetupContext): (rule: Rule, request: Request, match: Match) => Outcome | Promise<Outcome> {
  const counters = new Counters(context.runtime.metrics);
  const fill = (rule: Rule, section: Section, request: Request, match: Match): Rr[] =>
    rule.records[section].map(({ make, text: source }) => {
      let text: string;
      try {
        text = make(match.data);
      } catch (error) {
        counters.failed('template', request, match, section, source);
        throw error;
      }
      try {
        return recordFromText(text);
      } catch (error) {
        counters.failed('rr', request, match, section, source);
        throw error;
      }
    });
  return (rule, request, match) => {
    counters.matched(request, match);
    if (rule.rcode === RCODE.SERVFAIL) return failure('template', RCODE.SERVFAIL);
    try {
      const records = {
        answer: fill(rule, 'answer', request, match),
        additional: fill(rule, 'additional', request, match),
        authority: fill(rule, 'authority', request, match),
      };
      const reply = (answers: readonly Rr[]): Outcome => {
        const made = authoritative('template', {
          rcode: rule.rcode,
          answers,
          authority: records.authority,
          additional: records.additional,
        });
        return rule.options === undefined ? made : { ...made, options: rule.options };
      };
      const { type } = request.query;
      const aliased = records.answer.some((rr) => rr.type === TYPE.CNAME);
      if (!aliased || (type !== TYPE.A && type !== TYPE.AAAA)) return reply(records.answer);
      return followed(context, request, records.answer).then(reply);
    } catch (error) {
      return failure('template', RCODE.SERVFAIL, error as Error);
    }
  };
}

/** Records with what the server itself says about the targets of aliases, after each of them. */
async function followed(context: SetupContext, request: Request, answers: readonly Rr[]): Promise<Rr[]> {
  const out: Rr[] = [];
  for (const rr of answers) {
    out.push(rr);
    if (rr.type !== TYPE.CNAME) continue;
    const outcome = await context.lookup(rr.rdata, request.query.type, request);
    if (outcome.kind === 'reply')
      out.push(...outcome.answers.map((more) => ({ ...more, name: more.name ?? rr.rdata })));
  }
  return out;
}
