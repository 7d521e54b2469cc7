const strings = { type: 'array', items: { type: 'string' } };
const selectors = { type: 'array', items: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };

/** The definition of the kind IPAddressPool, for clusters that do not have MetalLB's own. */
export const IP_ADDRESS_POOL_CRD = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'ipaddresspools.metallb.io' },
  spec: {
    group: 'metallb.io',
    scope: 'Namespaced',
    names: {
      kind: 'IPAddressPool',
      listKind: 'IPAddressPoolList',
      plural: 'ipaddresspools',
      singular: 'ipaddresspool',
    },
    versions: [
      {
        name: 'v1beta1',
        served: true,
        storage: true,
        additionalPrinterColumns: [
          { name: 'Auto Assign', type: 'boolean', jsonPath: '.spec.autoAssign' },
          { name: 'Avoid Buggy IPs', type: 'boolean', jsonPath: '.spec.avoidBuggyIPs' },
          { name: 'Addresses', type: 'string', jsonPath: '.spec.addresses' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['spec'],
            properties: {
              apiVersion: { type: 'string' },
              kind: { type: 'string' },
              metadata: { type: 'object' },
              spec: {
                type: 'object',
                required: ['addresses'],
                properties: {
                  addresses: strings,
                  autoAssign: { type: 'boolean', default: true },
                  avoidBuggyIPs: { type: 'boolean', default: false },
                  serviceAllocation: {
                    type: 'object',
                    properties: {
                      priority: { type: 'integer' },
                      namespaces: strings,
                      namespaceSelectors: selectors,
                      serviceSelectors: selectors,
                    },
                  },
                },
              },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      },
    ],
  },
} as const;
