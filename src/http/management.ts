/**
 * The management socket (src/deploy/management-api.ts): node:http on a unix socket. Who may connect is decided by the kernel twice: by the
 * socket's mode, and by the peer's credentials, which must be root's, the service user's, or of the socket's group. Not in a request's
 * path: clarity before speed.
 */
import { chmodSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { checkFunctionName, type Deployer, type Deployment } from '../deploy/index.ts';
import type { CredentialReply, DeployReply, GatewayReport, InvokeCall, InvokeReply, ProfileCall, ProfileReply, SecretChange, SecretReply, VerifyReply, VersionReply } from '../deploy/management-api.ts';
import { FlashdError, toFlashdError } from '../errors/index.ts';
import { LOG_LINES_MAX, type FunctionLogs, type LogEntry, type Logger, type Metrics } from '../observability/index.ts';
import type { InterceptionManifest } from '../interception/index.ts';
import { VERIFY_RESTORES_MAX } from './verification.ts';
import { SECRET_BYTES_MAX, type Registry, type Version } from '../registry/index.ts';
import { PROFILE_REQUESTS_MAX, PROFILE_SECONDS_MAX } from './profile.ts';

export type ManagementOptions = {
  socketPath: string;
  registry: Registry;
  deployer: Deployer;
  logs: FunctionLogs;
  /** Resolves when it is over. */
  profile: (name: string, manifest: InterceptionManifest | undefined, call: ProfileCall, signal: AbortSignal) => Promise<ProfileReply>;
  /** A function was removed. */
  removed: (name: string) => void;
  metrics: Metrics;
  logger: Logger;
  /** SO_PEERCRED. */
  peer: (fd: number) => { uid: number; gid: number };
  functionUrl: (name: string) => string;
  /** Of the function's template: ready, making, none, or why there is none. */
  templateOf: (name: string) => string;
  /** Path of the runtime's program in the sandboxes; "" while it is not ready. */
  programOf: (runtime: string) => string;
  /** Throws FlashdError for everything that an HTTP client would have got an error response for. */
  invoke: (name: string, call: InvokeCall, signal: AbortSignal) => Promise<InvokeReply>;
  verify: (name: string, restores: number, signal: AbortSignal) => Promise<VerifyReply>;
  report: () => Promise<GatewayReport>;
  maxBodyBytes: number;
};

type Request = { message: IncomingMessage; response: ServerResponse; name: string; /** What is named below the function, or "". */ key: string; query: URLSearchParams; signal: AbortSignal };
type Handler = (request: Request) => Promise<void> | void;

const CONNECTIONS_MAX = 128;
const UPLOADS_MAX = 4;
const JSON_SLACK_BYTES = 2 * 1024 * 1024;
/** A follower that does not read is told afterwards how much it missed. */
const FOLLOWER_BYTES_MAX = 1024 * 1024;
const DEFAULT_LINES = 100;
const UPLOAD_TIMEOUT_MS = 3_600_000;

export class ManagementServer {
  readonly #options: ManagementOptions;
  readonly #server: Server;
  readonly #denied = new WeakSet<Socket>();
  readonly #routes: Record<string, Record<string, Handler>>;
  #uploads = 0;

  constructor(options: ManagementOptions) {
    this.#options = options;
    this.#routes = {
      '/functions': { GET: (request) => this.#list(request) },
      '/functions/*': { DELETE: (request) => this.#remove(request) },
      '/functions/*/deploy': { POST: (request) => this.#deploy(request) },
      '/functions/*/versions': { GET: (request) => this.#versions(request) },
      '/functions/*/rollback': { POST: (request) => this.#rollback(request) },
      '/functions/*/logs': { GET: (request) => this.#logs(request) },
      '/functions/*/secrets': { GET: (request) => this.#secrets(request) },
      '/functions/*/secrets/*': { PUT: (request) => this.#setSecret(request), DELETE: (request) => this.#removeSecret(request) },
      '/functions/*/profile': { POST: (request) => this.#profile(request) },
      '/functions/*/keys': { GET: (request) => this.#credentials(request, request.name) },
      '/functions/*/keys/*': { POST: (request) => this.#createCredential(request, request.name, request.key), DELETE: (request) => this.#revokeCredential(request, request.name, request.key) },
      '/tokens': { GET: (request) => this.#credentials(request, null) },
      '/tokens/*': { POST: (request) => this.#createCredential(request, null, request.name), DELETE: (request) => this.#revokeCredential(request, null, request.name) },
      '/functions/*/invoke': { POST: (request) => this.#invoke(request) },
      '/functions/*/verify': { POST: (request) => this.#verify(request) },
      '/doctor': { GET: (request) => this.#report(request) },
      '/metrics': { GET: (request) => this.#metrics(request) },
    };
    this.#server = createServer({ requestTimeout: UPLOAD_TIMEOUT_MS }, (message, response) => void this.#serve(message, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('connection', (socket) => {
      if (!this.#mayManage(socket)) this.#denied.add(socket);
    });
  }

  async listen(): Promise<void> {
    // A socket that a killed gateway left: the launcher has made sure that nobody serves from this state directory.
    rmSync(this.#options.socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.socketPath, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    // From now on errors concern single connections, such as too many open descriptors.
    this.#server.on('error', (error) => this.#options.logger.error({ err: error }, 'management: a connection could not be accepted'));
    chmodSync(this.#options.socketPath, 0o660);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #mayManage(socket: Socket): boolean {
    // node:net does not tell the descriptor of a connected socket otherwise; there is none when the peer has left again.
    const fd = (socket as unknown as { _handle: { fd: number } | null })._handle?.fd;
    if (fd === undefined) return false;
    try {
      const { uid, gid } = this.#options.peer(fd);
      return uid === 0 || uid === process.getuid!() || gid === statSync(this.#options.socketPath).gid;
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'management: who connected cannot be told');
      return false;
    }
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const abort = new AbortController();
    response.on('close', () => abort.abort());
    try {
      if (this.#denied.has(message.socket)) throw new FlashdError('forbidden');
      const { handler, ...route } = this.#route(message);
      await handler({ message, response, ...route, signal: abort.signal });
    } catch (thrown) {
      this.#refuse(message, response, toFlashdError(thrown));
    }
  }

  #route(message: IncomingMessage): { handler: Handler } & Pick<Request, 'name' | 'key' | 'query'> {
    const url = new URL(message.url ?? '/', 'http://flashd');
    const parts = url.pathname.split('/');
    const [, , name, , key = ''] = parts;
    const pattern = parts.map((part, index) => (index === 2 || index === 4 ? '*' : part)).join('/');
    const methods = Object.hasOwn(this.#routes, pattern) ? this.#routes[pattern]! : undefined;
    if (methods === undefined)
      throw new FlashdError('not_found', { hint: 'this flashd and the one that asked may be of different versions' });
    const handler = Object.hasOwn(methods, message.method!) ? methods[message.method!]! : undefined;
    if (handler === undefined) throw new FlashdError('method_not_allowed', { hint: `allowed: ${Object.keys(methods).join(', ')}` });
    return { handler, name: name === undefined ? '' : checkFunctionName(name), key, query: url.searchParams };
  }

  #refuse(message: IncomingMessage, response: ServerResponse, error: FlashdError): void {
    if (error.kind === 'internal')
      this.#options.logger.error({ err: error.cause ?? error, code: error.code }, `management: ${error.message}`);
    if (response.headersSent || response.destroyed) return void response.destroy();
    sendJson(response, { error }, error.status);
    // What the client is still sending has to be read, or it would never come to read the answer.
    message.resume();
  }

  #list({ response }: Request): void {
    sendJson(
      response,
      this.#options.registry.list().map((summary) => ({
        ...summary,
        template: this.#options.templateOf(summary.name),
        program: this.#options.programOf(summary.runtime),
        auth: this.#live(summary.name).manifest.auth ?? 'none',
        missingSecrets: this.#options.registry.missingSecrets(this.#live(summary.name)),
        url: this.#options.functionUrl(summary.name),
      })),
    );
  }

  #versions({ response, name }: Request): void {
    const live = this.#live(name);
    const reply: VersionReply[] = this.#options.registry.versions(name).map((version) => ({
      version: version.version,
      live: version.version === live.version,
      runtime: version.manifest.runtime,
      digest: version.digest,
      createdAt: version.createdAt,
    }));
    sendJson(response, reply);
  }

  async #deploy({ message, response, name }: Request): Promise<void> {
    if (this.#uploads >= UPLOADS_MAX)
      throw new FlashdError('overloaded', { message: `${UPLOADS_MAX} deployments are under way`, hint: 'retry in a moment' });
    this.#uploads++;
    try {
      // Without destroyOnReturn: after a refusal the connection is still needed for the answer.
      const deployment = await this.#options.deployer.deploy(name, message.iterator({ destroyOnReturn: false }));
      this.#options.logger.info({ function: name, version: deployment.version.version, changed: deployment.changed }, 'deployed');
      sendJson(response, this.#deployReply(deployment));
    } finally {
      this.#uploads--;
    }
  }

  async #rollback({ message, response, name }: Request): Promise<void> {
    const { to } = (await readJson(message, JSON_SLACK_BYTES)) as { to?: unknown };
    if (to !== undefined && typeof to !== 'string') throw new FlashdError('bad_request', { message: '"to" must be a version' });
    const deployment = this.#options.deployer.rollback(name, to);
    this.#options.logger.info({ function: name, version: deployment.version.version }, 'rolled back');
    sendJson(response, this.#deployReply(deployment));
  }

  async #remove({ response, name }: Request): Promise<void> {
    this.#options.deployer.remove(name);
    await this.#options.logs.remove(name);
    this.#options.removed(name);
    this.#options.logger.info({ function: name }, 'removed');
    sendJson(response, { name });
  }

  async #logs({ response, name, query, signal }: Request): Promise<void> {
    this.#live(name);
    const lines = Number(query.get('lines') ?? DEFAULT_LINES);
    if (!Number.isInteger(lines) || lines < 0 || lines > LOG_LINES_MAX) {
      throw new FlashdError('bad_request', { message: `lines must be a whole number from 0 to ${LOG_LINES_MAX}` });
    }
    const entries = lines === 0 ? [] : await this.#options.logs.read(name, lines);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    for (const entry of entries) response.write(`${JSON.stringify(entry)}\n`);
    if (query.get('follow') !== '1') return void response.end();
    response.flushHeaders();
    let missed = 0;
    const stop = this.#options.logs.follow(name, (entry: LogEntry) => {
      if (response.writableLength > FOLLOWER_BYTES_MAX) return void missed++;
      if (missed > 0)
        response.write(`${JSON.stringify({ ...entry, message: '', dropped: { lines: missed, bytes: 0 } } satisfies LogEntry)}\n`);
      missed = 0;
      response.write(`${JSON.stringify(entry)}\n`);
    });
    signal.addEventListener('abort', stop, { once: true });
  }

  async #profile({ message, response, name, signal }: Request): Promise<void> {
    const { manifest } = this.#live(name);
    const call = await readJson(message, JSON_SLACK_BYTES);
    if (!isProfileCall(call)) throw new FlashdError('bad_request', { message: `requests must be a whole number from 1 to ${PROFILE_REQUESTS_MAX}, seconds one from 1 to ${PROFILE_SECONDS_MAX}` });
    if (manifest.isolation === 'process') throw new FlashdError('bad_request', { message: `the system calls of ${name} are not intercepted`, hint: 'profile it with "isolation": "full"' });
    this.#options.logger.info({ function: name, ...call }, 'profiled');
    sendJson(response, await this.#options.profile(name, manifest.interception, call, signal));
  }

  #secrets({ response, name }: Request): void {
    const version = this.#live(name);
    const set: SecretReply[] = this.#options.registry.secrets(name).map((secret) => ({ ...secret, needed: isNeeded(version, secret.name) }));
    const missing = this.#options.registry.missingSecrets(version).map((each): SecretReply => ({ name: each, needed: true, createdAt: null, updatedAt: null }));
    sendJson(response, [...set, ...missing]);
  }

  async #setSecret({ message, response, name, key }: Request): Promise<void> {
    const changed = this.#options.registry.setSecret(name, key, await readBody(message, SECRET_BYTES_MAX + 1));
    this.#options.logger.info({ function: name, secret: key, changed }, 'secret set');
    sendJson(response, { function: name, name: key, needed: isNeeded(this.#live(name), key), changed } satisfies SecretChange);
  }

  #removeSecret({ response, name, key }: Request): void {
    this.#options.registry.removeSecret(name, key);
    this.#options.logger.info({ function: name, secret: key }, 'secret removed');
    sendJson(response, { function: name, name: key, needed: isNeeded(this.#live(name), key), changed: true } satisfies SecretChange);
  }

  #credentials({ response }: Request, functionName: string | null): void {
    sendJson(response, this.#options.registry.credentials(functionName));
  }

  #createCredential({ response }: Request, functionName: string | null, name: string): void {
    const credential = this.#options.registry.createCredential(functionName, name);
    this.#options.logger.info({ function: functionName, name }, functionName === null ? 'token created' : 'key created');
    sendJson(response, { name, credential } satisfies CredentialReply);
  }

  #revokeCredential({ response }: Request, functionName: string | null, name: string): void {
    this.#options.registry.revokeCredential(functionName, name);
    this.#options.logger.info({ function: functionName, name }, functionName === null ? 'token revoked' : 'key revoked');
    sendJson(response, { name });
  }

  async #invoke({ message, response, name, signal }: Request): Promise<void> {
    const call = await readJson(message, this.#options.maxBodyBytes * 2 + JSON_SLACK_BYTES);
    if (!isInvokeCall(call)) throw new FlashdError('bad_request', { message: 'the call is malformed' });
    sendJson(response, await this.#options.invoke(name, call, signal));
  }

  async #verify({ message, response, name, signal }: Request): Promise<void> {
    const { restores } = (await readJson(message, JSON_SLACK_BYTES)) as { restores?: unknown };
    if (typeof restores !== 'number' || !Number.isInteger(restores) || restores < 1 || restores > VERIFY_RESTORES_MAX) {
      throw new FlashdError('bad_request', { message: `restores is not a whole number from 1 to ${VERIFY_RESTORES_MAX}` });
    }
    sendJson(response, await this.#options.verify(name, restores, signal));
  }

  async #report({ response }: Request): Promise<void> {
    sendJson(response, await this.#options.report());
  }

  async #metrics({ response }: Request): Promise<void> {
    const text = await this.#options.metrics.render();
    response.writeHead(200, { 'content-type': this.#options.metrics.contentType }).end(text);
  }

  #live(name: string): Version {
    const version = this.#options.registry.live(name);
    if (version === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
    return version;
  }

  #deployReply({ version, previous, changed }: Deployment): DeployReply {
    return {
      name: version.functionName,
      version: version.version,
      runtime: version.manifest.runtime,
      url: this.#options.functionUrl(version.functionName),
      changed,
      previous: previous ?? null,
      missingSecrets: this.#options.registry.missingSecrets(version),
    };
  }
}

const isNeeded = ({ manifest }: Version, secret: string): boolean => manifest.secrets?.includes(secret) === true;

function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
}

async function readBody(message: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new FlashdError('payload_too_large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function readJson(message: IncomingMessage, bytesMax: number): Promise<object> {
  const body = await readBody(message, bytesMax);
  if (body.length === 0) return {};
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (typeof value === 'object' && value !== null) return value;
  } catch (error) {
    throw new FlashdError('bad_request', { message: `the body is not JSON: ${(error as Error).message}`, cause: error });
  }
  throw new FlashdError('bad_request', { message: 'the body is not a JSON object' });
}

function isProfileCall(value: object): value is ProfileCall {
  const { requests = 1, seconds = 1 } = value as Partial<Record<keyof ProfileCall, unknown>>;
  const within = (each: unknown, most: number): boolean => typeof each === 'number' && Number.isInteger(each) && each >= 1 && each <= most;
  return within(requests, PROFILE_REQUESTS_MAX) && within(seconds, PROFILE_SECONDS_MAX);
}

function isInvokeCall(value: object): value is InvokeCall {
  const call = value as Partial<Record<keyof InvokeCall, unknown>>;
  const pair = (each: unknown) =>
    Array.isArray(each) && each.length === 2 && each.every((part) => typeof part === 'string' && !/[\r\n\0]/.test(part));
  return (
    typeof call.method === 'string' &&
    /^[A-Z]{1,20}$/.test(call.method) &&
    typeof call.path === 'string' &&
    /^\/[^\s?#]*$/.test(call.path) &&
    typeof call.query === 'string' &&
    !/[\s#]/.test(call.query) &&
    typeof call.bodyBase64 === 'string' &&
    Array.isArray(call.headers) &&
    call.headers.every(pair)
  );
}
