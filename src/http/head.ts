/**
 * The head of a request, copied out of uWebSockets.js (whose request object lives only during the callback), and the checks that this version of it leaves to
 * us: it takes several or malformed Content-Length headers and any Transfer-Encoding, which is how requests are smuggled past proxies.
 */
import { FlashdError } from '../errors/index.ts';

/** What we read of uWebSockets.js's request. */
export interface RawRequest {
  getUrl(): string;
  getQuery(): string | undefined;
  getMethod(): string;
  forEach(visit: (name: string, value: string) => void): void;
}

/** Digits of a Content-Length that is still a safe integer. */
const LENGTH_DIGITS_MAX = 15;
const METHOD_LETTERS_MAX = 20;

export class RequestHead {
  readonly url: string;
  readonly query: string;
  /** As uWebSockets.js gives it: lower case. */
  readonly rawMethod: string;
  /** name, value, …; names in lower case. */
  readonly headers: string[] = [];
  host = '';
  userAgent = '';
  contentType: string | undefined;
  #contentLength: string | undefined;
  #transferEncoding: string | undefined;
  #duplicate: string | undefined;
  #hosts = 0;

  constructor(request: RawRequest) {
    this.url = request.getUrl();
    this.query = request.getQuery() ?? '';
    this.rawMethod = request.getMethod();
    if (this.rawMethod !== 'get' && this.rawMethod !== 'post') checkMethod(this.rawMethod);
    filling = this;
    request.forEach(fill);
  }

  get method(): string {
    switch (this.rawMethod) {
      case 'get':
        return 'GET';
      case 'post':
        return 'POST';
      default:
        return this.rawMethod.toUpperCase();
    }
  }

  /**
   * The parser is lenient with chunks (a missing size, characters that are no digits, line ends): where such a body ends another party may see differently, so
   * nothing that follows it on its connection is taken for a request.
   */
  get isChunked(): boolean {
    return this.#transferEncoding !== undefined;
  }

  /** Bytes of the body; 0 when there is none; undefined when it is chunked. Throws bad_request. */
  bodyLength(): number | undefined {
    if (this.#duplicate !== undefined) throw malformed(`more than one ${this.#duplicate} header`);
    if (this.#transferEncoding !== undefined) {
      if (this.#contentLength !== undefined) throw malformed('both Content-Length and Transfer-Encoding');
      if (this.#transferEncoding !== 'chunked') throw malformed('a Transfer-Encoding other than chunked');
      return undefined;
    }
    return this.#contentLength === undefined ? 0 : parseLength(this.#contentLength);
  }

  /** The first one's value. */
  header(name: string): string | undefined {
    for (let index = 0; index < this.headers.length; index += 2) if (this.headers[index] === name) return this.headers[index + 1];
    return undefined;
  }

  /** All of this name: the function does not get them. */
  drop(name: string): void {
    for (let index = this.headers.length - 2; index >= 0; index -= 2) if (this.headers[index] === name) this.headers.splice(index, 2);
  }

  /** Called for every header, in order. */
  add(name: string, value: string): void {
    this.headers.push(name, value);
    // By length first: most headers are none of these.
    switch (name.length) {
      case 4:
        if (name !== 'host') return;
        if (++this.#hosts > 1) this.#duplicate = 'Host';
        this.host = value;
        return;
      case 10:
        if (name === 'user-agent') this.userAgent = value;
        return;
      case 12:
        if (name === 'content-type') this.contentType = value;
        return;
      case 14:
        if (name !== 'content-length') return;
        if (this.#contentLength !== undefined) this.#duplicate = 'Content-Length';
        this.#contentLength = value;
        return;
      case 17:
        if (name !== 'transfer-encoding') return;
        if (this.#transferEncoding !== undefined) this.#duplicate = 'Transfer-Encoding';
        this.#transferEncoding = value;
        return;
    }
  }
}

/** One visitor for all requests: it runs to its end inside the constructor. */
let filling: RequestHead;
const fill = (name: string, value: string): void => filling.add(name, value);

function parseLength(text: string): number {
  if (text.length === 0 || text.length > LENGTH_DIGITS_MAX) throw malformed('a malformed Content-Length');
  let length = 0;
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (digit < 0 || digit > 9) throw malformed('a malformed Content-Length');
    length = length * 10 + digit;
  }
  return length;
}

/** The parser takes any printable character, quotes included, and the event has the method as it is. Nothing but a letter becomes one when its case is changed. */
function checkMethod(method: string): void {
  if (method.length === 0 || method.length > METHOD_LETTERS_MAX) throw malformed('an unusual method');
  for (let index = 0; index < method.length; index++) {
    const code = method.charCodeAt(index);
    if (code < 97 || code > 122) throw malformed('an unusual method');
  }
}

/** What cannot stand in an address; U+FFFD is what the parser makes of bytes that are no UTF-8. Of the encodings in a query none is wrong: it is data. */
export function checkTarget(path: string, query: string): void {
  if (path.includes('%')) checkPath(path);
  if (path.includes('#') || query.includes('#')) throw new FlashdError('bad_request', { message: 'the address has a fragment' });
  if (path.includes('\ufffd') || query.includes('\ufffd')) throw new FlashdError('bad_request', { message: 'the address is not UTF-8' });
}

/** Percent signs are followed by two hexadecimal digits, and none of them is a NUL in disguise. */
function checkPath(path: string): void {
  for (let at = path.indexOf('%'); at !== -1; at = path.indexOf('%', at + 1)) {
    const high = hexDigit(path.charCodeAt(at + 1));
    const low = hexDigit(path.charCodeAt(at + 2));
    if (high === -1 || low === -1) throw new FlashdError('bad_request', { message: 'the path has an invalid percent-encoding' });
    if (high + low === 0) throw new FlashdError('bad_request', { message: 'the path has a NUL character' });
  }
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

function malformed(what: string): FlashdError {
  return new FlashdError('bad_request', { message: `the request has ${what}` });
}
