import type { Service } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Body, type Outcome, resourceOf, Steps } from './helpers.ts';

const SERVICES = '/services';

function service(name: string, spec: Record<string, unknown> = {}): Body {
  return {
    metadata: { name, namespace: 'default' },
    spec: { ports: [{ port: 80 }], selector: { app: name }, ...spec },
  };
}

const dual = { serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'] };

/** Creates a Service that must be accepted. */
function accepted(steps: Steps, body: Body): Service {
  const { obj, errors } = steps.create<Service>(SERVICES, body);
  expect(errors).toEqual([]);
  return obj;
}

describe('defaults', () => {
  it('fills what a client leaves out', () => {
    const { spec, status } = accepted(
      new Steps(),
      service('web', {
        ports: [{ port: 80 }, { name: 'b', port: 53, protocol: 'UDP', targetPort: 'dns' }].map((p, i) => ({
          name: `p${i}`,
          ...p,
        })),
      }),
    );
    expect(spec).toEqual({
      clusterIP: '10.96.1.1',
      clusterIPs: ['10.96.1.1'],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [
        { name: 'p0', port: 80, protocol: 'TCP', targetPort: 80 },
        { name: 'b', port: 53, protocol: 'UDP', targetPort: 'dns' },
      ],
      selector: { app: 'web' },
      sessionAffinity: 'None',
      type: 'ClusterIP',
    });
    expect(status).toEqual({ loadBalancer: {} });
  });

  it('fills what depends on the type', () => {
    const steps = new Steps();
    expect(accepted(steps, service('np', { type: 'NodePort' })).spec).toMatchObject({
      externalTrafficPolicy: 'Cluster',
      ports: [{ nodePort: 30086 }],
    });
    const lb = accepted(steps, service('lb', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }));
    expect(lb.spec).toMatchObject({
      allocateLoadBalancerNodePorts: true,
      ports: [{ nodePort: 30087 }],
      healthCheckNodePort: 30088,
    });
    const external = accepted(steps, {
      metadata: { name: 'ext' },
      spec: { type: 'ExternalName', externalName: 'db.example.com.' },
    });
    expect(external.spec).toEqual({ type: 'ExternalName', externalName: 'db.example.com.', sessionAffinity: 'None' });
    expect(accepted(steps, service('eip', { externalIPs: ['192.0.2.1'] })).spec.externalTrafficPolicy).toBe('Cluster');
  });

  it('gives session affinity its three hours', () => {
    expect(accepted(new Steps(), service('a', { sessionAffinity: 'ClientIP' })).spec.sessionAffinityConfig).toEqual({
      clientIP: { timeoutSeconds: 10800 },
    });
  });

  it('lets the status only be written by the system', () => {
    const body = { ...service('x'), status: { loadBalancer: { ingress: [{ ip: '1.2.3.4' }] } } };
    expect(accepted(new Steps(), body).status).toEqual({ loadBalancer: {} });
  });
});

