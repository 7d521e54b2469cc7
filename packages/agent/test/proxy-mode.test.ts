import type { Node } from '@weft/kube';
import { silentLogger } from '@weft/plan';
import { beforeEach, describe, expect, it } from 'vitest';
import { ACTIVE_PROXY_MODE, PROXY_MODE, ProxyModeFollower } from '../src/proxy-mode.ts';

describe('the data plane that a Node asks for', () => {
  const done: string[] = [];
  let mode: string;
  let failing: boolean;
  let follower: ProxyModeFollower;

  const node = (annotations: Record<string, string> = {}, name = 'n1'): Node =>
    ({ metadata: { name, annotations } }) as Node;

  beforeEach(() => {
    done.length = 0;
    mode = 'nftables';
    failing = false;
    follower = new ProxyModeFollower({
      nodeName: 'n1',
      fallback: 'nftables',
      log: silentLogger,
      client: {
        patch: (_type: unknown, _namespace: unknown, name: string, body: unknown) => {
          done.push(
            `tell ${name} ${(body as { metadata: Node['metadata'] }).metadata.annotations?.[ACTIVE_PROXY_MODE]}`,
          );
          return Promise.resolve({} as never);
        },
      },
      events: { event: (_about, type, reason, message) => void done.push(`${type} ${reason}: ${message}`) },
      proxy: {
        get dataPlane() {
          return { name: mode } as never;
        },
        switchTo: (to) => {
          if (failing) return Promise.reject(new Error('no iptables here'));
          mode = to as string;
          return Promise.resolve();
        },
        removeTraces: (old) => {
          done.push(`remove ${old}`);
          return Promise.resolve();
        },
      },
    });
  });

  const see = async (n: Node): Promise<string[]> => {
    done.length = 0;
    follower.node(n);
    await follower.idle();
    return [...done];
  };

  it('is told on the Node once, and other Nodes are nobody here', async () => {
    expect(await see(node({}, 'n2'))).toEqual([]);
    expect(await see(node())).toEqual(['tell n1 nftables']);
    expect(await see(node({ [ACTIVE_PROXY_MODE]: 'nftables' }))).toEqual([]);
  });

  it('is changed to and back, with an event each', async () => {
    await see(node());
    const told = { [ACTIVE_PROXY_MODE]: 'nftables' };
    expect(await see(node({ ...told, [PROXY_MODE]: 'iptables' }))).toEqual([
      'Normal ProxyModeChanged: Services: nftables → iptables',
      'tell n1 iptables',
    ]);
    expect(await see(node({ [ACTIVE_PROXY_MODE]: 'iptables', [PROXY_MODE]: 'iptables' }))).toEqual([]);
    // Without the annotation the agent's own choice holds again.
    expect(await see(node({ [ACTIVE_PROXY_MODE]: 'iptables' }))).toEqual([
      'Normal ProxyModeChanged: Services: iptables → nftables',
      'tell n1 nftables',
    ]);
  });

  it('stays when it does not exist or does not work, and an event says why', async () => {
    await see(node());
    const told = { [ACTIVE_PROXY_MODE]: 'nftables' };
    expect(await see(node({ ...told, [PROXY_MODE]: 'magic' }))).toEqual([
      `Warning ProxyModeNotChanged: annotation ${PROXY_MODE}: there is no data plane "magic"; there are nftables, iptables, ipvs, userspace and ebpf; nftables stays in effect`,
      'tell n1 nftables',
    ]);
    failing = true;
    expect((await see(node({ ...told, [PROXY_MODE]: 'iptables' })))[0]).toContain(
      'no iptables here; nftables stays in effect',
    );
  });

  it('removes what an earlier agent had in effect', async () => {
    expect(await see(node({ [ACTIVE_PROXY_MODE]: 'iptables' }))).toEqual(['remove iptables', 'tell n1 nftables']);
  });
});
