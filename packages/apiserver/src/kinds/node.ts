import type { Node } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, rules } from './strategy.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './validate/errors.ts';
import { labelValue, qualifiedName } from './validate/names.ts';
import { checkCidr, checkRule, same } from './validate/values.ts';

const EFFECTS = ['NoExecute', 'NoSchedule', 'PreferNoSchedule'];

function defaults(node: Node): void {
  const spec = (node.spec ??= {});
  // podCIDR is the first of podCIDRs; writers of either form are served.
  if (spec.podCIDR && spec.podCIDRs?.[0] !== spec.podCIDR) spec.podCIDRs = [spec.podCIDR];
  else if (!spec.podCIDR && spec.podCIDRs?.[0]) spec.podCIDR = spec.podCIDRs[0];
  if (node.status?.capacity && !node.status.allocatable) node.status.allocatable = { ...node.status.capacity };
}

function validateTaints({ spec }: Node): FieldError[] {
  const seen = new Set<string>();
  return (spec?.taints ?? []).flatMap((taint, i) => {
    const at = `spec.taints[${i}]`;
    const errors = checkRule(`${at}.key`, taint.key ?? '', qualifiedName);
    errors.push(...checkRule(`${at}.value`, taint.value ?? '', labelValue));
    if (!taint.effect) errors.push(required(`${at}.effect`));
    else if (!EFFECTS.includes(taint.effect)) errors.push(notSupported(`${at}.effect`, taint.effect, EFFECTS));
    const key = `${taint.key}:${taint.effect}`;
    if (seen.has(key)) errors.push(duplicate(at, { key: taint.key, effect: taint.effect }));
    seen.add(key);
    return errors;
  });
}

function validate(node: Node): FieldError[] {
  const { podCIDRs = [] } = node.spec ?? {};
  const errors = [...validateTaints(node), ...podCIDRs.flatMap((cidr, i) => checkCidr(`spec.podCIDRs[${i}]`, cidr))];
  const families = podCIDRs.map((cidr) => cidr.includes(':'));
  if (podCIDRs.length > 2 || (podCIDRs.length === 2 && families[0] === families[1])) {
    errors.push(invalid('spec.podCIDRs', podCIDRs, 'may specify no more than one CIDR for each IP family'));
  }
  return errors;
}

function validateUpdate(next: Node, old: Node): FieldError[] {
  const errors: FieldError[] = [];
  if (old.spec?.podCIDRs?.length && !same(next.spec?.podCIDRs, old.spec.podCIDRs)) {
    errors.push(forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
  }
  if (old.spec?.providerID && next.spec?.providerID !== old.spec.providerID) {
    errors.push(forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid'));
  }
  return errors;
}

/** core/v1 Node. A node registers itself with its status, so a create keeps it. */
export const nodeRules: KindRules = rules<Node>({
  statusSubresource: true,
  defaults,
  prepareUpdate: (next, old) => {
    if (old.status === undefined) delete next.status;
    else next.status = old.status;
  },
  validate,
  validateUpdate,
  selectableFields: { 'spec.unschedulable': (n) => String(n.spec?.unschedulable ?? false) },
});