describe('validation', () => {
  const label =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
  it.each<[string, Record<string, unknown>, string[]]>([
    ['no ports', { ports: [] }, ['spec.ports: Required value']],
    [
      'port 0',
      { ports: [{ port: 0 }] },
      [
        'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
        'spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive',
      ],
    ],
    [
      'port too large',
      { ports: [{ port: 65536, targetPort: 80 }] },
      ['spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive'],
    ],
    [
      'protocol',
      { ports: [{ port: 80, protocol: 'ICMP' }] },
      ['spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ],
    [
      'two ports without names',
      { ports: [{ port: 80 }, { port: 81 }] },
      ['spec.ports[0].name: Required value', 'spec.ports[1].name: Required value'],
    ],
    [
      'two ports of one name',
      {
        ports: [
          { name: 'a', port: 80 },
          { name: 'a', port: 81 },
        ],
      },
      ['spec.ports[1].name: Duplicate value: "a"'],
    ],
    [
      'one port twice',
      {
        ports: [
          { name: 'a', port: 80 },
          { name: 'b', port: 80 },
        ],
      },
      ['spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'],
    ],
    ['port name', { ports: [{ name: 'A_b', port: 80 }] }, [`spec.ports[0].name: Invalid value: "A_b": ${label}`]],
    [
      'target port name',
      { ports: [{ port: 80, targetPort: 'a--b' }] },
      ['spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens'],
    ],
    [
      'nodePort on ClusterIP',
      { ports: [{ port: 80, nodePort: 30080 }] },
      ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ],
    [
      'type',
      { type: 'Magic' },
      [
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
      ],
    ],
    [
      'affinity',
      { sessionAffinity: 'Cookie' },
      ['spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"'],
    ],
    [
      'affinity time',
      { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86401 } } },
      [
        'spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400',
      ],
    ],
    [
      'externalTrafficPolicy inside',
      { externalTrafficPolicy: 'Local' },
      ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
    ],
    [
      'externalTrafficPolicy value',
      { type: 'NodePort', externalTrafficPolicy: 'Global' },
      ['spec.externalTrafficPolicy: Unsupported value: "Global": supported values: "Cluster", "Local"'],
    ],
    [
      'internalTrafficPolicy',
      { internalTrafficPolicy: 'x' },
      ['spec.internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local"'],
    ],
    [
      'headless NodePort',
      { type: 'NodePort', clusterIP: 'None' },
      ['spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for NodePort services'],
    ],
    [
      'clusterIP text',
      { clusterIP: '10.96.0' },
      ['spec.clusterIPs[0]: Invalid value: "10.96.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
    ],
    [
      'clusterIPs without clusterIP',
      { clusterIPs: ['10.96.0.9'] },
      ['spec.clusterIPs: Invalid value: []string{"10.96.0.9"}: must be empty when `clusterIP` is not specified'],
    ],
    [
      'None and more',
      { clusterIP: 'None', clusterIPs: ['None', '10.96.0.9'] },
      ['spec.clusterIPs: Invalid value: []string{"None", "10.96.0.9"}: \'None\' must be the first and only value'],
    ],
    ['ExternalName without name', { type: 'ExternalName' }, ['spec.externalName: Required value']],
    [
      'ExternalName with address',
      { type: 'ExternalName', externalName: 'a.b', clusterIP: '10.96.0.9' },
      ['spec.clusterIPs: Forbidden: may not be set for ExternalName services'],
    ],
    [
      'externalIPs',
      { externalIPs: ['127.0.0.1', 'x', '169.254.1.1'] },
      [
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        'spec.externalIPs[2]: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)',
      ],
    ],
    [
      'source ranges',
      { loadBalancerSourceRanges: ['10.0.0.0/8'] },
      ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
    ],
    [
      'health check port',
      { type: 'NodePort', healthCheckNodePort: 30100 },
      [
        "spec.healthCheckNodePort: Invalid value: 30100: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ],
    ],
    [
      'families',
      { ipFamilies: ['IPv5'] },
      ['spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"'],
    ],
    [
      'selector',
      { selector: { a: 'b c' } },
      [
        "spec.selector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
      ],
    ],
  ])('%s', (_what, spec, messages) => {
    expect(new Steps().create(SERVICES, service('x', spec)).errors).toEqual(messages);
  });

  it('lets a headless Service have no ports', () => {
    expect(accepted(new Steps(), service('h', { clusterIP: 'None', ports: [] })).spec.clusterIPs).toEqual(['None']);
  });
});

describe('cluster IPs', () => {
  it('gives the address that was asked for, once', () => {
    const steps = new Steps({ serviceCidrs: ['10.96.0.0/12'] });
    expect(accepted(steps, service('dns', { clusterIP: '10.96.0.10' })).spec.clusterIPs).toEqual(['10.96.0.10']);
    expect(steps.create(SERVICES, service('two', { clusterIP: '10.96.0.10' })).errors).toEqual([
      'spec.clusterIPs: Invalid value: []string{"10.96.0.10"}: failed to allocate IP 10.96.0.10: provided IP is already allocated',
    ]);
    expect(steps.create(SERVICES, service('out', { clusterIP: '10.200.0.1' })).errors).toEqual([
      'spec.clusterIPs: Invalid value: []string{"10.200.0.1"}: failed to allocate IP 10.200.0.1: the provided IP (10.200.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12',
    ]);
  });

  it('keeps nothing of a create that is refused', () => {
    const steps = new Steps();
    accepted(steps, service('np', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }));
    const refused = steps.create(
      SERVICES,
      service('two', { type: 'NodePort', clusterIP: '10.96.0.9', ports: [{ port: 80, nodePort: 30080 }] }),
    );
    expect(refused.errors).toEqual([
      'spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated',
    ]);
    accepted(steps, service('three', { clusterIP: '10.96.0.9' }));
  });

  it('reserves nothing on a dry run', () => {
    const steps = new Steps();
    const dry = steps.create<Service>(SERVICES, service('a', { type: 'NodePort' }), true);
    expect(dry.errors).toEqual([]);
    expect(dry.obj.spec.clusterIP).toMatch(/^10\.96\./);
    accepted(
      steps,
      service('b', {
        clusterIP: dry.obj.spec.clusterIP,
        type: 'NodePort',
        ports: [{ port: 1, nodePort: dry.obj.spec.ports?.[0]?.nodePort }],
      }),
    );
  });

  it('says when the range is full', () => {
    const steps = new Steps({ serviceCidrs: ['10.96.0.0/29'] });
    for (let i = 0; i < 6; i++) accepted(steps, service(`s${i}`));
    expect(steps.create(SERVICES, service('more')).errors).toEqual([
      'spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full',
    ]);
  });

  it('may not change, whatever the update', () => {
    const steps = new Steps();
    const old = accepted(steps, service('a'));
    const changed = steps.change<Service>(SERVICES, old, (s) => Object.assign(s.spec, { clusterIP: '10.96.0.77' }));
    expect(changed.errors).toEqual(['spec.clusterIPs[0]: Invalid value: "10.96.0.77": may not change once set']);
    const headless = steps.change<Service>(SERVICES, old, (s) => Object.assign(s.spec, { clusterIP: 'None' }));
    expect(headless.errors).toContain('spec.clusterIPs[0]: Invalid value: "None": may not change once set');
    // A client that leaves it out (kubectl replace) keeps it.
    const left = steps.update<Service>(SERVICES, old, service('a'));
    expect(left).toMatchObject({ errors: [], obj: { spec: { clusterIP: old.spec.clusterIP } } });
  });
});

describe('node ports', () => {
  it('are checked against the range and each other', () => {
    const steps = new Steps();
    const port = (nodePort: number): Outcome<Service> =>
      steps.create(SERVICES, service(`p${nodePort}`, { type: 'NodePort', ports: [{ port: 80, nodePort }] }));
    expect(port(80).errors).toEqual([
      'spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767',
    ]);
    expect(port(30080).errors).toEqual([]);
    expect(
      steps.create(
        SERVICES,
        service('udp', { type: 'NodePort', ports: [{ port: 80, protocol: 'UDP', nodePort: 30080 }] }),
      ).errors,
    ).toEqual(['spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated']);
    const twice = [
      { name: 'a', port: 80, nodePort: 30090 },
      { name: 'b', port: 81, nodePort: 30090 },
    ];
    expect(steps.create(SERVICES, service('twice', { type: 'NodePort', ports: twice })).errors).toEqual([
      'spec.ports[1].nodePort: Duplicate value: 30090',
    ]);
  });

  it('are shared by the protocols of one port', () => {
    const ports = [
      { name: 'udp', port: 53, protocol: 'UDP' },
      { name: 'tcp', port: 53, protocol: 'TCP' },
      { name: 'web', port: 80 },
    ];
    const { spec } = accepted(new Steps(), service('dns', { type: 'NodePort', ports }));
    expect(spec.ports?.map((p) => p.nodePort)).toEqual([30086, 30086, 30087]);
  });

  it('are not given to a load balancer that does not want them', () => {
    const { spec } = accepted(
      new Steps(),
      service('lb', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }),
    );
    expect(spec.ports?.[0]?.nodePort).toBeUndefined();
  });

  it('stay with the port of the same name', () => {
    const steps = new Steps();
    const old = accepted(steps, service('a', { type: 'NodePort', ports: [{ name: 'web', port: 80 }] }));
    const ports = [
      { name: 'new', port: 81 },
      { name: 'web', port: 8080 },
    ];
    const { obj, errors } = steps.update<Service>(SERVICES, old, service('a', { type: 'NodePort', ports }));
    expect(errors).toEqual([]);
    expect(obj.spec.ports?.map((p) => p.nodePort)).toEqual([30087, 30086]);
  });
});

