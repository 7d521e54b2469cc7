import type { EndpointSlice, Service } from '@weft/kube';

/** Endpoints of each Service: 5, or what `--endpoints N` says to a benchmark. Its other processes are told alike. */
export const ENDPOINTS_PER_SERVICE = process.argv.includes('--endpoints')
  ? Number(process.argv[process.argv.indexOf('--endpoints') + 1])
  : 5;
/** The one endpoint that answers; all others only have to be programmed. */
export const ANSWERING = '10.244.0.1';
export const ANSWERING_PORT = 8080;

export function serviceIP(i: number): string {
  return `10.96.${i >> 8}.${i & 0xff}`;
}

function endpointIP(i: number): string {
  // 65,536 addresses of each block: a large world goes on in the next one.
  return `10.${244 - (i >> 16)}.${1 + ((i >> 8) % 250)}.${i & 0xff}`;
}

/** Managed fields and annotations as a real object carries them: informers have to read past them. */
function metadata(name: string, version: number, extra: Record<string, string>): Service['metadata'] {
  return {
    name,
    namespace: `team-${name.length % 7}`,
    uid: `00000000-0000-4000-8000-${String(version).padStart(12, '0')}`,
    resourceVersion: String(version),
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { app: name, 'app.kubernetes.io/managed-by': 'Helm', ...extra },
    annotations: { 'meta.helm.sh/release-name': name, 'meta.helm.sh/release-namespace': 'default' },
    managedFields: [
      {
        manager: 'helm',
        operation: 'Update',
        apiVersion: 'v1',
        time: '2026-01-01T00:00:00Z',
        fieldsType: 'FieldsV1',
        fieldsV1: {
          'f:metadata': {
            'f:annotations': { '.': {}, 'f:meta.helm.sh/release-name': {} },
            'f:labels': { 'f:app': {} },
          },
          'f:spec': { 'f:internalTrafficPolicy': {}, 'f:ports': {}, 'f:selector': {}, 'f:sessionAffinity': {} },
        },
      },
    ],
  };
}

/** Service number `i` of a cluster: one in five has a NodePort, one in ten affinity, one in twenty a Local policy. */
export function makeService(i: number, version: number): Service {
  const name = `service-${i}`;
  const nodePort = i % 5 === 0 && i < 2500 * 5;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(name, version, {}),
    spec: {
      type: nodePort ? 'NodePort' : 'ClusterIP',
      clusterIP: serviceIP(i),
      clusterIPs: [serviceIP(i)],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      ...(nodePort ? { externalTrafficPolicy: i % 20 === 0 ? ('Local' as const) : ('Cluster' as const) } : {}),
      ...(i % 10 === 1
        ? { sessionAffinity: 'ClientIP' as const, sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } } }
        : { sessionAffinity: 'None' as const }),
      selector: { app: name },
      ports: [
        { name: 'http', port: 80, protocol: 'TCP', targetPort: 8080, ...(nodePort ? { nodePort: 30000 + i / 5 } : {}) },
      ],
    },
    status: { loadBalancer: {} },
  };
}

/** Its slice. One endpoint in a hundred is on the node under test. `answering` makes the first endpoint a real one. */
export function makeSlice(i: number, version: number, answering = false): EndpointSlice {
  const name = `service-${i}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...metadata(name, version, {
        'kubernetes.io/service-name': name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      }),
      name: `${name}-abcde`,
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: ANSWERING_PORT, protocol: 'TCP' }],
    endpoints: Array.from({ length: answering ? 1 : ENDPOINTS_PER_SERVICE }, (_, k) => ({
      addresses: [answering ? ANSWERING : endpointIP(i * ENDPOINTS_PER_SERVICE + k)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${(i * ENDPOINTS_PER_SERVICE + k) % 100}`,
      zone: 'zone-a',
      targetRef: {
        kind: 'Pod',
        namespace: 'default',
        name: `${name}-5d4f8c7b9-${k}`,
        uid: `00000000-0000-4000-9000-${String(i * 5 + k).padStart(12, '0')}`,
      },
    })),
  };
}

/** The layout kube-proxy writes in nftables mode, as text for `nft -f`: what the flat layout is compared with. */
export function upstreamRules(count: number): string {
  const out: string[] = [
    'table ip kube-proxy {',
    ' set cluster-ips { type ipv4_addr ; }',
    ' map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict ; }',
    ' map service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }',
    ' map service-nodeports { type inet_proto . inet_service : verdict ; }',
    ' chain mark-for-masquerade { mark set mark or 0x4000 ; }',
    ' chain masquerading {',
    '  mark and 0x4000 == 0 return',
    '  mark set mark xor 0x4000',
    '  masquerade fully-random',
    ' }',
    ' chain services {',
    '  ip daddr . meta l4proto . th dport vmap @service-ips',
    '  fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports',
    ' }',
    ' chain nat-prerouting { type nat hook prerouting priority dstnat ; jump services ; }',
    ' chain nat-output { type nat hook output priority -100 ; jump services ; }',
    ' chain nat-postrouting { type nat hook postrouting priority srcnat ; jump masquerading ; }',
    '}',
  ];
  for (let i = 0; i < count; i++) out.push(upstreamService(i));
  return out.join('\n');
}

/** One Service of that layout. */
export function upstreamService(i: number): string {
  const name = `ns/service-${i}/tcp/http`;
  const chains: string[] = [];
  const targets: string[] = [];
  for (let k = 0; k < ENDPOINTS_PER_SERVICE; k++) {
    const ip = endpointIP(i * ENDPOINTS_PER_SERVICE + k);
    const chain = `endpoint-ABCD-${name}__${ip}/8080`;
    chains.push(
      `add chain ip kube-proxy ${chain}`,
      `add rule ip kube-proxy ${chain} ip saddr ${ip} jump mark-for-masquerade`,
      `add rule ip kube-proxy ${chain} meta l4proto tcp dnat to ${ip}:8080`,
    );
    targets.push(`${k} : goto ${chain}`);
  }
  const chain = `service-ABCD-${name}`;
  return [
    ...chains,
    `add chain ip kube-proxy ${chain}`,
    `add rule ip kube-proxy ${chain} ip daddr ${serviceIP(i)} tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade`,
    `add rule ip kube-proxy ${chain} numgen random mod ${ENDPOINTS_PER_SERVICE} vmap { ${targets.join(', ')} }`,
    `add element ip kube-proxy cluster-ips { ${serviceIP(i)} }`,
    `add element ip kube-proxy service-ips { ${serviceIP(i)} . tcp . 80 : goto ${chain} }`,
  ].join('\n');
}
