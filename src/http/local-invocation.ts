/** An invocation that did not come over HTTP but through the management socket (`flashd invoke`): the same event, the same rules, the result as a value. */
import { randomUUID } from 'node:crypto';
import type { InvokeCall, InvokeReply } from '../deploy/management-api.ts';
import { FlashdError } from '../errors/index.ts';
import type { Dispatcher } from '../invocation/dispatcher.ts';
import { Invocation, type EventKind } from '../invocation/invocation.ts';
import type { PooledInstance } from '../pool/pooled-instance.ts';
import { bodyBytes, type ResponseBody } from '../sandbox/contract.ts';
import { FRAME } from '../sandbox/protocol.ts';
import { eventJson, httpBlock, isTextual, type RequestFacts } from './event.ts';
import { RequestHead, checkTarget } from './head.ts';

/** The source of a call that came over a unix socket. */
const LOCAL_ADDRESS = '127.0.0.1';

/** Rejects with the FlashdError that an HTTP client would have been answered with. */
export function invokeLocally(dispatcher: Dispatcher, name: string, call: InvokeCall, maxBodyBytes: number, signal: AbortSignal): Promise<InvokeReply> {
  return new Promise((resolve, reject) => {
    const queue = dispatcher.find(name);
    if (queue === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
    checkTarget(call.path, call.query);
    const body = Buffer.from(call.bodyBase64, 'base64');
    if (body.length > maxBodyBytes) throw new FlashdError('payload_too_large');
    const invocation = new LocalInvocation(name, call, body, resolve, reject);
    dispatcher.submit(queue, invocation);
    signal.addEventListener('abort', () => invocation.queue?.abort(invocation), { once: true });
  });
}

class LocalInvocation extends Invocation implements RequestFacts {
  readonly label = randomUUID();
  readonly functionName: string;
  readonly path: string;
  readonly sourceIp = LOCAL_ADDRESS;
  readonly head: RequestHead;
  readonly flags: number;
  body: readonly Uint8Array[];
  readonly #resolve: (reply: InvokeReply) => void;
  readonly #reject: (error: FlashdError) => void;

  constructor(name: string, call: InvokeCall, body: Uint8Array, resolve: (reply: InvokeReply) => void, reject: (error: FlashdError) => void) {
    super();
    this.functionName = name;
    this.path = call.path;
    this.head = headOf(call, body.length);
    this.body = body.length === 0 ? [] : [body];
    this.flags = body.length === 0 || isTextual(this.head.contentType) ? 0 : FRAME.FL_REQUEST_BODY_BINARY;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get requestId(): string {
    return this.label;
  }

  meta(kind: EventKind): string {
    return kind === 'json' ? eventJson(this, Date.now()) : httpBlock(this);
  }

  release(): void {
    this.body = [];
  }

  succeed(_from: PooledInstance, status: number, headers: string, body: ResponseBody): void {
    const parts = headers.split('\0');
    const pairs: [string, string][] = [];
    for (let index = 0; index + 1 < parts.length; index += 2) pairs.push([parts[index]!, parts[index + 1]!]);
    const bodyBase64 = bodyBytes(body).toString('base64');
    this.#resolve({ requestId: this.label, status, headers: pairs, bodyBase64 });
  }

  fail(error: FlashdError): void {
    this.#reject(error);
  }
}

function headOf(call: InvokeCall, bodyBytes: number): RequestHead {
  const given = call.headers.map(([name, value]): [string, string] => [name.toLowerCase(), value]);
  const has = (name: string) => given.some(([other]) => other === name);
  if (!has('host')) given.push(['host', 'localhost']);
  if (!has('user-agent')) given.push(['user-agent', 'flashd']);
  if (bodyBytes > 0 && !has('content-length')) given.push(['content-length', String(bodyBytes)]);
  return new RequestHead({
    getUrl: () => call.path,
    getQuery: () => call.query,
    getMethod: () => call.method.toLowerCase(),
    forEach: (visit) => {
      for (const [name, value] of given) visit(name, value);
    },
  });
}
