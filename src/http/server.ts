/**
 * The public side: the only importer of uWebSockets.js (with the files beside it that name its types). It routes a request, refuses what must not reach a
 * function, and hands the rest to the dispatcher. No handler here may throw: an exception would unwind into C++.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { App, us_listen_socket_close, us_socket_local_port, type HttpRequest, type HttpResponse, type TemplatedApp, type us_listen_socket } from 'uWebSockets.js';
import { isFunctionName } from '../deploy/function-name.ts';
import { FlashdError, toFlashdError } from '../errors/index.ts';
import type { Dispatcher } from '../invocation/dispatcher.ts';
import type { FunctionQueue } from '../invocation/function-queue.ts';
import { clientAddress } from './address.ts';
import { Beat } from './beat.ts';
import { BodyBudget, BodyReader, type BodyLimits } from './body.ts';
import { API_PREFIX, Api } from './api.ts';
import { ClientRates, clientKey, rateLimited } from './client-rates.ts';
import { Connections } from './connections.ts';
import { Exchange } from './exchange.ts';
import { Gate, type Accepts } from './gate.ts';
import { RequestHead, checkTarget } from './head.ts';
import { refuse, writeError, writeText, type Marks } from './response.ts';
import { secureApp, watchFiles, type TlsFiles } from './tls.ts';
import { UnreadResponses } from './unread.ts';

export type HttpServerOptions = {
  readonly host: string;
  readonly port: number;
  /** Several gateway processes may listen on one port; otherwise a second one is refused. */
  readonly sharedPort: boolean;
  /** "" or the domain below which each function has a host name. */
  readonly domain: string;
  /** Of all clients together. */
  readonly maxConnections: number;
  readonly maxBodyBytes: number;
  /** Bytes of all request bodies in memory together. */
  readonly bodyBudgetBytes: number;
  readonly bodyTimeoutMs: number;
  /** Bytes of all large responses that wait for their clients. */
  readonly unreadBudgetBytes: number;
  /** How long a client may take for one however slowly it reads. */
  readonly unreadGraceMs: number;
  /** Of one client to functions; 0: no limit. */
  readonly clientRequestsPerSecond: number;
  readonly credentials: Accepts;
  readonly managementSocket: string;
  /** HTTPS instead of HTTP. */
  readonly tls: TlsFiles | undefined;
  readonly dispatcher: Dispatcher;
  readonly health: () => { readonly healthy: boolean; readonly detail: Record<string, unknown> };
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  readonly report: (error: unknown) => void;
  /** Of two sockets that listen on the port, the younger one gets new connections. */
  readonly preferSuccessor: (port: number) => void;
  /** A changed certificate is in use. */
  readonly renewed: () => void;
};

