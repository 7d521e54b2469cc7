import { WeftError } from '@weft/plan';

/** An image name taken apart as Docker and containerd do (distribution/reference's familiar names). */
export interface ImageReference {
  /** Host of the registry, with a port when one is given: `docker.io`. */
  readonly registry: string;
  /** `library/nginx` */
  readonly repository: string;
  /** Absent when only a digest is given. */
  readonly tag?: string;
  /** `sha256:…` */
  readonly digest?: string;
  /** The canonical text: `docker.io/library/nginx:latest`. */
  readonly canonical: string;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const REGISTRY = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;

function invalid(text: string): WeftError {
  return new WeftError({
    code: 'INVALID_IMAGE_NAME',
    message: `couldn't parse image name "${text}": invalid reference format`,
    hint: 'write it as NAME, NAME:TAG or REGISTRY/NAME:TAG in lower case',
  });
}

/** Reads an image name; `nginx` is `docker.io/library/nginx:latest`. Throws WeftError INVALID_IMAGE_NAME. */
export function parseImageReference(text: string): ImageReference {
  let rest = text;
  let digest: string | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    digest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!DIGEST.test(digest)) throw invalid(text);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!TAG.test(tag)) throw invalid(text);
  }
  let registry = 'docker.io';
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  // A first part is a registry only when it cannot be a user's name: Docker's own rule.
  if (first !== '' && (first.includes('.') || first.includes(':') || first === 'localhost' || /[A-Z]/.test(first))) {
    registry = first;
    rest = rest.slice(slash + 1);
    if (!REGISTRY.test(registry)) throw invalid(text);
  }
  if (registry === 'index.docker.io') registry = 'docker.io';
  if (registry === 'docker.io' && !rest.includes('/')) rest = `library/${rest}`;
  if (!REPOSITORY.test(rest)) throw invalid(text);
  if (tag === undefined && digest === undefined) tag = 'latest';
  const canonical = `${registry}/${rest}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return {
    registry,
    repository: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
    canonical,
  };
}
