import type { KubeObject } from '../object.ts';
import { groupResource, resourceType } from '../resources.ts';
import type { CustomResourceDefinition } from '../types/index.ts';

/**
 * A network that pods may be attached to besides their first one (Multi-network specification of the Network Plumbing
 * Working Group, 3.4).
 */
export interface NetworkAttachmentDefinition extends KubeObject {
  spec?: {
    /** CNI configuration or list, as JSON text. Empty: the one of the object's name in the configuration directory. */
    config?: string;
  };
}

/** The custom resource of networks. */
export const networkAttachmentDefinitions = resourceType<NetworkAttachmentDefinition>({
  group: 'k8s.cni.cncf.io',
  version: 'v1',
  kind: 'NetworkAttachmentDefinition',
  plural: 'network-attachment-definitions',
  namespaced: true,
});

/** Definition of the custom resource of networks, for clusters that do not have it; as Multus installs it. */
export function networkAttachmentDefinitionCrd(): CustomResourceDefinition {
  const { group, kind, plural } = networkAttachmentDefinitions;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: groupResource(networkAttachmentDefinitions) },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        plural,
        singular: 'network-attachment-definition',
        kind,
        listKind: `${kind}List`,
        shortNames: ['net-attach-def'],
      },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              description: 'A network that pods may be attached to besides their first one.',
              type: 'object',
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: {
                  type: 'object',
                  properties: {
                    config: {
                      description:
                        'CNI configuration or list, as JSON text. Empty: the one of this name in the configuration directory of the node.',
                      type: 'string',
                    },
                  },
                },
              },
            },
          },
          additionalPrinterColumns: [{ name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }],
        },
      ],
    },
  };
}
