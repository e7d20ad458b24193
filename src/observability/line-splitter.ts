/**
 * Bytes in any portions → lines, in bounded memory: a line longer than the limit is cut and the rest of it is passed over.
 * Chunks are only valid during push(), so what is kept of them is copied.
 */
export type LineListener = (text: string, cut: boolean) => void;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export class LineSplitter {
  readonly #lineBytes: number;
  /** The beginning of a line whose end has not come yet. */
  #partial: Buffer | undefined;
  #length = 0;
  /** The current line has been delivered cut; its rest is passed over. */
  #skipping = false;

  constructor(lineBytes: number) {
    this.#lineBytes = lineBytes;
  }

  push(chunk: Uint8Array, listener: LineListener): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from);
      const end = newline === -1 ? bytes.length : newline;
      this.#take(bytes.subarray(from, end), newline !== -1, listener);
      from = end + 1;
    }
  }

  /** A chunk that is not looked at: the lines that it begins or ends in the middle of are lost with it. */
  skip(chunk: Uint8Array): void {
    this.#partial = undefined;
    this.#length = 0;
    this.#skipping = chunk.at(-1) !== NEWLINE;
  }

  /** Something stands without a newline. */
  get partial(): boolean {
    return this.#length > 0;
  }

  /** The stream is over, or has been silent for long: what stands without a newline is a line, too. */
  end(listener: LineListener): void {
    if (this.#length > 0) this.#deliver(false, listener);
  }

  #take(part: Buffer, complete: boolean, listener: LineListener): void {
    if (this.#skipping) {
      if (complete) this.#skipping = false;
      return;
    }
    const room = this.#lineBytes - this.#length;
    if (complete && this.#length === 0 && part.length <= room) {
      // FAST PATH: a whole line in one chunk
      listener(textOf(part), false);
      return;
    }
    this.#keep(part.subarray(0, room));
    if (part.length > room) {
      this.#deliver(true, listener);
      this.#skipping = !complete;
    } else if (complete) this.#deliver(false, listener);
  }

  #keep(part: Buffer): void {
    this.#partial ??= Buffer.allocUnsafe(Math.min(this.#lineBytes, 1024));
    if (this.#partial.length < this.#length + part.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#lineBytes, Math.max(this.#partial.length * 2, this.#length + part.length)));
      this.#partial.copy(larger, 0, 0, this.#length);
      this.#partial = larger;
    }
    part.copy(this.#partial, this.#length);
    this.#length += part.length;
  }

  #deliver(cut: boolean, listener: LineListener): void {
    const text = this.#partial === undefined ? '' : textOf(this.#partial.subarray(0, this.#length));
    this.#partial = undefined;
    this.#length = 0;
    listener(text, cut);
  }
}

function textOf(line: Buffer): string {
  const end = line.at(-1) === CARRIAGE_RETURN ? line.length - 1 : line.length;
  return line.toString('utf8', 0, end);
}
