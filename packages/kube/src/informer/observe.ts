import type { Metrics } from '@weft/plan';

interface Observed {
  readonly size: number;
  readonly connected: boolean;
  readonly stats: { readonly events: number; readonly reconnects: number; readonly lists: number };
}

/** Publishes an informer's figures. They are read when metrics are rendered, so an event costs nothing extra. */
export function observeInformer(metrics: Metrics, name: string, informer: Observed): void {
  const labels = { informer: name };
  const objects = metrics.gauge('weft_informer_objects', 'Objects in the informer store.');
  const connected = metrics.gauge('weft_informer_connected', '1 while a watch stream is open.');
  const events = metrics.counter('weft_informer_events_total', 'Watch events received, bookmarks included.');
  const reconnects = metrics.counter('weft_informer_reconnects_total', 'Watch streams opened after the first.');
  const lists = metrics.counter('weft_informer_lists_total', 'Complete readings of the state.');
  metrics.beforeRender(() => {
    objects.set(informer.size, labels);
    connected.set(informer.connected ? 1 : 0, labels);
    const { stats } = informer;
    events.inc(labels, stats.events - events.value(labels));
    reconnects.inc(labels, stats.reconnects - reconnects.value(labels));
    lists.inc(labels, stats.lists - lists.value(labels));
  });
}
