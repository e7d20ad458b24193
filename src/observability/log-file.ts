/**
 * One function's log on disk: NAME.jsonl, and NAME.jsonl.1 which was full. Lines are gathered and appended by one write at a time; nothing
 * is synced, and what the disk does not take in time is dropped and counted. Holds no descriptor between writes.
 */
import { appendFile, open, rename, rm, stat } from 'node:fs/promises';
import { isSystemError } from '../errors/index.ts';

export type LogFileOptions = { path: string; maxBytes: number; pendingBytesMax: number; onError: (error: unknown) => void };

const FLUSH_DELAY_MS = 100;

export class LogFile {
  readonly #options: LogFileOptions;
  #pending: string[] = [];
  #pendingBytes = 0;
  /** Unknown until the first write. */
  #size: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  /** Lines that were lost because the disk was too slow, full or broken. */
  lost = 0;

  constructor(options: LogFileOptions) {
    this.#options = options;
  }

  append(line: string): void {
    if (this.#pendingBytes > this.#options.pendingBytesMax) {
      this.lost++;
      return;
    }
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_DELAY_MS).unref();
  }

  /** Resolves when everything appended so far stands in the file or is lost. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** The last lines of both files, oldest first. */
  async tail(lines: number, bytesMax: number): Promise<string[]> {
    await this.flush();
    const current = await lastBytes(this.#options.path, bytesMax);
    const found = linesOf(current);
    if (found.length >= lines) return found.slice(-lines);
    const older = linesOf(await lastBytes(`${this.#options.path}.1`, bytesMax - current.length));
    return [...older, ...found].slice(-lines);
  }

  async remove(): Promise<void> {
    this.#pending = [];
    await this.flush();
    await rm(this.#options.path, { force: true });
    await rm(`${this.#options.path}.1`, { force: true });
    this.#size = undefined;
  }

  async #write(): Promise<void> {
    const lines = this.#pending;
    if (lines.length === 0) return;
    this.#pending = [];
    this.#pendingBytes = 0;
    const text = Buffer.from(`${lines.join('\n')}\n`);
    try {
      this.#size ??= await sizeOf(this.#options.path);
      if (this.#size > 0 && this.#size + text.length > this.#options.maxBytes) {
        await rename(this.#options.path, `${this.#options.path}.1`);
        this.#size = 0;
      }
      await appendFile(this.#options.path, text, { mode: 0o640 });
      this.#size += text.length;
    } catch (error) {
      this.lost += lines.length;
      this.#size = undefined;
      this.#options.onError(error);
    }
  }
}

const linesOf = (text: string) => text.split('\n').filter((line) => line !== '');

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (status) => status.size,
    (error: unknown) => {
      if (isSystemError(error) && error.code === 'ENOENT') return 0;
      throw error;
    },
  );
}

async function lastBytes(path: string, bytesMax: number): Promise<string> {
  if (bytesMax <= 0) return '';
  let handle;
  try {
    handle = await open(path);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const from = Math.max(0, size - bytesMax);
    const buffer = Buffer.alloc(size - from);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from);
    const text = buffer.toString('utf8', 0, bytesRead);
    // A cut beginning is no line.
    return from === 0 ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    await handle.close();
  }
}
