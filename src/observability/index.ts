/** flashd's own log, the functions' logs, and the metrics. */
export { createLogger, type Logger } from './logger.ts';
export { FunctionLogs, LOG_LINES_MAX, type LogEntry, type LogLabels } from './function-logs.ts';
export { Metrics, type HistogramSample, type Labels, type Sample } from './metrics.ts';
