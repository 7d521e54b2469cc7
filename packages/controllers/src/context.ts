import type { KubeClient } from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import type { InformerSet } from './shared.ts';

/** What every controller is given. */
export interface ControllerContext {
  readonly client: KubeClient;
  readonly informers: InformerSet;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/** A running controller: its queue is released once the informers it reads have synced. */
export interface Controller {
  readonly name: string;
  readonly needs: readonly { readonly synced: Promise<void> }[];
  /** Starts working; everything it needs has synced. */
  begin(): void;
  /** Resolves when nothing is left to do for now. */
  idle(): Promise<void>;
}

/** Starts each controller when its informers have synced; one that waits does not hold up the others. */
export function beginAll(controllers: readonly Controller[], log: Logger, signal: AbortSignal): void {
  for (const controller of controllers) {
    Promise.all(controller.needs.map((informer) => informer.synced)).then(
      () => {
        if (!signal.aborted) controller.begin();
      },
      (error: unknown) => {
        if (!signal.aborted) log.error('a controller did not start', { controller: controller.name, error });
      },
    );
  }
}
