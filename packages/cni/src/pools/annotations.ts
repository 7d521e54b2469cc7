import { type Ip, parseIp } from '@weft/net';
import { errorMessage } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';

const PREFIX = 'cni.projectcalico.org/';
/** Opts a pod in to keeping its addresses when it is made anew under its name. */
export const STICKY_ANNOTATION = 'weft.dev/sticky-ip';

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

type Annotations = Readonly<Record<string, string>>;

/** What a pod's own annotations ask for. */
export interface PodWish {
  /** Exactly these addresses, of a pool. */
  readonly ipAddrs: readonly Ip[];
  /** Exactly these addresses, which nobody keeps account of. */
  readonly ipAddrsNoIpam: readonly Ip[];
  readonly mac: string | undefined;
  /** The addresses it had before. */
  readonly sticky: boolean;
}

function wrong(name: string, what: string): CniError {
  return new CniError(CniCode.invalidConfig, `annotation ${name}: ${what}`);
}

/** A JSON list of texts, or undefined when the annotation is absent or empty. */
function listOf(annotations: Annotations, key: string): readonly string[] | undefined {
  const name = `${PREFIX}${key}`;
  const text = annotations[name];
  if (text === undefined || text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(name, `not a JSON list of texts, for example ["…"]: ${errorMessage(error)}`);
  }
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw wrong(name, `not a JSON list of texts, for example ["…"]: ${text}`);
  }
  return value;
}

function addressesOf(annotations: Annotations, key: string): readonly Ip[] {
  const ips = (listOf(annotations, key) ?? []).map((text) => {
    const ip = parseIp(text);
    if (ip === undefined) throw wrong(`${PREFIX}${key}`, `"${text}" is not an IP address`);
    return ip;
  });
  for (const family of [4, 6] as const) {
    if (ips.filter((ip) => ip.family === family).length > 1) {
      throw wrong(`${PREFIX}${key}`, `names more than one IPv${family} address; a pod has at most one of each family`);
    }
  }
  return ips;
}

/** Reads what a pod asks for. Throws CniError code 7 that names the annotation. */
export function readPodWish(annotations: Annotations): PodWish {
  const ipAddrs = addressesOf(annotations, 'ipAddrs');
  const ipAddrsNoIpam = addressesOf(annotations, 'ipAddrsNoIpam');
  if (ipAddrs.length > 0 && ipAddrsNoIpam.length > 0) {
    throw wrong(`${PREFIX}ipAddrs`, `cannot be used together with ${PREFIX}ipAddrsNoIpam`);
  }
  const mac = annotations[`${PREFIX}hwAddr`]?.trim().toLowerCase();
  if (mac !== undefined && mac !== '' && (!MAC.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1)) {
    throw wrong(`${PREFIX}hwAddr`, `"${mac}" is not a MAC address of one interface, for example 1c:0c:0a:c0:ff:ee`);
  }
  return {
    ipAddrs,
    ipAddrsNoIpam,
    mac: mac === '' ? undefined : mac,
    sticky: annotations[STICKY_ANNOTATION] === 'true',
  };
}

/**
 * Names or CIDRs of the pools a pod's addresses of a family come from; undefined when nobody says. The pod's own
 * annotation goes before that of its namespace, and that before the network's configuration, as in Calico.
 */
export function poolsAsked(
  family: 4 | 6,
  pod: Annotations,
  namespace: Annotations,
  configured: readonly string[] | undefined,
): { readonly names: readonly string[]; readonly by: string } | undefined {
  const key = `ipv${family}pools`;
  for (const [annotations, by] of [
    [pod, `annotation ${PREFIX}${key} of the pod`],
    [namespace, `annotation ${PREFIX}${key} of the namespace`],
  ] as const) {
    const names = listOf(annotations, key);
    if (names !== undefined && names.length > 0) return { names, by };
  }
  return configured === undefined || configured.length === 0
    ? undefined
    : { names: configured, by: `ipam.ipv${family}_pools of the network` };
}
