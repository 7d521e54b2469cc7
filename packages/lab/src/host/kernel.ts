import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { features, type KernelFeatures } from '@weft/kernel';
import { WeftError } from '@weft/plan';

/** What a lab cannot do without, and the kernel option that brings it. */
const NEEDED: readonly {
  readonly what: string;
  readonly option: string;
  readonly has: (f: KernelFeatures) => boolean;
}[] = [
  { what: 'network namespaces', option: 'CONFIG_NET_NS', has: (f) => f.netns },
  { what: 'veth links', option: 'CONFIG_VETH', has: (f) => f.links.veth },
  { what: 'bridges', option: 'CONFIG_BRIDGE', has: (f) => f.links.bridge },
  { what: 'vxlan links', option: 'CONFIG_VXLAN', has: (f) => f.links.vxlan },
  { what: 'nftables', option: 'CONFIG_NF_TABLES', has: (f) => f.nftables },
  { what: 'connection tracking', option: 'CONFIG_NF_CONNTRACK', has: (f) => f.conntrack },
  { what: 'overlayfs', option: 'CONFIG_OVERLAY_FS', has: (f) => f.overlayfs },
];

/**
 * Refuses a kernel that lacks something, by name. Probing makes and deletes links, which is slow: a kernel that passed
 * is remembered by its release.
 *
 * @throws WeftError KERNEL_FEATURE
 */
export async function checkKernel(stateDir: string): Promise<void> {
  const memo = path.join(stateDir, 'kernel-checked');
  try {
    if (readFileSync(memo, 'utf8').trim() === release()) return;
  } catch {
    // First start on this machine.
  }
  const found = await features();
  for (const { what, option, has } of NEEDED) {
    if (has(found)) continue;
    throw new WeftError({
      code: 'KERNEL_FEATURE',
      message: `kernel ${release()} has no ${what} here`,
      hint: `use a kernel with ${option}, or load its module as root`,
    });
  }
  writeFileSync(`${memo}.new`, `${release()}\n`);
  renameSync(`${memo}.new`, memo);
}
