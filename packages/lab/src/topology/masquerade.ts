/** Placeholder until nftables lands. */
export async function masqueradeWayOut(_routerPath: string): Promise<void> {}
