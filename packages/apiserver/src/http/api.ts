import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Metrics } from '@weft/plan';
import type { UserInfo } from '@weft/kube';
import type { OpenapiDocuments } from '../openapi/documents.ts';
import type { Tokens } from '../auth/tokens.ts';
import type { Env } from '../registry/context.ts';
import type { Pages } from '../registry/list.ts';
import type { Watches } from '../watch/watch.ts';
import type { Discovery } from './discovery.ts';
import type { StreamingHandler } from '../streaming-contract.ts';

/** The parts of a running server that request handlers use. */
export interface Api {
  readonly env: Env;
  readonly pages: Pages;
  readonly watches: Watches;
  readonly discovery: Discovery;
  readonly openapi: OpenapiDocuments;
  readonly tokens: Tokens;
  readonly metrics: Metrics;
  readonly streaming: StreamingHandler | undefined;
  /** Sockets that left HTTP, to be ended with the server. */
  readonly upgraded: Set<Duplex>;
  /** Why the server is not ready yet; empty when it is. */
  readonly notReady: () => readonly string[];
}

/** One request on its way through the server. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly user: UserInfo;
}
