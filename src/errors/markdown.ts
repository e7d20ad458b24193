/** src/errors/README.md, generated from the table of codes; a test compares the file with this text. */
import { ERROR_TABLE, type ErrorEntry } from './table.ts';

export function errorsMarkdown(): string {
  const rows = Object.entries<ErrorEntry>(ERROR_TABLE).map(
    ([code, { kind, status, retryable, message, hint }]) =>
      `| \`${code}\` | ${kind} | ${status} | ${retryable ? 'yes' : ''} | ${message} | ${hint} |`,
  );
  return [
    '# Errors',
    '',
    'An error response is `{"error": {"code", "message", "hint", "requestId", "details"?}}`; the CLI prints `flashd: CODE: MESSAGE` and a hint, or the same JSON with `--json`.',
    "The kind says whose fault it is: the client's, the function's (always 502), a lack of capacity, time, or flashd's own.",
    "For a function's errors `details` holds `errorType`, `errorMessage` and `stackTrace`. Retryable: the same request may succeed later as it is.",
    '',
    'Exit codes of the CLI: 0; 100 when the kind is client; 101 for `internal_error`; 111 for all else.',
    '',
    '| code | kind | status | retryable | meaning | what to do |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
