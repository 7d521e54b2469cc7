/** CNI specification versions this package speaks, oldest first. Membership is by exact text: `1.1` is none of them. */
export const SUPPORTED_VERSIONS: readonly string[] = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

/** The newest version, and the shape results have inside this package. */
export const CURRENT_VERSION = '1.1.0';

/** What a configuration without `cniVersion` means. The reference plugins answer such a call in 0.1.0. */
export const IMPLICIT_VERSION = '0.1.0';

export function isSupportedVersion(version: string): boolean {
  return SUPPORTED_VERSIONS.includes(version);
}

/** True for the text of some version, known or not: up to three numbers, as libcni's ParseVersion takes them. */
export function isVersion(text: string): boolean {
  return /^\d+(\.\d+){0,2}$/.test(text);
}

/** Negative when `a` is older than `b`. Parts that are not numbers count as 0; callers check membership first. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const d = (left[i] || 0) - (right[i] || 0);
    if (d !== 0) return d;
  }
  return 0;
}

export function versionAtLeast(version: string, floor: string): boolean {
  return compareVersions(version, floor) >= 0;
}

/**
 * The version a network list runs with: the highest of `cniVersions` and `cniVersion` that is supported (CNI 1.1,
 * "Version considerations"). When none is supported the list's own `cniVersion` comes back for the error message.
 */
export function negotiateVersion(cniVersion: string | undefined, cniVersions: readonly string[]): string {
  const usable = [...cniVersions, ...(cniVersion === undefined ? [] : [cniVersion])].filter(isSupportedVersion);
  if (usable.length === 0)
    return cniVersion ?? (cniVersions.length > 0 ? (cniVersions[0] as string) : IMPLICIT_VERSION);
  return usable.reduce((best, version) => (compareVersions(version, best) > 0 ? version : best));
}
