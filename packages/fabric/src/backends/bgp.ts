import type { Backend } from '../backend.ts';

/**
 * Plain routes that nodes learn from each other, and from routers, by BGP. What leads to peers is not compiled from their
 * Node objects but comes from the speaker (src/bgp), as plans of its own.
 */
export const bgp: Backend = {
  name: 'bgp',
  capabilities: { acrossRouters: true, mixedFamilies: false, links: [] },
  overhead: () => 0,
  compileSelf: () => {},
  compilePeer: () => undefined,
};
