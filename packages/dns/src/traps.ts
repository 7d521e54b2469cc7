import { targetOf } from './client/targets.ts';
import { type Directive, directivesOf } from './corefile/directive.ts';
import type { Position } from './corefile/error.ts';
import type { ServerBlock } from './corefile/parser.ts';
import { addressesFromKey } from './corefile/zones.ts';

type Warn = (position: Position, message: string) => void;

const LOOPBACK = /^(127\.|::1$)/;

/** Says what CoreDNS accepts without a word and nobody means. */
export function warnOfTraps(blocks: readonly ServerBlock[], warn: Warn): void {
  const ports = new Set(
    blocks.flatMap((block) => block.keys.flatMap((key) => addressesFromKey(key)).map(({ port }) => port)),
  );
  for (const block of blocks) {
    for (const key of block.keys) {
      if (key.text === '}' || key.text === '{')
        warn(key, `'${key.text}' is read as the name of a zone: a brace too many`);
    }
    if (block.directives.size === 0 && block.keys[0] !== undefined) {
      warn(block.keys[0], 'a block without plugins refuses every query');
    }
    const uses = (name: string): Directive[] => directivesOf(block.directives.get(name) ?? []);
    const [kubernetes] = uses('kubernetes');
    if (kubernetes !== undefined) ofCluster(kubernetes, uses('cache')[0], block, warn);
    for (const forward of uses('forward')) ofLoops(forward, ports, warn);
  }
}

function ofCluster(kubernetes: Directive, cache: Directive | undefined, block: ServerBlock, warn: Warn): void {
  const pods = kubernetes.block?.filter((line) => line.name.text === 'pods').at(-1)?.args[0];
  // Who asks for search paths of pods has asked for the pods.
  if (pods?.text === 'verified' && !block.directives.has('autopath'))
    warn(pods, 'plugin/kubernetes: pods verified keeps every pod of the cluster in memory');
  if (cache === undefined) return;
  const zone = kubernetes.args.find((token) => !token.text.endsWith('.arpa'))?.text.replace(/\.$/, '');
  const off = (kind: string): boolean =>
    (cache.block ?? []).some(
      ({ name, args: [what, ...zones] }) =>
        name.text === 'disable' &&
        what?.text === kind &&
        (zones.length === 0 || zones.some((token) => token.text.replace(/\.$/, '') === zone)),
    );
  if (zone !== undefined && !(off('success') && off('denial')))
    warn(
      cache.name,
      `plugin/cache: CoreDNS would answer names of ${zone} from memory after they have changed; here they are never remembered`,
    );
}

function ofLoops(forward: Directive, ports: ReadonlySet<number>, warn: Warn): void {
  for (const to of forward.args.slice(1)) {
    const target = targetOf(to.text.replace(/^dns:\/\//, ''));
    if (target === undefined || !LOOPBACK.test(target.host) || !ports.has(target.port)) continue;
    warn(to, `plugin/forward: ${to.text} is this server itself: queries go round`);
  }
}
