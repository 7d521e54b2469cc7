import type { CustomResourceDefinition, CustomResourceDefinitionVersion } from '@weft/kube';
import type { ApiResource, ApiSubresource } from '../contract.ts';
import { type CustomKind, makeResource, type Resource } from '../registry/resource.ts';
import type { AnyObject } from '../store/stored.ts';
import { customStrategy } from './strategy.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const PART_VERBS = ['get', 'patch', 'update'];

/** The resources that a CustomResourceDefinition adds: one per version, of which one is the stored one. */
export function customResources(definition: CustomResourceDefinition): Resource[] {
  const { spec } = definition;
  const stored = spec.versions.find((version) => version.storage);
  const several = spec.versions.length > 1;
  return spec.versions.map((version) => {
    const apiVersion = `${spec.group}/${version.name}`;
    return makeResource(apiResource(definition, version), customStrategy(definition, version), {
      custom: customKind(definition, version),
      isStored: version === stored,
      served: version.served,
      // Versions differ by name only (conversion strategy None); what was stored under another one is renamed.
      ...(several
        ? {
            conversion: {
              toStored: (object: AnyObject) => ({ ...object, apiVersion: `${spec.group}/${stored?.name}` }),
              fromStored: (object: AnyObject) => ({ ...object, apiVersion }),
            },
          }
        : {}),
    });
  });
}

function apiResource(definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion): ApiResource {
  const { names, group, scope } = definition.spec;
  const subresources: ApiSubresource[] = [];
  if (version.subresources?.status !== undefined) {
    subresources.push({ name: 'status', kind: names.kind, verbs: PART_VERBS });
  }
  if (version.subresources?.scale !== undefined) {
    subresources.push({ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: PART_VERBS });
  }
  return {
    group,
    version: version.name,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    kind: names.kind,
    namespaced: scope === 'Namespaced',
    verbs: VERBS,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    subresources,
  };
}

function customKind(definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion): CustomKind {
  const scale = version.subresources?.scale;
  return {
    crd: definition.metadata.name,
    schema: version.schema?.openAPIV3Schema ?? {},
    open: definition.spec.preserveUnknownFields === true,
    listKind: definition.spec.names.listKind ?? `${definition.spec.names.kind}List`,
    scale:
      scale === undefined
        ? undefined
        : {
            spec: scale.specReplicasPath,
            status: scale.statusReplicasPath,
            ...(scale.labelSelectorPath === undefined ? {} : { selector: scale.labelSelectorPath }),
          },
  };
}
