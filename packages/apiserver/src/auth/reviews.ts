import { statusErrors, type UserInfo } from '@weft/kube';
import type { Resource } from '../registry/resource.ts';
import type { AnyObject } from '../store/stored.ts';
import type { Tokens } from './tokens.ts';
import { isRecord } from '../registry/json.ts';

/** Everyone who is authenticated may do everything: this server is for one machine, and NetworkPolicy is not its job. */
const ALLOWED = { allowed: true, reason: 'all authenticated users are allowed' };

/** The answer to a review (authentication.k8s.io, authorization.k8s.io); undefined when the resource is none. */
export function answerReview(
  resource: Resource,
  review: AnyObject,
  user: UserInfo,
  tokens: Tokens,
): AnyObject | undefined {
  switch (resource.storage) {
    case 'authentication.k8s.io/selfsubjectreviews':
      return { ...review, status: { userInfo: user } };
    case 'authentication.k8s.io/tokenreviews':
      return { ...review, status: reviewToken(resource, review, tokens) };
    case 'authorization.k8s.io/selfsubjectaccessreviews':
    case 'authorization.k8s.io/subjectaccessreviews':
    case 'authorization.k8s.io/localsubjectaccessreviews':
      checkAttributes(resource, review);
      return { ...review, status: ALLOWED };
    case 'authorization.k8s.io/selfsubjectrulesreviews':
      return {
        ...review,
        status: {
          resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
          nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
          incomplete: false,
        },
      };
    default:
      return undefined;
  }
}

function reviewToken(resource: Resource, review: AnyObject, tokens: Tokens): object {
  const spec = isRecord(review.spec) ? review.spec : {};
  const token = typeof spec.token === 'string' ? spec.token : '';
  if (token === '') {
    throw statusErrors.badRequest(`token is required for ${resource.api.kind} in authentication`);
  }
  const checked = tokens.check(token);
  if (typeof checked === 'string') return { user: {}, error: checked };
  const wanted =
    Array.isArray(spec.audiences) && spec.audiences.length > 0 ? (spec.audiences as string[]) : [tokens.issuer];
  const audiences = wanted.filter((a) => checked.audiences.includes(a));
  if (audiences.length === 0) {
    return {
      user: {},
      error: `token audiences ${JSON.stringify(checked.audiences)} is invalid for the target audiences ${JSON.stringify(wanted)}`,
    };
  }
  return { authenticated: true, user: checked.user, audiences };
}

function checkAttributes(resource: Resource, review: AnyObject): void {
  const spec = isRecord(review.spec) ? review.spec : {};
  if ((spec.resourceAttributes === undefined) === (spec.nonResourceAttributes === undefined)) {
    throw statusErrors.invalid(resource.api, '', [
      {
        reason: 'FieldValueInvalid',
        field: 'spec.resourceAttributes',
        message: 'Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified',
      },
    ]);
  }
}
