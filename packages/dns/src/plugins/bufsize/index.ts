import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';

const DEFAULT_SIZE = 1232;
const [MIN, MAX] = [512, 4096];

/** Limits the size of UDP answers, and of those asked of upstreams, so that no fragment is lost on the way. */
export const bufsize: Plugin = {
  name: 'bufsize',
  once: true,
  setup(directives) {
    const [size, extra] = directives[0]?.args ?? [];
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const limit = size === undefined ? DEFAULT_SIZE : Number(size.text);
    if (size !== undefined && !/^[0-9]+$/.test(size.text))
      throw parsingError(size, `strconv.Atoi: parsing "${size.text}": invalid syntax`);
    if (limit < MIN || limit > MAX)
      throw parsingError(
        size ?? (directives[0] as (typeof directives)[number]).name,
        `buffer size must be within ${MIN} - ${MAX}`,
      );
    const handler: Handler = {
      name: 'bufsize',
      serve(request, next) {
        const { edns } = request.query;
        // A query without EDNS gets 512 bytes at most anyway.
        if (edns !== undefined && edns.udpSize > limit)
          request.query = { ...request.query, edns: { ...edns, udpSize: limit } };
        return next(request);
      },
    };
    return handler;
  },
};
