/**
 * The native side's numbers as codes of the table: enum fl_error_code (native/include/flashd/error.h) and enum fl_fault (frame.h).
 * A test compares both with the headers.
 */
import type { ErrorCode } from './table.ts';

export const NATIVE_ERRORS: Readonly<Record<number, { name: string; code: ErrorCode }>> = {
  1: { name: 'FL_ERR_SYSTEM', code: 'sandbox_unavailable' },
  2: { name: 'FL_ERR_BAD_MESSAGE', code: 'internal_error' },
  3: { name: 'FL_ERR_BAD_LIMIT', code: 'internal_error' },
  4: { name: 'FL_ERR_NO_RUNTIME', code: 'runtime_not_ready' },
  5: { name: 'FL_ERR_NO_INSTANCE', code: 'internal_error' },
  6: { name: 'FL_ERR_FULL', code: 'overloaded' },
  7: { name: 'FL_ERR_CHILD_LOST', code: 'sandbox_unavailable' },
  8: { name: 'FL_ERR_TEMPLATE', code: 'runtime_not_ready' },
  9: { name: 'FL_ERR_UNSUPPORTED', code: 'sandbox_unavailable' },
  10: { name: 'FL_ERR_NETWORK', code: 'network_unavailable' },
  11: { name: 'FL_ERR_ISOLATION', code: 'isolation_unavailable' },
};

export const FUNCTION_FAULTS: Readonly<Record<number, { name: string; code: ErrorCode }>> = {
  1: { name: 'FL_FAULT_NO_HANDLER', code: 'handler_not_found' },
  2: { name: 'FL_FAULT_LOAD', code: 'function_load_failed' },
  3: { name: 'FL_FAULT_CALL', code: 'function_error' },
  4: { name: 'FL_FAULT_RESPONSE', code: 'response_invalid' },
  5: { name: 'FL_FAULT_EXIT', code: 'function_exited' },
};

/** Unknown numbers are a disagreement between the two sides: ours. */
export function nativeErrorCode(code: number): ErrorCode {
  return NATIVE_ERRORS[code]?.code ?? 'internal_error';
}

/** An instance chooses the number, and it is hostile: unknown ones are its protocol error. */
export function faultCode(fault: number): ErrorCode {
  return FUNCTION_FAULTS[fault]?.code ?? 'function_protocol_error';
}
