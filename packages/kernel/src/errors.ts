import { WeftError } from '@weft/plan';
import { errnoName, errnoText } from './errno.ts';

export interface KernelErrorInit {
  readonly errno: number;
  /** What was asked: `add link`, `delete nft rule`. */
  readonly operation: string;
  /** What it was asked for: `veth0`, `10.0.0.0/24 via 10.0.0.1`. */
  readonly object: string;
  /** The kernel's own explanation (netlink extended ACK). */
  readonly extack?: string;
  readonly hint?: string;
  /** Every failure of a batch; the error itself is the first of them. */
  readonly errors?: readonly KernelError[];
}

/** A refusal by the kernel: which object, which operation, which errno, and the kernel's own words where it had any. */
export class KernelError extends WeftError {
  override readonly name = 'KernelError';
  readonly errno: number;
  readonly operation: string;
  readonly object: string;
  readonly extack: string | undefined;
  readonly errors: readonly KernelError[];

  constructor(init: KernelErrorInit) {
    const code = errnoName(init.errno);
    const why = init.extack ?? errnoText(init.errno);
    const more = init.errors !== undefined && init.errors.length > 1 ? ` (and ${init.errors.length - 1} more)` : '';
    const hint = init.hint ?? hintFor(code, init.operation, init.object);
    super({
      code,
      message: `cannot ${init.operation} ${init.object}: ${why} (${code})${more}`,
      ...(hint === undefined ? {} : { hint }),
    });
    this.errno = init.errno;
    this.operation = init.operation;
    this.object = init.object;
    this.extack = init.extack;
    this.errors = init.errors ?? [this];
  }
}

/** The first of several refusals, with all of them in `errors`; `errors` must not be empty. */
export function combineErrors(errors: readonly KernelError[]): KernelError {
  const first = errors[0] as KernelError;
  if (errors.length === 1) return first;
  return new KernelError({
    errno: first.errno,
    operation: first.operation,
    object: first.object,
    ...(first.extack === undefined ? {} : { extack: first.extack }),
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    errors,
  });
}

/** True for a `KernelError`, and when a code is given (`'EEXIST'`), one of that code. */
export function isKernelError(error: unknown, code?: string): error is KernelError {
  return error instanceof KernelError && (code === undefined || error.code === code);
}

function hintFor(code: string, operation: string, object: string): string | undefined {
  switch (code) {
    case 'EPERM':
    case 'EACCES':
      return 'run as root, or inside a user namespace that has CAP_NET_ADMIN over this network namespace';
    case 'EOPNOTSUPP':
    case 'EPROTONOSUPPORT':
      return operation.includes('link')
        ? `this kernel may lack the driver of ${object}: look for its CONFIG_ option (for example CONFIG_VXLAN) or load the module`
        : 'this kernel lacks the feature, or its module is not loaded';
    case 'EEXIST':
      return operation.startsWith('add') ? 'delete it first, or use replace' : undefined;
    case 'ENOBUFS':
      return 'raise net.core.rmem_max or read events faster';
    case 'EMSGSIZE':
      return 'the batch is larger than the socket may send: raise net.core.wmem_max, or allow it to be split';
    case 'ERESTART':
      return 'another program changed the nftables rules: read them again and retry';
    case 'EMFILE':
      return 'raise the limit of open files (ulimit -n)';
    default:
      return undefined;
  }
}
