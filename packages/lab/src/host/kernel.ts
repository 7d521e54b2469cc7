import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { features, type KernelFeatures } from '@weft/kernel';
import { backendCapabilities } from '@weft/fabric';
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
 * is remembered by its release and the backend.
 *
 * @throws WeftError KERNEL_FEATURE
 */
export async function checkKernel(stateDir: string, backend: string): Promise<void> {
  const passed = `${release()} ${backend}`;
  const memo = path.join(stateDir, 'kernel-checked');
  try {
    if (readFileSync(memo, 'utf8').trim() === passed) return;
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
  const drivers: Readonly<Record<string, boolean>> = found.links;
  const missing = backendCapabilities(backend).links.filter((kind) => drivers[kind] !== true);
  if (missing.length > 0)
    throw new WeftError({
      code: 'KERNEL_FEATURE',
      message: `--backend ${backend}: kernel ${release()} has no driver ${missing.join(', ')} here`,
      hint: 'load the module as root, or choose another backend: vxlan and host-gw work with what a lab needs anyway',
    });
  writeFileSync(`${memo}.new`, `${passed}\n`);
  renameSync(`${memo}.new`, memo);
}
