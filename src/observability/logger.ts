/**
 * flashd's own log: JSON lines on standard error, by pino. Writes never block the event loop: what a slow reader does not take is kept up
 * to a limit, then dropped. What functions print does not come here (function-logs.ts).
 */
import { destination, pino, stdTimeFunctions, type Logger } from 'pino';

export type { Logger } from 'pino';

const BUFFERED_BYTES_MAX = 4 * 1024 * 1024;

export function createLogger(level: string): Logger {
  const output = destination({ fd: 2, sync: false, maxLength: BUFFERED_BYTES_MAX });
  return pino(
    { level, base: { pid: process.pid }, timestamp: stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    output,
  );
}
