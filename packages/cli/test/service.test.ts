import type { EndpointSlice, Node, Service } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { overlay } from '../src/commands/proxy-diff.ts';
import { parseName, podBlocks } from '../src/commands/service.ts';

describe('names of Services', () => {
  it('are with a namespace, or in the one that is asked for', () => {
    expect(parseName('a/b', 'c')).toEqual({ namespace: 'a', name: 'b' });
    expect(parseName('b', 'c')).toEqual({ namespace: 'c', name: 'b' });
    expect(parseName('b', undefined)).toEqual({ namespace: 'default', name: 'b' });
  });
});

describe('the block of pods', () => {
  const node = (...podCIDRs: string[]): Node => ({ metadata: { name: 'n' }, spec: { podCIDRs } }) as Node;

  it('is the smallest that holds those of all nodes, by family', () => {
    expect(podBlocks([node('10.244.0.0/24'), node('10.244.1.0/24')])).toEqual(['10.244.0.0/23']);
    expect(podBlocks([node('10.244.0.0/24', 'fd00::/64'), node('10.244.5.0/24', 'fd00:0:0:1::/64')])).toEqual([
      '10.244.0.0/21',
      'fd00::/63',
    ]);
    expect(podBlocks([node('10.0.0.0/24'), node('192.168.0.0/24')])).toEqual(['0.0.0.0/0']);
    expect(podBlocks([node()])).toEqual([]);
  });
});

describe('a manifest over the world', () => {
  const old = {
    metadata: { name: 'web', namespace: 'default' },
    spec: { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }] },
    status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
  } as Service;
  const world = { services: new Map([['default/web', old]]), slices: new Map<string, EndpointSlice>() };

  it('keeps what the API server sets, and names what changes no rule', () => {
    const { world: next, ignored } = overlay(world, [
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec: { ports: [{ port: 81 }] } } as never,
      { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'x' } } as never,
    ]);
    expect(next.services.get('default/web')).toMatchObject({
      spec: { clusterIP: '10.96.0.1', ports: [{ port: 81 }] },
      status: old.status,
    });
    expect(ignored).toEqual(['Pod x/p']);
    expect(world.services.get('default/web')).toBe(old);
  });

  it('keeps ports of the node that the API server has chosen', () => {
    const chosen = {
      ...old,
      spec: { ...old.spec, type: 'NodePort', ports: [{ name: 'a', port: 80, nodePort: 30080 }] },
    } as Service;
    const { world: next } = overlay({ ...world, services: new Map([['default/web', chosen]]) }, [
      {
        kind: 'Service',
        metadata: { name: 'web' },
        spec: {
          type: 'NodePort',
          ports: [
            { name: 'a', port: 81 },
            { name: 'b', port: 82 },
          ],
        },
      } as never,
    ]);
    expect(next.services.get('default/web')?.spec.ports).toEqual([
      { name: 'a', port: 81, nodePort: 30080 },
      { name: 'b', port: 82 },
    ]);
  });
});
