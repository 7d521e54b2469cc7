import { booleanField, field, type JsonObject, objectsField, stringField, stringsField } from '../spec/json.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { NetworkList } from '../runtime/config.ts';
import { networkOf } from './definition.ts';

/** Configuration of the plugin that attaches pods to several networks; keys are those of Multus. */
export interface NetworksConfig {
  /** Networks given right there; the first is the pods' first network. */
  readonly delegates: readonly NetworkList[];
  /** Instead of `delegates`: name of a definition in `multusNamespace`, or of a network in `confDir`. */
  readonly clusterNetwork: string | undefined;
  /** Names of further networks that every pod gets. */
  readonly defaultNetworks: readonly string[];
  /** Namespaces whose pods do not get `defaultNetworks`. */
  readonly systemNamespaces: readonly string[];
  /** Namespace of the definitions that this configuration names. */
  readonly multusNamespace: string;
  /** Pods may use definitions of their own namespace and of `globalNamespaces` only. */
  readonly namespaceIsolation: boolean;
  readonly globalNamespaces: readonly string[];
  /** Directory of configurations for definitions without `spec.config`. */
  readonly confDir: string | undefined;
  /** Searched for plugins before CNI_PATH. */
  readonly binDir: string | undefined;
  /** File that is there when the first network is ready. */
  readonly readinessIndicatorFile: string | undefined;
}

/** Reads and checks the configuration of a call (pure). */
export function readNetworksConfig(config: JsonObject, network: string): NetworksConfig {
  const text = (name: string): string | undefined => stringField(config, name) || undefined;
  const cniVersion = field(config, 'cniVersion');
  const delegates = (objectsField(config, 'delegates') ?? []).map(({ value, path }, i) =>
    // A delegate that names no version speaks ours, as under Multus.
    networkOf({ cniVersion, ...value }, i === 0 ? network : `${network}-${i}`, path),
  );
  const clusterNetwork = text('clusterNetwork');
  if (delegates.length === 0 && clusterNetwork === undefined) {
    throw new CniError(
      CniCode.invalidConfig,
      `network ${network}: neither \`delegates\` nor \`clusterNetwork\` says what the first network of pods is`,
    );
  }
  return {
    delegates,
    clusterNetwork,
    defaultNetworks: stringsField(config, 'defaultNetworks') ?? [],
    systemNamespaces: stringsField(config, 'systemNamespaces') ?? ['kube-system'],
    multusNamespace: text('multusNamespace') ?? 'kube-system',
    namespaceIsolation: booleanField(config, 'namespaceIsolation') ?? false,
    globalNamespaces: (text('globalNamespaces') ?? 'default').split(',').map((name) => name.trim()),
    confDir: text('confDir'),
    binDir: text('binDir'),
    readinessIndicatorFile: text('readinessindicatorfile'),
  };
}
