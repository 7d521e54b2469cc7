import { hostname } from 'node:os';
import { bareReply, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { CLASS, keyFromText, type Query, RCODE, rdata, type Rr, TYPE } from '../../wire/index.ts';

const VERSION = new Set(['version.bind.', 'version.server.'].map(keyFromText));
const HOST = new Set(['hostname.bind.', 'id.server.'].map(keyFromText));
const AUTHORS = keyFromText('authors.bind.');

/** Answers the questions of class CH by which operators ask a server who it is. */
export const chaos: Plugin = {
  name: 'chaos',
  once: true,
  setup(directives) {
    const [version, ...authors] = (directives[0]?.args ?? []).map((token) => token.text);
    const texts = (key: string): string[] | undefined => {
      if (VERSION.has(key)) return [(version ?? 'Weft').slice(0, 255)];
      if (HOST.has(key)) return [hostname().slice(0, 255)];
      if (key === AUTHORS) return authors.length > 0 ? authors : ['The Weft authors'];
      return undefined;
    };
    const answer = (query: Query): Reply | undefined => {
      const found = query.class === CLASS.CH && query.type === TYPE.TXT ? texts(query.key) : undefined;
      if (found === undefined) return undefined;
      const answers = found.map(
        (text): Rr => ({ name: undefined, type: TYPE.TXT, class: CLASS.CH, ttl: 0, rdata: rdata.txt(text) }),
      );
      return { ...bareReply(RCODE.NOERROR, 'chaos'), answers, own: true };
    };
    const handler: Handler = {
      name: 'chaos',
      adjust: (query, later) => answer(query) ?? later,
      serve: (request, next) => answer(request.query) ?? next(request),
    };
    return handler;
  },
};