const PREFIX = '/function/';
const LISTEN_DEFAULT = 0;
/** Without it the kernel would share the port between this process and a forgotten one. */
const LISTEN_EXCLUSIVE = 1;
/** For the connections that are being made to a socket whose successor listens already. */
const HANDOVER_MS = 5000;
const marks = (): Marks => ({ requestId: randomUUID(), start: '', timing: '' });

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #dispatcher: Dispatcher;
  readonly #bodies: BodyLimits;
  readonly connections: Connections;
  readonly #unread: UnreadResponses;
  /** ".example.org", or "" */
  readonly #suffix: string;
  /** The one that takes new connections, and with TLS those before it, whose connections go on. */
  readonly #apps: [TemplatedApp, ...TemplatedApp[]];
  #stopWatching = (): void => {};
  readonly #clients: ClientRates | undefined;
  readonly #gate: Gate;
  readonly #api: Api;
  readonly #pulsePath = '/' + randomBytes(16).toString('hex');
  #socket: us_listen_socket | undefined;
  /** Each closes a socket that has a successor. */
  readonly #retiring = new Set<() => void>();

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#dispatcher = options.dispatcher;
    this.connections = new Connections(options.maxConnections);
    this.#bodies = { maxBytes: options.maxBodyBytes, timeoutMs: options.bodyTimeoutMs, budget: new BodyBudget(options.bodyBudgetBytes) };
    this.#unread = new UnreadResponses(options.unreadBudgetBytes, options.unreadGraceMs);
    this.#suffix = options.domain === '' ? '' : '.' + options.domain.toLowerCase();
    this.#clients = options.clientRequestsPerSecond > 0 ? new ClientRates(options.clientRequestsPerSecond) : undefined;
    this.#gate = new Gate(options.credentials);
    this.#api = new Api(options.managementSocket);
    this.#apps = [this.#makeApp()];
  }

  /** What the pulse sends: nobody else knows its path. */
  get pulseRequest(): Buffer {
    return Buffer.from(`GET ${this.#pulsePath} HTTP/1.1\r\nhost: localhost\r\nuser-agent: flashd\r\naccept: */*\r\n\r\n`, 'latin1');
  }

  get bodyBytes(): number {
    return this.#bodies.budget.bytes + this.#unread.bytes;
  }

  /** Resolves with the port. */
  async listen(): Promise<number> {
    const { port, sharedPort, tls } = this.#options;
    this.#socket = await this.#listenWith(this.#apps[0], port, sharedPort ? LISTEN_DEFAULT : LISTEN_EXCLUSIVE);
    const taken = us_socket_local_port(this.#socket as unknown as Parameters<typeof us_socket_local_port>[0]);
    if (tls === undefined) return taken;
    // A successor has to listen before this one stops, which takes a shared port. That nobody else had it is known by now, and who wants it alone is refused.
    us_listen_socket_close(this.#socket);
    this.#socket = await this.#listenWith(this.#apps[0], taken, LISTEN_DEFAULT);
    this.#stopWatching = watchFiles(tls, () => void this.#renew(taken).catch(this.#options.report));
    return taken;
  }

  /** New connections get the certificate that the files hold now; with broken files, the one before. */
  async #renew(port: number): Promise<void> {
    const app = this.#makeApp();
    for (const close of this.#retiring) close();
    const socket = await this.#listenWith(app, port, LISTEN_DEFAULT);
    if (this.#socket === undefined) return us_listen_socket_close(socket);
    try {
      this.#options.preferSuccessor(port);
    } catch (error) {
      this.#options.report(error);  // both get connections then, until the elder is closed: its certificate may be seen for that long
    }
    this.#retire(this.#socket);
    this.#socket = socket;
    this.#apps.unshift(app);
    this.#options.renewed();
  }

  #retire(socket: us_listen_socket): void {
    const close = () => {
      this.#retiring.delete(close);
      clearTimeout(timer);
      us_listen_socket_close(socket);
    };
    const timer = setTimeout(close, HANDOVER_MS).unref();
    this.#retiring.add(close);
  }

  #makeApp(): TemplatedApp {
    const { tls } = this.#options;
    return this.connections.watch(tls === undefined ? App() : secureApp(tls)).any('/*', (res, req) => this.#handle(res, req));
  }

  #listenWith(app: TemplatedApp, port: number, options: number): Promise<us_listen_socket> {
    const { host } = this.#options;
    return new Promise((resolve, reject) => {
      const listening = (socket: us_listen_socket | false): void => {
        if (socket !== false) resolve(socket);
        else reject(new FlashdError('config_invalid', { message: `cannot listen on ${host}:${port}`, hint: 'is the port free, and may this user take it? choose another with --listen' }));
      };
      // The type declarations lack the form with host and options, which the library has.
      (app.listen as unknown as (host: string, port: number, options: number, done: typeof listening) => void).call(app, host, port, options, listening);
    });
  }

  /** New connections are refused; those that are open go on. */
  stopListening(): void {
    this.#stopWatching();
    for (const close of this.#retiring) close();
    if (this.#socket === undefined) return;
    us_listen_socket_close(this.#socket);
    this.#socket = undefined;
  }

  /** Ends every connection. */
  close(): void {
    this.stopListening();
    for (const app of this.#apps) app.close();
  }

  #handle(res: HttpResponse, req: HttpRequest): void {
    try {
      this.#route(res, new RequestHead(req));
    } catch (error) {
      const failure = toFlashdError(error);
      if (failure.kind === 'internal') this.#options.report(error);
      refuse(res, req.getMethod() === 'head', failure, marks());
    }
  }

  #route(res: HttpResponse, head: RequestHead): void {
    const { url } = head;
    if (this.#suffix !== '') {
      const name = this.#nameOfHost(head.host);
      if (name !== undefined) return this.#invoke(res, head, name, url);
    }
    if (url.startsWith(PREFIX)) {
      const end = url.indexOf('/', PREFIX.length);
      if (end === -1) return this.#invoke(res, head, url.slice(PREFIX.length), '/');
      return this.#invoke(res, head, url.slice(PREFIX.length, end), url.slice(end));
    }
    if (url === this.#pulsePath) return this.#beat(res, head);
    if (url.startsWith(API_PREFIX) && this.#gate.manages) return this.#manage(res, head);
    const close = head.bodyLength() !== 0;
    const isHead = head.rawMethod === 'head';
    if (url !== '/healthz' && url !== '/metrics') return answerError(res, isHead, new FlashdError('not_found'), close);
    if (head.rawMethod !== 'get' && !isHead) return answerError(res, isHead, new FlashdError('method_not_allowed', { hint: 'use GET' }), close);
    if (close) return refuse(res, isHead, new FlashdError('bad_request', { message: 'no body is taken here' }), marks());
    if (url === '/healthz') return this.#healthz(res, isHead);
    this.#metrics(res, isHead);
  }

  #manage(res: HttpResponse, head: RequestHead): void {
    checkTarget(head.url, head.query);
    head.bodyLength();
    this.#gate.manager(res, head);
    this.#api.forward(res, head, (error) => {
      this.#options.report(error);
      writeError(res, head.rawMethod === 'head', error, marks(), true);
    });
  }

  /** A request of our own walks the way of those that it is to be quick for. */
  #beat(res: HttpResponse, head: RequestHead): void {
    const beat = new Beat(res, head, '', '/', clientAddress(res), this.#bodies.budget, this.#unread);
    if (!this.#dispatcher.beat(beat)) return writeText(res, false, 200, 'text/plain', '');
    res.onAborted(() => (beat.aborted = true));
  }

  #nameOfHost(host: string): string | undefined {
    const colon = host.indexOf(':');
    const name = (colon === -1 ? host : host.slice(0, colon)).toLowerCase();
    return name.length > this.#suffix.length && name.endsWith(this.#suffix) ? name.slice(0, -this.#suffix.length) : undefined;
  }

  /** FAST PATH without a body: the event is in the instance's socket when this returns. */
  #invoke(res: HttpResponse, head: RequestHead, name: string, path: string): void {
    const bodyLength = head.bodyLength();
    checkTarget(path, head.query);
    if (this.#clients !== undefined) {
      const waitMs = this.#clients.take(clientKey(res), performance.now());
      if (waitMs > 0) return answerError(res, head.rawMethod === 'head', rateLimited('from this address', waitMs), bodyLength !== 0);
    }
    const queue = this.#dispatcher.find(name);
    if (queue?.needsKey === true) this.#gate.caller(res, head, name);
    if (queue?.rate !== undefined) {
      const waitMs = queue.rate.take(performance.now());
      if (waitMs > 0) {
        queue.tally.failed('rate_limited');
        return answerError(res, head.rawMethod === 'head', rateLimited(`to the function ${name}`, waitMs), bodyLength !== 0);
      }
    }
    if (bodyLength === 0) this.#dispatcher.anticipate(name);
    const exchange = new Exchange(res, head, name, path, clientAddress(res), this.#bodies.budget, this.#unread);
    if (queue === undefined) {
      const error = isFunctionName(name)
        ? new FlashdError('function_not_found', { message: `there is no function "${name}"` })
        : new FlashdError('name_invalid');
      return exchange.respondError(error, bodyLength !== 0);
    }
    if (bodyLength !== 0) return this.#readBody(res, head, exchange, queue, bodyLength);
    this.#dispatcher.submit(queue, exchange);
    if (exchange.state === 'queued' || exchange.state === 'running') res.onAborted(() => this.#aborted(exchange));
  }

  #readBody(res: HttpResponse, head: RequestHead, exchange: Exchange, queue: FunctionQueue, length: number | undefined): void {
    if (length !== undefined && length > this.#bodies.maxBytes) {
      const message = `the request body has ${length} bytes, more than ${this.#bodies.maxBytes}`;
      return exchange.respondError(new FlashdError('payload_too_large', { message }), true);
    }
    const reader = new BodyReader(queue.name, res, this.#bodies, (result) => {
      if (result instanceof FlashdError) return exchange.respondError(result, true);
      exchange.attach(result);
      if (!head.isChunked) return this.#dispatcher.submit(queue, exchange);
      // Not inside the parser's callback: refused there, what follows in the same packet would be the next request.
      setImmediate(() => (exchange.aborted ? exchange.release() : this.#dispatcher.submit(queue, exchange)));
    });
    res.onAborted(() => {
      reader.cancel();
      this.#aborted(exchange);
    });
  }

  #aborted(exchange: Exchange): void {
    exchange.letGo();
    exchange.aborted = true;
    exchange.queue?.abort(exchange);
  }

  #healthz(res: HttpResponse, isHead: boolean): void {
    const { healthy, detail } = this.#options.health();
    writeText(res, isHead, healthy ? 200 : 503, 'application/json', JSON.stringify({ status: healthy ? 'ok' : 'unavailable', ...detail }) + '\n');
  }

  #metrics(res: HttpResponse, isHead: boolean): void {
    let gone = false;
    res.onAborted(() => (gone = true));
    this.#options.metrics().then(
      ({ contentType, text }) => gone || writeText(res, isHead, 200, contentType, text),
      (error: unknown) => {
        this.#options.report(error);
        if (!gone) writeError(res, isHead, toFlashdError(error), marks());
      },
    );
  }
}

/** close: a body follows that nobody reads. */
function answerError(res: HttpResponse, isHead: boolean, error: FlashdError, close: boolean): void {
  if (close) refuse(res, isHead, error, marks());
  else writeError(res, isHead, error, marks());
}
