/** The two channels of every verb: text for people, or JSON for machines (--json). Results go to stdout, all else to stderr. */
import { exitCode, type FlashdError } from '../errors/index.ts';

export class Output {
  readonly json: boolean;
  readonly #out: NodeJS.WritableStream;
  readonly #err: NodeJS.WritableStream;

  constructor(json: boolean, out: NodeJS.WritableStream = process.stdout, err: NodeJS.WritableStream = process.stderr) {
    this.json = json;
    this.#out = out;
    this.#err = err;
  }

  /** For people only. */
  line(text: string): void {
    if (!this.json) this.#out.write(`${text}\n`);
  }

  /** Beside the result; for people only. */
  warn(text: string): void {
    if (!this.json) this.#err.write(`${text}\n`);
  }

  /** For machines only: one JSON value a line. */
  value(value: unknown): void {
    if (this.json) this.#out.write(`${JSON.stringify(value)}\n`);
  }

  raw(bytes: Uint8Array): void {
    this.#out.write(bytes);
  }

  /** Columns padded to their widest cell; for people only. */
  table(rows: readonly (readonly string[])[]): void {
    const widths: number[] = [];
    for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
    for (const row of rows) this.line(row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd());
  }

  /** Overwrites itself; only on a terminal. */
  progress(text: string): void {
    if (!this.json && 'isTTY' in this.#err && this.#err.isTTY) this.#err.write(`\r\x1b[K${text}`);
  }

  error(error: FlashdError): number {
    if (this.json) this.#out.write(`${JSON.stringify({ error })}\n`);
    else this.#err.write(errorText(error));
    return exitCode(error);
  }
}

export function errorText(error: FlashdError): string {
  const lines = [`flashd: ${error.code}: ${error.message}`];
  const { errorType, errorMessage, stackTrace } = error.details ?? {};
  if (typeof errorMessage === 'string') lines.push(`  ${[errorType, errorMessage].filter((part) => part !== '').join(': ')}`);
  if (Array.isArray(stackTrace)) lines.push(...stackTrace.filter((frame) => frame !== '').map((frame) => `    ${frame}`));
  lines.push(`  hint: ${error.hint}`);
  return `${lines.join('\n')}\n`;
}