describe('changes of type', () => {
  it('NodePort to ClusterIP gives the port back', () => {
    const steps = new Steps();
    const old = accepted(steps, service('a', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }));
    const { obj, errors } = steps.change<Service>(SERVICES, old, (s) => Object.assign(s.spec, { type: 'ClusterIP' }));
    expect(errors).toEqual([]);
    expect(obj.spec).toMatchObject({
      clusterIP: old.spec.clusterIP,
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
    });
    expect(obj.spec).not.toHaveProperty('externalTrafficPolicy');
    accepted(steps, service('b', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }));
  });

  it('ClusterIP to ExternalName and back releases and takes', () => {
    const steps = new Steps();
    const old = accepted(steps, service('a', { clusterIP: '10.96.0.20' }));
    const external = steps.change<Service>(SERVICES, old, (s) =>
      Object.assign(s.spec, { type: 'ExternalName', externalName: 'a.b' }),
    );
    expect(external.errors).toEqual([]);
    for (const key of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'])
      expect(external.obj.spec).not.toHaveProperty(key);
    accepted(steps, service('b', { clusterIP: '10.96.0.20' }));
    const back = steps.change<Service>(SERVICES, external.obj, (s) => {
      s.spec.type = 'ClusterIP';
      delete s.spec.externalName;
    });
    expect(back.errors).toEqual([]);
    expect(back.obj.spec).toMatchObject({ clusterIP: '10.96.1.1', ipFamilies: ['IPv4'] });
  });

  it('LoadBalancer to NodePort gives the health check port back', () => {
    const steps = new Steps();
    const old = accepted(
      steps,
      service('a', { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 30200 }),
    );
    const { obj, errors } = steps.change<Service>(SERVICES, old, (s) => Object.assign(s.spec, { type: 'NodePort' }));
    expect(errors).toEqual([]);
    expect(obj.spec).not.toHaveProperty('healthCheckNodePort');
    expect(obj.spec).not.toHaveProperty('allocateLoadBalancerNodePorts');
    accepted(steps, service('b', { type: 'NodePort', ports: [{ port: 80, nodePort: 30200 }] }));
  });
});

