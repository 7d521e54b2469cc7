import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';

/**
 * The dictionary of SPDY/3 header compression (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1): words with a 32-bit
 * length before each, then running text.
 */
const WORDS =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin';
const TEXT =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

export const DICTIONARY: Buffer = Buffer.concat([
  ...WORDS.split(' ').flatMap((word) => {
    const text = Buffer.from(word.replace('_', ' '));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    return [length, text];
  }),
  Buffer.from(TEXT),
]);

/** Runs one chunk through a zlib stream that lives as long as its connection. */
function pass(stream: Deflate | Inflate, input: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const take = (chunk: Buffer): void => {
      chunks.push(chunk);
    };
    stream.on('data', take);
    stream.once('error', reject);
    const done = (): void => {
      stream.off('data', take);
      stream.off('error', reject);
      resolve(Buffer.concat(chunks));
    };
    stream.write(input, () => stream.flush(constants.Z_SYNC_FLUSH, done));
  });
}

/** Header blocks of one connection; each direction has one compression context, so blocks must keep their order. */
export class HeaderCodec {
  readonly #inflate = createInflate({ dictionary: DICTIONARY, flush: constants.Z_SYNC_FLUSH });
  readonly #deflate = createDeflate({ dictionary: DICTIONARY, flush: constants.Z_SYNC_FLUSH });
  #writes: Promise<unknown> = Promise.resolve();

  async decode(block: Buffer): Promise<Map<string, string>> {
    const plain = await pass(this.#inflate, block);
    const headers = new Map<string, string>();
    let at = 4;
    const text = (): string => {
      const length = plain.readUInt32BE(at);
      at += 4 + length;
      return plain.toString('utf8', at - length, at);
    };
    for (let left = plain.readUInt32BE(0); left > 0; left--) {
      const name = text();
      headers.set(name.toLowerCase(), text());
    }
    return headers;
  }

  encode(headers: ReadonlyMap<string, string>): Promise<Buffer> {
    const parts: Buffer[] = [];
    const u32 = (value: number): void => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      parts.push(bytes);
    };
    u32(headers.size);
    for (const pair of headers) {
      for (const item of pair) {
        const bytes = Buffer.from(item);
        u32(bytes.length);
        parts.push(bytes);
      }
    }
    const result = this.#writes.then(() => pass(this.#deflate, Buffer.concat(parts)));
    this.#writes = result.catch(() => {});
    return result;
  }

  close(): void {
    this.#inflate.destroy();
    this.#deflate.destroy();
  }
}
