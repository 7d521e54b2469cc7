import type { IncomingMessage } from 'node:http';
import { failure, parseYamlDocuments, StatusError, statusErrors } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { decodeProtobuf } from '../schema/index.ts';
import { mediaType } from './negotiate.ts';

/** The limit of kube-apiserver (`MaxRequestBodyBytes`). */
const MAX_BODY = 3 * 1024 * 1024;

/** Reads a request's body. Throws 413 above the limit; the rest is then read and dropped, so that the answer arrives. */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY) chunks.push(chunk);
      else {
        chunks.length = 0;
        reject(new StatusError(failure('RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY}`)));
      }
    });
    request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    request.on('error', reject);
  });
}

export interface DecodedBody {
  readonly value: unknown;
  /** The JSON text, when the body was JSON: duplicate keys can only be seen there. */
  readonly text: string | undefined;
}

/** Decodes the body of a create or update. Throws 400 or 415. */
export async function decodeBody(body: Buffer, contentType: string | undefined): Promise<DecodedBody> {
  const type = mediaType(contentType);
  switch (type) {
    case '':
    case 'application/json':
      return parseJsonBody(body);
    case 'application/yaml':
      return { value: await parseYamlBody(body), text: undefined };
    case 'application/vnd.kubernetes.protobuf':
      try {
        return { value: decodeProtobuf(body), text: undefined };
      } catch (error) {
        throw statusErrors.badRequest(`the protobuf body could not be decoded: ${errorMessage(error)}`);
      }
    default:
      throw statusErrors.unsupportedMediaType(
        `the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf`,
      );
  }
}

function parseJsonBody(body: Buffer): DecodedBody {
  const text = body.toString('utf8');
  try {
    return { value: JSON.parse(text) as unknown, text };
  } catch (error) {
    throw statusErrors.badRequest(`couldn't get version/kind; json parse error: ${errorMessage(error)}`);
  }
}

/** One YAML (or JSON) document. */
export async function parseYamlBody(body: Buffer): Promise<unknown> {
  try {
    return (await parseYamlDocuments(body.toString('utf8')))[0];
  } catch (error) {
    throw statusErrors.badRequest(errorMessage(error));
  }
}
