/**
 * FlashdError: the only error that crosses a module's border. Its code selects the table's row; kind, HTTP status and retryability follow
 * from it. A place that throws may say something more precise than the table does, and add details for machines.
 */
import { ERROR_TABLE, type ErrorCode, type ErrorEntry, type ErrorKind } from './table.ts';

export { ERROR_TABLE, type ErrorCode, type ErrorEntry, type ErrorKind } from './table.ts';

export type ErrorOptions = {
  message?: string;
  hint?: string;
  details?: Record<string, unknown>;
  cause?: unknown;
};

export type ErrorBody = { code: ErrorCode; message: string; hint: string; details?: Record<string, unknown> };

export class FlashdError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly details?: Record<string, unknown>;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const row: ErrorEntry = ERROR_TABLE[code];
    super(options.message ?? row.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FlashdError';
    this.code = code;
    this.hint = options.hint ?? row.hint;
    if (options.details !== undefined) this.details = options.details;
  }

  get kind(): ErrorKind {
    return ERROR_TABLE[this.code].kind;
  }

  get status(): number {
    return ERROR_TABLE[this.code].status;
  }

  get retryable(): boolean {
    return ERROR_TABLE[this.code].retryable;
  }

  toJSON(): ErrorBody {
    const body: ErrorBody = { code: this.code, message: this.message, hint: this.hint };
    if (this.details !== undefined) body.details = this.details;
    return body;
  }
}

/**
 * Anything thrown, as a FlashdError: itself, a failed system call as system_error, all else as internal_error with the original as its
 * cause.
 */
export function toFlashdError(thrown: unknown): FlashdError {
  if (thrown instanceof FlashdError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (isSystemError(thrown)) return new FlashdError('system_error', { message, cause: thrown, details: { errno: thrown.code } });
  return new FlashdError('internal_error', { message, cause: thrown });
}

export function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException & { code: string } {
  return thrown instanceof Error && 'syscall' in thrown && 'code' in thrown && typeof thrown.code === 'string';
}

/** An error body received from another flashd process, as an error again. An unknown code is our own fault. */
export function fromErrorBody(body: { code?: unknown; message?: unknown; hint?: unknown; details?: unknown }): FlashdError {
  const known = typeof body.code === 'string' && Object.hasOwn(ERROR_TABLE, body.code);
  const options: ErrorOptions = {};
  if (typeof body.message === 'string') options.message = body.message;
  if (typeof body.hint === 'string') options.hint = body.hint;
  if (typeof body.details === 'object' && body.details !== null) options.details = body.details as Record<string, unknown>;
  return new FlashdError(known ? (body.code as ErrorCode) : 'internal_error', options);
}

/**
 * The process's exit code: 100 what the caller asked for is wrong, 101 our own bug, 111 everything around us (system, capacity, a user's
 * function).
 */
export function exitCode(error: FlashdError): 100 | 101 | 111 {
  if (error.kind === 'client') return 100;
  return error.code === 'internal_error' ? 101 : 111;
}
