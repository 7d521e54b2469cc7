import { type EventRecorder, type KubeClient, type Node, resources } from '@weft/kube';
import { errorMessage, type Logger } from '@weft/plan';
import { type Mode, MODES as ALL_MODES, type ServiceProxy } from '@weft/proxy';

/** Annotation of a Node by which its data plane for Services is chosen; without it the agent's own choice holds. */
export const PROXY_MODE = 'weft.dev/proxy-mode';
/** Annotation in which the agent says which one is in effect. */
export const ACTIVE_PROXY_MODE = 'weft.dev/active-proxy-mode';

/** Milliseconds until a change that has failed is tried again. */
const AGAIN_MS = 30_000;

const MODES: readonly string[] = ALL_MODES;

export interface ProxyModeOptions {
  readonly nodeName: string;
  readonly client: Pick<KubeClient, 'patch'>;
  readonly proxy: Pick<ServiceProxy, 'switchTo' | 'dataPlane' | 'removeTraces'>;
  readonly events: Pick<EventRecorder, 'event'>;
  /** What holds when nobody has said anything. */
  readonly fallback: Mode;
  readonly log: Logger;
}

/**
 * Changes the data plane of a node when its Node object says so, and says on the Node which one is in effect. A mode that
 * does not exist, or that cannot work here, is an Event on the Node; what was in effect stays.
 */
export class ProxyModeFollower {
  readonly #options: ProxyModeOptions;
  #wanted: string | undefined;
  #told: string | undefined;
  #work: Promise<void> = Promise.resolve();
  /** What was last said about: an Event for each is enough. */
  #complained: string | undefined;

  constructor(options: ProxyModeOptions) {
    this.#options = options;
  }

  /** Takes in this node's Node object. */
  node(node: Node): void {
    if (node.metadata.name !== this.#options.nodeName) return;
    const wanted = node.metadata.annotations?.[PROXY_MODE] ?? this.#options.fallback;
    const told = node.metadata.annotations?.[ACTIVE_PROXY_MODE];
    // Only its own writes tell what is in effect: a Node made anew has forgotten.
    if (told === undefined) this.#told = undefined;
    if (wanted === this.#wanted && this.#told !== undefined) return;
    this.#wanted = wanted;
    this.#work = this.#work.then(() => this.#follow(wanted, node));
  }

  /** Resolves when all that was asked so far is done, or was refused. */
  idle(): Promise<void> {
    return this.#work;
  }

  async #follow(wanted: string, node: Node): Promise<void> {
    const { proxy, events, log } = this.#options;
    const before = proxy.dataPlane.name;
    try {
      if (MODES.includes(wanted)) await proxy.switchTo(wanted as Mode);
      else
        throw new Error(
          `there is no data plane ${JSON.stringify(wanted)}; there are ${MODES.slice(0, -1).join(', ')} and ${MODES.at(-1)}`,
        );
      if (proxy.dataPlane.name !== before) {
        events.event(about(node), 'Normal', 'ProxyModeChanged', `Services: ${before} → ${proxy.dataPlane.name}`);
      }
    } catch (error) {
      log.error('cannot change the data plane of Services', { wanted, error });
      const message = `annotation ${PROXY_MODE}: ${errorMessage(error)}; ${before} stays in effect`;
      if (this.#complained !== message) events.event(about(node), 'Warning', 'ProxyModeNotChanged', message);
      this.#complained = message;
      if (MODES.includes(wanted)) this.#again(wanted, node);
    }
    await this.#removeOlder(node.metadata.annotations?.[ACTIVE_PROXY_MODE], before);
    await this.#tell(proxy.dataPlane.name);
  }

  /** What has failed for a reason of the moment may work later. */
  #again(wanted: string, node: Node): void {
    setTimeout(() => {
      if (this.#wanted === wanted) this.#work = this.#work.then(() => this.#follow(wanted, node));
    }, AGAIN_MS).unref();
  }

  /** What an earlier agent had in effect, when this one has begun with something else. */
  async #removeOlder(older: string | undefined, before: string): Promise<void> {
    const { proxy, log } = this.#options;
    if (older === undefined || this.#told !== undefined) return;
    if (!MODES.includes(older) || older === before || older === proxy.dataPlane.name) return;
    try {
      await proxy.removeTraces(older as Mode);
    } catch (error) {
      log.error('cannot remove the rules of an earlier data plane', { older, error });
    }
  }

  async #tell(mode: string): Promise<void> {
    const { client, nodeName, log } = this.#options;
    try {
      const patch = { metadata: { annotations: { [ACTIVE_PROXY_MODE]: mode } } };
      await client.patch(resources.nodes, undefined, nodeName, patch);
      this.#told = mode;
    } catch (error) {
      // The next change of the Node comes by here again.
      log.warn('cannot say on the Node which data plane is in effect', { node: nodeName, mode, error });
    }
  }
}

function about(node: Node): { apiVersion: string; kind: string; name: string; uid: string } {
  // Events of nodes carry the name as uid, as kubelet's do, so that kubectl describe finds them.
  return { apiVersion: 'v1', kind: 'Node', name: node.metadata.name, uid: node.metadata.name };
}
