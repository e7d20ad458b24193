/** One request to a function and its response: an Invocation that knows uWebSockets.js. After the client is gone `res` must not be touched any more. */
import { randomUUID } from 'node:crypto';
import type { HttpResponse } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';
import { Invocation, type EventKind } from '../invocation/invocation.ts';
import type { PooledInstance } from '../pool/pooled-instance.ts';
import type { ResponseBody } from '../sandbox/contract.ts';
import { FRAME } from '../sandbox/protocol.ts';
import type { Body, BodyBudget } from './body.ts';
import { eventJson, httpBlock, isTextual, type RequestFacts } from './event.ts';
import type { RequestHead } from './head.ts';
import { isResponseStatus, refuse, writeError, writeResult, type BodyHolder, type Marks, type Result } from './response.ts';
import { serverTiming } from './timing.ts';
import type { UnreadResponse, UnreadResponses } from './unread.ts';

const NO_BODY: readonly Uint8Array[] = [];

export class Exchange extends Invocation implements RequestFacts, BodyHolder, UnreadResponse {
  readonly label = randomUUID();
  readonly functionName: string;
  readonly path: string;
  readonly sourceIp: string;
  readonly head: RequestHead;
  flags = 0;
  /** The connection ends with the response: see RequestHead.isChunked. */
  readonly #closes: boolean;
  body: readonly Uint8Array[] = NO_BODY;
  readonly #res: HttpResponse;
  readonly #budget: BodyBudget;
  readonly #unread: UnreadResponses;
  #bodyBytes = 0;
  #meta = '';
  #metaKind: EventKind | undefined;

  constructor(res: HttpResponse, head: RequestHead, functionName: string, path: string, sourceIp: string, budget: BodyBudget, unread: UnreadResponses) {
    super();
    this.#res = res;
    this.head = head;
    this.#closes = head.isChunked;
    this.functionName = functionName;
    this.path = path;
    this.sourceIp = sourceIp;
    this.#budget = budget;
    this.#unread = unread;
  }

  get requestId(): string {
    return this.label;
  }

  /** The body's bytes have been taken from the budget; release() gives them back. */
  attach(body: Body): void {
    this.body = body.chunks;
    this.#bodyBytes = body.bytes;
    if (!isTextual(this.head.contentType)) this.flags = FRAME.FL_REQUEST_BODY_BINARY;
  }

  meta(kind: EventKind): string {
    if (this.#metaKind !== kind) {
      this.#meta = kind === 'json' ? eventJson(this, Date.now()) : httpBlock(this);
      this.#metaKind = kind;
    }
    return this.#meta;
  }

  release(): void {
    this.body = NO_BODY;
    this.#budget.give(this.functionName, this.#bodyBytes);
    this.#bodyBytes = 0;
  }

  succeed(from: PooledInstance, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void {
    if (!isResponseStatus(status)) {
      return this.fail(new FlashdError('response_invalid', { message: `the function answered with the status ${status}`, hint: 'use a status from 200 to 599' }));
    }
    // One object for the result and the marks of a response: it lives until the cork is over.
    writing.exchange = this;
    writing.status = status;
    writing.headers = headers;
    writing.body = body;
    writing.requestId = this.label;
    writing.start = this.start;
    const cold = this.start === 'language-template' || this.start === 'function-template' ? from.startTiming() : '';
    writing.timing = serverTiming(this.boundAt - this.arrivedAt, this.finishedAt - this.arrivedAt, loadUs, handlerUs, cold, from.lastRewind);
    this.#res.cork(writeCorked);
  }

  fail(error: FlashdError): void {
    if (this.#closes) return this.respondError(error, true);
    // At once even where it closes: the server may be gone the next turn, and what follows would be refused as well.
    writeError(this.#res, this.head.rawMethod === 'head', error, this.#marks(), error.code === 'shutting_down');
  }

  /** close: the connection is of no further use, because the rest of the request is unread or nonsense. */
  respondError(error: FlashdError, close: boolean): void {
    const isHead = this.head.rawMethod === 'head';
    if (close) refuse(this.#res, isHead, error, this.#marks());
    else writeError(this.#res, isHead, error, this.#marks());
  }

  #marks(): Marks {
    const started = this.attempts > 0;
    const timing = started ? serverTiming(this.boundAt - this.arrivedAt, performance.now() - this.arrivedAt, 0, 0, '') : '';
    return { requestId: this.label, start: started ? this.start : '', timing };
  }

  /** Inside the cork. */
  write(result: Result & Marks): void {
    writeResult(this.#res, this.head.rawMethod === 'head', result, result, this, this.#closes);
  }

  hold(bytes: number): void {
    this.#unread.hold(this, bytes);
  }

  sent(bytes: number): void {
    this.#unread.read(this, bytes);
  }

  letGo(): void {
    this.#unread.letGo(this);
  }

  drop(): void {
    if (!this.aborted) this.#res.close();
  }
}

type Writing = { -readonly [K in keyof (Result & Marks)]: (Result & Marks)[K] } & { exchange: Exchange | undefined };
const writing: Writing = { exchange: undefined, status: 0, headers: '', body: null, requestId: '', start: '', timing: '' };
const writeCorked = (): void => writing.exchange!.write(writing);
