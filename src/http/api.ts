/**
 * Management over HTTP: what comes below /api/ with a valid token goes to the management socket as it is, so that there is one router. Tokens themselves are
 * managed on the machine alone. Every answer ends its connection: what follows a body is not looked at.
 */
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import type { HttpResponse } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';
import type { RequestHead } from './head.ts';
import { writeStatus } from './response.ts';

export const API_PREFIX = '/api/';
const REQUESTS_MAX = 32;
/** Bytes on their way to the management socket before a client has to wait. */
const UPLOAD_BYTES_MAX = 1024 * 1024;

export class Api {
  readonly #socketPath: string;
  #requests = 0;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** The caller has shown a token. Throws what is to be refused at once; fail is told of what goes wrong later. */
  forward(res: HttpResponse, head: RequestHead, fail: (error: FlashdError) => void): void {
    const path = head.url.slice(API_PREFIX.length - 1);
    if (path === '/tokens' || path.startsWith('/tokens/')) throw new FlashdError('forbidden', { message: 'tokens are managed on the machine itself', hint: 'run `flashd token` there' });
    if (this.#requests >= REQUESTS_MAX) throw new FlashdError('overloaded', { message: `${REQUESTS_MAX} management requests are under way`, hint: 'retry in a moment' });
    const hasBody = head.bodyLength() !== 0;
    const call = request({ socketPath: this.#socketPath, method: head.method, path: head.query === '' ? path : `${path}?${head.query}`, headers: { host: 'flashd' }, agent: false });
    this.#requests++;
    call.once('close', () => this.#requests--);
    new Forwarding(res, call, hasBody, fail);
  }
}

class Forwarding {
  readonly #res: HttpResponse;
  readonly #call: ClientRequest;
  /** Answered, or the client is gone: res must not be touched any more. */
  #over = false;
  #paused = false;

  constructor(res: HttpResponse, call: ClientRequest, hasBody: boolean, fail: (error: FlashdError) => void) {
    this.#res = res;
    this.#call = call;
    res.onAborted(() => {
      this.#over = true;
      call.destroy();
    });
    call.on('response', (response) => (response.headers['content-length'] === undefined ? this.#stream(response) : this.#whole(response)));
    call.on('error', (cause) => {
      if (this.#over) return;
      this.#over = true;
      fail(new FlashdError('internal_error', { message: 'the management socket does not answer', cause }));
    });
    if (!hasBody) {
      call.end();
      return;
    }
    call.on('drain', () => {
      if (this.#paused && !this.#over) res.resume();
      this.#paused = false;
    });
    res.onData((chunk, isLast) => this.#upload(chunk, isLast));
  }

  #upload(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#call.destroyed) return;
    this.#call.write(Buffer.from(chunk.slice(0)));
    if (isLast) this.#call.end();
    else if (!this.#paused && !this.#over && this.#call.writableLength > UPLOAD_BYTES_MAX) {
      this.#paused = true;
      this.#res.pause();
    }
  }

  #whole(response: IncomingMessage): void {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => {
      this.#cork(() => this.#begin(response).end(Buffer.concat(chunks), true));
      this.#over = true;
    });
  }

  /** Logs: as they come, as fast as the client reads. Closed by the client, since what has been written in pieces cannot be closed here. */
  #stream(response: IncomingMessage): void {
    this.#cork(() => this.#begin(response).writeHeader('connection', 'close'));
    this.#res.onWritable(() => {
      response.resume();
      return true;
    });
    response.on('data', (chunk: Buffer) => this.#cork(() => this.#res.write(chunk) || response.pause()));
    response.on('end', () => {
      this.#cork(() => this.#res.end());
      this.#over = true;
    });
  }

  #begin(response: IncomingMessage): HttpResponse {
    return writeStatus(this.#res, response.statusCode!).writeHeader('content-type', response.headers['content-type'] ?? 'text/plain');
  }

  #cork(write: () => unknown): void {
    if (!this.#over) this.#res.cork(() => void write());
  }
}
