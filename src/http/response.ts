/**
 * Writing responses with uWebSockets.js: a function's result, an error, a small text. Result headers come validated from the addon; what is decided here is which
 * of them a function may not set, and when there is no body. Everything is written inside one cork.
 */
import { STATUS_CODES } from 'node:http';
import type { HttpResponse } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';
import type { ResponseBody } from '../sandbox/contract.ts';

/** The status line's text by status; what cannot be an answer to a request has none. */
const STATUS_LINES: readonly (string | undefined)[] = Array.from({ length: 600 }, (_, status) =>
  status < 200 ? undefined : `${status} ${STATUS_CODES[status] ?? 'Unknown'}`,
);

/** Bodies above this are written as the client reads, so that a large one does not hold up everybody else for its copying. */
const WHOLE_BODY_BYTES = 64 * 1024;

const RETRY_AFTER_SECONDS = 1;

export type Result = {
  readonly status: number;
  /** "name\0value\0…" as latin1 text. */
  readonly headers: string;
  readonly body: ResponseBody;
};

export type Marks = {
  readonly requestId: string;
  /** "" when no instance was given the request. */
  readonly start: string;
  readonly timing: string;
};

/** Whether a function may answer with this status. */
export function isResponseStatus(status: number): boolean {
  return STATUS_LINES[status] !== undefined;
}

/** Who accounts for a body that waits for its client to read it. */
export interface BodyHolder {
  hold(bytes: number): void;
  /** So many of them have gone out. */
  sent(bytes: number): void;
  letGo(): void;
}

/** To be called inside res.cork(). */
export function writeResult(res: HttpResponse, isHead: boolean, result: Result, marks: Marks, holder: BodyHolder, close: boolean): void {
  const { status, body } = result;
  if (status !== 200) res.writeStatus(STATUS_LINES[status]!);
  writeHeaders(res, result.headers);
  writeMarks(res, marks);
  if (close && (isHead || status === 204 || status === 304 || body === null)) {
    // This version's endWithoutBody cannot close.
    res.end('', true);
  } else if (status === 204 || status === 304) {
    res.endWithoutBody();
  } else if (isHead) {
    // With a length as its argument this version waits for the body for ever.
    res.writeHeader('content-length', String(body === null ? 0 : typeof body === 'string' ? body.length : body.byteLength));
    res.endWithoutBody();
  } else if (body === null) {
    res.end();
  } else if (typeof body === 'string' || body.byteLength <= WHOLE_BODY_BYTES) {
    res.end(body, close);
  } else {
    // tryEnd cannot close: here it is the client that does, and until it has read all of this whatever it sends ends the connection.
    if (close) res.writeHeader('connection', 'close');
    writeLarge(res, body, holder);
  }
}

export function writeError(res: HttpResponse, isHead: boolean, error: FlashdError, marks: Marks, close = false): void {
  const text = JSON.stringify({ error: { ...error.toJSON(), requestId: marks.requestId } }) + '\n';
  res.cork(() => {
    res.writeStatus(STATUS_LINES[error.status]!);
    res.writeHeader('content-type', 'application/json');
    if (error.status === 429 || error.status === 503) res.writeHeader('retry-after', String(error.details?.['retryAfterSeconds'] ?? RETRY_AFTER_SECONDS));
    if (error.status === 401) res.writeHeader('www-authenticate', 'Bearer');
    writeMarks(res, marks);
    if (isHead && !close) {
      res.writeHeader('content-length', String(Buffer.byteLength(text)));
      res.endWithoutBody();
    } else {
      // This version's endWithoutBody cannot close: a HEAD that has to be is told of an empty body.
      res.end(isHead ? '' : text, close);
    }
  });
}

/**
 * Refuses a request of which the rest is unread or nonsense, and closes the connection. Not at once: inside the parser's callback uWebSockets.js would
 * go on with what follows in the same packet. While an answer is outstanding it closes instead of taking another request.
 */
export function refuse(res: HttpResponse, isHead: boolean, error: FlashdError, marks: Marks): void {
  let gone = false;
  res.onAborted(() => (gone = true));
  setImmediate(() => {
    if (!gone) writeError(res, isHead, error, marks, true);
  });
}

export function writeStatus(res: HttpResponse, status: number): HttpResponse {
  return res.writeStatus(STATUS_LINES[status]!);
}

export function writeText(res: HttpResponse, isHead: boolean, status: number, contentType: string, text: string): void {
  res.cork(() => {
    res.writeStatus(STATUS_LINES[status]!).writeHeader('content-type', contentType).writeHeader('cache-control', 'no-store');
    if (isHead) res.writeHeader('content-length', String(Buffer.byteLength(text))).endWithoutBody();
    else res.end(text);
  });
}

function writeMarks(res: HttpResponse, marks: Marks): void {
  res.writeHeader('x-request-id', marks.requestId);
  if (marks.start !== '') res.writeHeader('x-flashd-start', marks.start);
  if (marks.timing !== '') res.writeHeader('server-timing', marks.timing);
}

function writeHeaders(res: HttpResponse, headers: string): void {
  const ascii = isAscii(headers);
  for (let start = 0; start < headers.length;) {
    const nameEnd = headers.indexOf('\0', start);
    const valueEnd = headers.indexOf('\0', nameEnd + 1);
    const name = headers.slice(start, nameEnd);
    if (!isReserved(name)) {
      const value = headers.slice(nameEnd + 1, valueEnd);
      // A string would be written as UTF-8: bytes above 127 have to stay the bytes that they are.
      res.writeHeader(name, ascii ? value : Buffer.from(value, 'latin1'));
    }
    start = valueEnd + 1;
  }
}

/** What the server itself says: about the connection, the length, and the invocation. */
function isReserved(name: string): boolean {
  switch (name.length) {
    case 4:
      return name.toLowerCase() === 'date';
    case 7:
      return name.toLowerCase() === 'upgrade' || name.toLowerCase() === 'trailer';
    case 10:
      return name.toLowerCase() === 'connection' || name.toLowerCase() === 'keep-alive';
    case 12:
      return name.toLowerCase() === 'x-request-id';
    case 14:
      return name.toLowerCase() === 'content-length' || name.toLowerCase() === 'x-flashd-start';
    case 16:
      return name.toLowerCase() === 'proxy-connection';
    case 17:
      return name.toLowerCase() === 'transfer-encoding';
    default:
      return false;
  }
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 127) return false;
  return true;
}

/** uWebSockets.js closes the connection of a client that reads nothing for about ten seconds. */
function writeLarge(res: HttpResponse, body: ArrayBuffer, holder: BodyHolder): void {
  holder.hold(body.byteLength);
  const start = res.getWriteOffset();
  res.onWritable((offset) => {
    holder.sent(offset - start);
    const [, done] = res.tryEnd(new Uint8Array(body, offset - start), body.byteLength);
    if (done) holder.letGo();
    return done;
  });
  const [, done] = res.tryEnd(body, body.byteLength);
  if (done) holder.letGo();
}
