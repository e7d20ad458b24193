/**
 * What functions print: split into lines, tagged, rate-limited per function, kept in a ring in memory and in a rotating file, and given to
 * whoever follows. Everything here is bounded; a flood costs its function lines (told by an entry that counts them), and nobody else
 * anything.
 *
 *   write(labels, stream, chunk) ─▶ rate limit ─▶ LineSplitter (two per instance) ─▶ rate limit ─▶ ring, file, followers
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LineSplitter } from './line-splitter.ts';
import { LogFile } from './log-file.ts';

export type LogEntry = {
  /** ISO 8601 */
  readonly time: string;
  readonly function: string;
  readonly version: string;
  readonly instance: number;
  /** The request that the instance was working on; absent when there was none, or several. */
  readonly invocation?: string;
  /** Not what it wrote: audit, what its policy for system calls tells of it; limit, what it met of its limits. */
  readonly stream: 'stdout' | 'stderr' | 'audit' | 'limit';
  readonly message: string;
  /** The line was longer than the limit. */
  readonly cut?: true;
  /** Of an audit entry: the call, what became of it, and its arguments. */
  readonly syscall?: object;
  /** In place of a message: so many lines (and bytes) were over the rate. */
  readonly dropped?: { readonly lines: number; readonly bytes: number };
};

export type FunctionLogsOptions = {
  directory: string;
  linesPerSecond: number;
  bytesPerSecond: number;
  lineBytes: number;
  fileBytes: number;
  /** A log file cannot be written: said at most once a minute. */
  onError: (error: unknown) => void;
};

/**
 * Of one instance: the same object for its whole life, changed by its owner as it is numbered and gets invocations ("" when there is none
 * or several).
 */
export type LogLabels = { readonly function: string; readonly version: string; instance: number; invocation: string };

/** How long a line may stand without its newline before it is logged as it is. */
const PARTIAL_LINE_MS = 100;
const BURST_SECONDS = 10;
const RING_ENTRIES = 1000;
const RING_BYTES = 512 * 1024;
const FILE_PENDING_BYTES = 2 * 1024 * 1024;
const TAIL_BYTES = 4 * 1024 * 1024;
const ERROR_INTERVAL_MS = 60_000;
export const LOG_LINES_MAX = 10_000;

export class FunctionLogs {
  readonly #options: FunctionLogsOptions;
  readonly #logs = new Map<string, FunctionLog>();
  readonly #outputs = new WeakMap<LogLabels, InstanceOutput>();
  #lastError = -Infinity;

  constructor(options: FunctionLogsOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true, mode: 0o750 });
  }

  /** stream: 1 stdout, 2 stderr. An empty chunk ends that stream. The chunk may be reused afterwards. False when some of it was dropped. */
  write(labels: LogLabels, stream: 1 | 2, chunk: Uint8Array): boolean {
    let output = this.#outputs.get(labels);
    if (output === undefined)
      this.#outputs.set(labels, (output = new InstanceOutput(this.#log(labels.function), labels, this.#options.lineBytes)));
    return output.write(stream, chunk);
  }

  /** A system call that the function's policy tells of: subject to its rate like everything else. */
  audit(labels: LogLabels, message: string, syscall: object): void {
    this.#log(labels.function).audit(labels, message, syscall);
  }

  /** A limit that an instance met: told at its end. */
  limit(labels: LogLabels, message: string): void {
    this.#log(labels.function).limit(labels, message);
  }

  /** The last entries, oldest first. */
  async read(functionName: string, lines: number): Promise<LogEntry[]> {
    return this.#log(functionName).read(Math.min(lines, LOG_LINES_MAX));
  }

  /** Every entry from now on. Returns the way to stop. The listener must not throw. */
  follow(functionName: string, listener: (entry: LogEntry) => void): () => void {
    const { followers } = this.#log(functionName);
    followers.add(listener);
    return () => followers.delete(listener);
  }

  /** The function has been removed: its files go, and what its last instances still print reaches only those who follow. */
  async remove(functionName: string): Promise<void> {
    const log = this.#log(functionName);
    this.#logs.delete(functionName);
    await log.remove();
  }

  /** For the metrics. */
  *counters(): Generator<{ functionName: string; lines: number; dropped: number }> {
    for (const [functionName, log] of this.#logs) yield { functionName, lines: log.lines, dropped: log.droppedTotal };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#logs.values()].map((log) => log.close()));
  }

  #log(functionName: string): FunctionLog {
    let log = this.#logs.get(functionName);
    if (log === undefined) {
      log = new FunctionLog(this.#options, join(this.#options.directory, `${functionName}.jsonl`), (error) => this.#report(error));
      this.#logs.set(functionName, log);
    }
    return log;
  }

  #report(error: unknown): void {
    const now = performance.now();
    if (now - this.#lastError < ERROR_INTERVAL_MS) return;
    this.#lastError = now;
    this.#options.onError(error);
  }
}