describe('dual stack', () => {
  const families = (spec: Record<string, unknown>): Partial<Service['spec']> => {
    const { ipFamilies, ipFamilyPolicy, clusterIPs } = accepted(new Steps(dual), service('x', spec)).spec;
    return { ipFamilies, ipFamilyPolicy, clusterIPs } as Partial<Service['spec']>;
  };

  it('follows policy, families and addresses', () => {
    expect(families({})).toEqual({ ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack', clusterIPs: ['10.96.1.1'] });
    expect(families({ ipFamilyPolicy: 'PreferDualStack' })).toEqual({
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'PreferDualStack',
      clusterIPs: ['10.96.1.1', 'fd00:10:96::101'],
    });
    expect(families({ ipFamilies: ['IPv6'] })).toMatchObject({
      ipFamilyPolicy: 'SingleStack',
      clusterIPs: ['fd00:10:96::101'],
    });
    expect(families({ ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] }).clusterIPs).toEqual([
      'fd00:10:96::101',
      '10.96.1.1',
    ]);
    expect(families({ clusterIP: 'fd00:10:96::5' })).toMatchObject({
      ipFamilies: ['IPv6'],
      clusterIPs: ['fd00:10:96::5'],
    });
    expect(families({ clusterIP: 'None', selector: undefined })).toMatchObject({
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'RequireDualStack',
    });
  });

  it('is refused where the cluster has one family', () => {
    const steps = new Steps();
    expect(steps.create(SERVICES, service('a', { ipFamilyPolicy: 'RequireDualStack' })).errors).toEqual([
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    ]);
    expect(steps.create(SERVICES, service('a', { ipFamilies: ['IPv6'] })).errors).toEqual([
      'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    ]);
    expect(accepted(steps, service('a', { ipFamilyPolicy: 'PreferDualStack' })).spec.ipFamilies).toEqual(['IPv4']);
  });

  it('gains and loses its second address with the policy', () => {
    const steps = new Steps(dual);
    const single = accepted(steps, service('a'));
    const up = steps.change<Service>(SERVICES, single, (s) =>
      Object.assign(s.spec, { ipFamilyPolicy: 'RequireDualStack' }),
    );
    expect(up.errors).toEqual([]);
    expect(up.obj.spec.clusterIPs).toEqual([single.spec.clusterIP, 'fd00:10:96::101']);
    const down = steps.change<Service>(SERVICES, up.obj, (s) =>
      Object.assign(s.spec, { ipFamilyPolicy: 'SingleStack' }),
    );
    expect(down.errors).toEqual([]);
    expect(down.obj.spec).toMatchObject({ clusterIPs: [single.spec.clusterIP], ipFamilies: ['IPv4'] });
    accepted(steps, service('b', { clusterIP: 'fd00:10:96::101' }));
  });
});

describe('restart', () => {
  it('knows after rebuild what stored Services hold', () => {
    const before = new Steps(dual);
    const stored = ['a', 'b', 'c'].map((name) =>
      accepted(
        before,
        service(name, { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ipFamilyPolicy: 'PreferDualStack' }),
      ),
    );
    const after = new Steps(dual);
    after.rebuild(stored.map((obj) => ({ resource: resourceOf(SERVICES), obj })));
    const fresh = accepted(after, service('d', { type: 'NodePort', ipFamilyPolicy: 'PreferDualStack' }));
    const held = (s: Service): unknown[] => [
      ...(s.spec.clusterIPs ?? []),
      ...(s.spec.ports ?? []).map((p) => p.nodePort),
      ...(s.spec.healthCheckNodePort ? [s.spec.healthCheckNodePort] : []),
    ];
    const all = [...stored, fresh].flatMap(held);
    expect(new Set(all).size).toBe(all.length);
  });

  it('never has two Services with one address or port, whatever happens', () => {
    const action = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
      ip: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
      port: fc.option(fc.integer({ min: 30000, max: 30003 }), { nil: undefined }),
      what: fc.constantFrom('write', 'delete', 'restart'),
    });
    const config = { serviceCidrs: ['10.96.0.0/29'], nodePortRange: [30000, 30005] as [number, number] };
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        let steps = new Steps(config);
        const stored = new Map<string, Service>();
        for (const { name, type, ip, port, what } of actions) {
          const old = stored.get(name);
          if (what === 'restart') {
            steps = new Steps(config);
            steps.rebuild([...stored.values()].map((obj) => ({ resource: resourceOf(SERVICES), obj })));
          } else if (what === 'delete') {
            if (old) steps.strategy(SERVICES).release?.(old);
            stored.delete(name);
          } else {
            const ports = [{ port: 80, ...(port !== undefined && type !== 'ClusterIP' ? { nodePort: port } : {}) }];
            const external = type === 'ExternalName' ? { externalName: 'a.b', ports: [] } : { ports };
            const address = ip !== undefined && type !== 'ExternalName' ? { clusterIP: `10.96.0.${ip}` } : {};
            const body = service(name, { type, ...external, ...address });
            const result = old ? steps.update<Service>(SERVICES, old, body) : steps.create<Service>(SERVICES, body);
            if (result.errors.length === 0) stored.set(name, result.obj);
          }
          const ips = [...stored.values()].flatMap((s) => s.spec.clusterIPs ?? []);
          expect(new Set(ips).size).toBe(ips.length);
          const taken = [...stored.values()].flatMap((s) => [
            ...new Set([...(s.spec.ports ?? []).map((p) => p.nodePort), s.spec.healthCheckNodePort].filter(Boolean)),
          ]);
          expect(new Set(taken).size).toBe(taken.length);
        }
        // Everything that was given back can be had again: nothing leaks.
        for (const s of stored.values()) steps.strategy(SERVICES).release?.(s);
        for (let i = 1; i <= 6; i++) {
          expect(steps.create(SERVICES, service(`fresh${i}`, { type: 'NodePort' })).errors).toEqual([]);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('table', () => {
  it('shows Services as kubectl does', () => {
    const steps = new Steps();
    const row = (spec: Record<string, unknown>, status: unknown = {}): unknown[] =>
      Object.values(
        steps.row(SERVICES, { metadata: { name: 's', creationTimestamp: '2025-12-31T23:58:00Z' }, spec, status }),
      );
    expect(row({ type: 'ClusterIP', clusterIPs: ['10.96.0.1'], ports: [{ port: 443, protocol: 'TCP' }] })).toEqual([
      's',
      'ClusterIP',
      '10.96.0.1',
      '<none>',
      '443/TCP',
      '2m',
      '<none>',
    ]);
    expect(
      row({
        type: 'NodePort',
        clusterIPs: ['10.96.0.2'],
        ports: [
          { port: 80, nodePort: 30080, protocol: 'TCP' },
          { port: 53, nodePort: 30053, protocol: 'UDP' },
        ],
        selector: { b: '2', a: '1' },
      }),
    ).toEqual(['s', 'NodePort', '10.96.0.2', '<none>', '80:30080/TCP,53:30053/UDP', '2m', 'a=1,b=2']);
    expect(row({ type: 'ExternalName', externalName: 'db.example.com' }).slice(1, 5)).toEqual([
      'ExternalName',
      '<none>',
      'db.example.com',
      '<none>',
    ]);
    expect(row({ type: 'LoadBalancer', clusterIPs: ['10.96.0.3'], ports: [] })[3]).toBe('<pending>');
    expect(
      row(
        { type: 'LoadBalancer', clusterIPs: ['10.96.0.3'], externalIPs: ['192.0.2.9'] },
        { loadBalancer: { ingress: [{ ip: '192.0.2.1' }, { hostname: 'lb.example.com' }] } },
      )[3],
    ).toBe('192.0.2.1,lb.example.com,192.0.2.9');
    expect(row({ type: 'ClusterIP', clusterIPs: ['None'] })[2]).toBe('None');
    expect(steps.strategy(SERVICES).columns.map((c) => [c.name, c.priority])).toEqual([
      ['Name', 0],
      ['Type', 0],
      ['Cluster-IP', 0],
      ['External-IP', 0],
      ['Port(s)', 0],
      ['Age', 0],
      ['Selector', 1],
    ]);
  });
});
