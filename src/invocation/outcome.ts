/**
 * What an instance's end or fault means for the invocation that it interrupted: the one place where signals, exit codes, out-of-memory kills and
 * refused forks become error codes. A function's fault never becomes a platform error.
 */
import { constants } from 'node:os';
import { FlashdError } from '../errors/index.ts';
import { faultCode, nativeErrorCode } from '../errors/native.ts';
import type { WorkEnd } from '../pool/pooled-instance.ts';
import type { Failed, InstanceEnd } from '../sandbox/contract.ts';

const SIGNAL_NAMES = new Map<number, string>(Object.entries(constants.signals).map(([name, number]) => [number, name]));

export function endError(end: WorkEnd): FlashdError {
  switch (end.kind) {
    case 'lost':
      return new FlashdError('sandbox_unavailable', { message: 'the sandbox of this invocation was lost' });
    case 'failed':
      return failedError(end.failed);
    case 'ended':
      return endedError(end.end);
  }
}

/** FAILED: the instance never came into being. Another attempt may succeed for every reason but a disagreement between the two sides. */
export function failedError(failed: Failed): FlashdError {
  const what = failed.op === '' ? failed.detail : `${failed.op}: ${failed.detail}`;
  return new FlashdError(nativeErrorCode(failed.code), {
    message: `no instance could be made: ${what}`,
    details: { operation: failed.op, errno: failed.errno },
  });
}

function endedError(end: InstanceEnd): FlashdError {
  if (end.oomKills > 0) return new FlashdError('function_out_of_memory', { details: { memoryPeakBytes: end.memoryPeakBytes } });
  if (end.sockets > 0) return new FlashdError('function_out_of_sockets', { details: { sockets: end.sockets } });
  if (end.broken?.reason === 'garbage') {
    if (end.broken.detail === 'too-large') return new FlashdError('response_too_large');
    return new FlashdError('function_protocol_error', { details: { reason: end.broken.detail } });
  }
  switch (end.how) {
    case 'exited':
      if (end.pidsRefused > 0) return new FlashdError('function_out_of_processes', { details: { exitStatus: end.status, refusedForks: end.pidsRefused } });
      return new FlashdError('function_exited', {
        message: `the function ended its process with status ${end.status} before it answered`,
        details: { exitStatus: end.status },
      });
    case 'signaled': {
      const signal = SIGNAL_NAMES.get(end.status) ?? `signal ${end.status}`;
      if (end.pidsRefused > 0) return new FlashdError('function_out_of_processes', { details: { signal, refusedForks: end.pidsRefused } });
      return new FlashdError('function_crashed', {
        message: `the function was killed by ${signal} before it answered`,
        details: { signal },
      });
    }
    case 'destroyed':
    case 'unknown':
      return new FlashdError('function_protocol_error', { details: { reason: end.broken?.reason ?? 'destroyed' } });
  }
}

/** An ERROR frame. text: "type\0message\0stack\0"; the details carry Lambda's names. */
export function faultError(fault: number, text: string): FlashdError {
  const [errorType = '', errorMessage = '', stack = ''] = text.split('\0');
  const stackTrace = stack === '' ? [] : stack.split('\n');
  return new FlashdError(faultCode(fault), { details: { errorType, errorMessage, stackTrace } });
}