const END = new Uint8Array(0);

/** One instance's two streams. */
class InstanceOutput {
  readonly #log: FunctionLog;
  readonly #labels: LogLabels;
  readonly #splitters: readonly [LineSplitter, LineSplitter];
  #flush: NodeJS.Timeout | undefined;

  constructor(log: FunctionLog, labels: LogLabels, lineBytes: number) {
    this.#log = log;
    this.#labels = labels;
    this.#splitters = [new LineSplitter(lineBytes), new LineSplitter(lineBytes)];
  }

  write(stream: 1 | 2, chunk: Uint8Array): boolean {
    const lost = this.#log.lostBytes;
    const name = stream === 1 ? 'stdout' : 'stderr';
    const splitter = this.#splitters[stream - 1]!;
    if (chunk.length === 0) splitter.end((text, cut) => this.#log.add(this.#labels, name, text, cut));
    else if (this.#log.admits(this.#labels, chunk)) splitter.push(chunk, (text, cut) => this.#log.add(this.#labels, name, text, cut));
    else splitter.skip(chunk);
    if (splitter.partial) this.#flush ??= setTimeout(() => this.#flushPartial(), PARTIAL_LINE_MS).unref();
    return this.#log.lostBytes === lost;
  }

  #flushPartial(): void {
    this.#flush = undefined;
    this.write(1, END);
    this.write(2, END);
  }
}

class FunctionLog {
  readonly followers = new Set<(entry: LogEntry) => void>();
  lines = 0;
  droppedTotal = 0;
  lostBytes = 0;
  readonly #options: FunctionLogsOptions;
  readonly #file: LogFile;
  #ring: LogEntry[] = [];
  #ringBytes = 0;
  /** Token buckets. */
  #lineTokens: number;
  #byteTokens: number;
  #refilled = performance.now();
  #dropped = { lines: 0, bytes: 0 };
  /** Whose output was dropped last. */
  #droppedOf: LogLabels | undefined;
  #removed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FunctionLogsOptions, path: string, onError: (error: unknown) => void) {
    this.#options = options;
    this.#lineTokens = options.linesPerSecond * BURST_SECONDS;
    this.#byteTokens = options.bytesPerSecond * BURST_SECONDS;
    this.#file = new LogFile({ path, maxBytes: options.fileBytes, pendingBytesMax: FILE_PENDING_BYTES, onError });
  }

