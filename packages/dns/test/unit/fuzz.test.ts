import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkCorefile } from '../../src/index.ts';
import { ORDER } from '../../src/plugins/index.ts';
import { bareReply } from '../../src/server/handler.ts';
import {
  decodeMessage,
  encodeQuery,
  encodeReply,
  isRejected,
  nameFromText,
  parseQuery,
  RCODE,
  WireError,
} from '../../src/wire/index.ts';

/** `FUZZ_SECONDS=3600` lets each property run for so long instead of for a fixed number of inputs. */
const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
const runs =
  seconds > 0 ? { numRuns: Number.POSITIVE_INFINITY, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 };
const timeout = (seconds + 30) * 1000;

/** Imports find nothing: a fuzzed name must not read files of the machine. */
const imports = {
  read: (path: string): string => {
    throw new Error(`open ${path}: no such file or directory`);
  },
  glob: () => [],
  resolve: (path: string) => path,
};

const WORDS = [
  ...ORDER,
  'import',
  ...'. : { } {$X} {%X% " # \\ ( ) (s) , .:53 .:99999 a.org 10.0.0.0/9 ::/1 tls://. 0 -1 30 5s 1h * @kubernetes'.split(
    ' ',
  ),
  ...'success denial disable prefetch serve_stale fallthrough ttl pods verified policy max_fails except to stop name'.split(
    ' ',
  ),
];
const blanks = fc.constantFrom(' ', '\n', '\n    ', ' {\n', '\n}\n');
const corefiles = fc
  .array(fc.tuple(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...WORDS) }, fc.string({ maxLength: 8 })), blanks), {
    maxLength: 30,
  })
  .map((parts) => parts.flat().join(''));

describe('any text as a Corefile', () => {
  it(
    'is accepted or refused at a line of its file, never anything else',
    () => {
      fc.assert(
        fc.property(corefiles, fc.boolean(), (text, whole) => {
          const found = checkCorefile(whole ? text : `.:5353 {\n${text}\n}\n`, 'Corefile', { env: {}, imports });
          for (const { file, line } of found) {
            expect(file).toBe('Corefile');
            expect(line).toBeGreaterThan(0);
          }
        }),
        runs,
      );
    },
    timeout,
  );
});

const name = nameFromText('a.web.default.svc.cluster.local.');
const query = encodeQuery({
  id: 7,
  flags: 0x0100,
  name,
  type: 1,
  class: 1,
  edns: { udpSize: 1232, flags: 0x8000, options: Uint8Array.of(0, 10, 0, 2, 1, 2) },
});
const edits = fc.array(fc.tuple(fc.nat({ max: query.length - 1 }), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
/** Noise, and a good query with some bytes changed and the end cut off or grown. */
const packets = fc.oneof(
  fc.uint8Array({ maxLength: 600 }),
  fc.tuple(edits, fc.nat({ max: query.length }), fc.uint8Array({ maxLength: 40 })).map(([changes, cut, tail]) => {
    const bytes = new Uint8Array(query);
    for (const [at, value] of changes) bytes[at] = value;
    return Uint8Array.from([...bytes.subarray(0, cut % 3 === 0 ? cut : bytes.length), ...tail]);
  }),
);

describe('any bytes as a packet', () => {
  it(
    'are dropped, refused with a bare header, or a query whose answer is well formed',
    () => {
      fc.assert(
        fc.property(packets, (packet) => {
          const parsed = parseQuery(packet);
          if (isRejected(parsed)) {
            if (!parsed.drop) expect(parsed.reply.length).toBe(12);
            return;
          }
          const reply = encodeReply(parsed, bareReply(RCODE.REFUSED), { size: 65535, fragment: 1480 });
          const message = decodeMessage(reply);
          expect(message.id).toBe(parsed.id);
          expect(message.rcode).toBe(RCODE.REFUSED);
          expect(message.question?.name).toEqual(parsed.qname);
        }),
        runs,
      );
    },
    timeout,
  );

  it(
    'are a message or a WireError',
    () => {
      fc.assert(
        fc.property(packets, (packet) => {
          try {
            decodeMessage(packet);
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          }
        }),
        runs,
      );
    },
    timeout,
  );
});