  /** Whether this chunk is looked at at all: a flood is counted without being split. */
  admits(labels: LogLabels, chunk: Uint8Array): boolean {
    this.#refill();
    if (this.#byteTokens >= 1 && this.#lineTokens >= 1) return true;
    let lines = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, at + 1)) lines++;
    this.#drop(labels, lines, chunk.length);
    return false;
  }

  audit(labels: LogLabels, message: string, syscall: object): void {
    this.#refill();
    this.#admit(labels, 'audit', message, { syscall });
  }

  limit(labels: LogLabels, message: string): void {
    this.#refill();
    this.#admit(labels, 'limit', message, {});
  }

  add(labels: LogLabels, stream: 'stdout' | 'stderr', message: string, cut: boolean): void {
    this.#admit(labels, stream, message, cut ? { cut } : {});
  }

  #admit(labels: LogLabels, stream: LogEntry['stream'], message: string, rest: Rest): void {
    if (this.#lineTokens < 1 || this.#byteTokens < 1) {
      this.#drop(labels, 1, message.length + 1);
      return;
    }
    this.#lineTokens--;
    this.#byteTokens -= message.length + 1;
    if (this.#dropped.bytes > 0) this.#tellDropped();
    this.#publish(entryOf(labels, stream, message, rest));
  }

  async read(lines: number): Promise<LogEntry[]> {
    if (lines <= this.#ring.length) return this.#ring.slice(this.#ring.length - lines);
    const tail = await this.#file.tail(lines, TAIL_BYTES);
    return tail.flatMap((line) => {
      try {
        return [JSON.parse(line) as LogEntry];
      } catch {
        // A line that a crash cut in two.
        return [];
      }
    });
  }

  async remove(): Promise<void> {
    this.#removed = true;
    this.#ring = [];
    this.#ringBytes = 0;
    await this.#file.remove();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#dropped.bytes > 0) this.#tellDropped();
    this.followers.clear();
    await this.#file.flush();
  }

  #refill(): void {
    const now = performance.now();
    const seconds = (now - this.#refilled) / 1000;
    this.#refilled = now;
    this.#lineTokens = Math.min(this.#options.linesPerSecond * BURST_SECONDS, this.#lineTokens + seconds * this.#options.linesPerSecond);
    this.#byteTokens = Math.min(this.#options.bytesPerSecond * BURST_SECONDS, this.#byteTokens + seconds * this.#options.bytesPerSecond);
  }

  #drop(labels: LogLabels, lines: number, bytes: number): void {
    this.#droppedOf = labels;
    this.#dropped.lines += lines;
    this.#dropped.bytes += bytes;
    this.droppedTotal += lines;
    this.lostBytes += bytes;
    this.#timer ??= setTimeout(() => this.#tellDropped(), 1000).unref();
  }

  /** Not rate-limited itself, but at most one a second and one a kept line. */
  #tellDropped(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const dropped = this.#dropped;
    this.#dropped = { lines: 0, bytes: 0 };
    this.#publish(entryOf(this.#droppedOf!, 'stderr', '', { dropped }));
  }

  #publish(entry: LogEntry): void {
    this.lines++;
    this.#ring.push(entry);
    this.#ringBytes += entry.message.length;
    if (this.#ring.length > RING_ENTRIES * 2 || this.#ringBytes > RING_BYTES * 2) this.#shrinkRing();
    if (!this.#removed) this.#file.append(JSON.stringify(entry));
    for (const follower of this.followers) follower(entry);
  }

  /** Halves at once, so that the cost is spread over many entries. */
  #shrinkRing(): void {
    let from = Math.max(0, this.#ring.length - RING_ENTRIES);
    let bytes = 0;
    for (let at = this.#ring.length - 1; at >= from; at--) {
      bytes += this.#ring[at]!.message.length;
      if (bytes > RING_BYTES) from = at + 1;
    }
    this.#ring = this.#ring.slice(from);
    this.#ringBytes = this.#ring.reduce((sum, entry) => sum + entry.message.length, 0);
  }
}

type Rest = Pick<LogEntry, 'cut' | 'dropped' | 'syscall'>;

function entryOf(labels: LogLabels, stream: LogEntry['stream'], message: string, rest: Rest): LogEntry {
  return {
    time: new Date().toISOString(),
    function: labels.function,
    version: labels.version,
    instance: labels.instance,
    ...(labels.invocation === '' ? {} : { invocation: labels.invocation }),
    stream,
    message,
    ...rest,
  };
}
