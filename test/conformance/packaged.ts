/**
 * The packaged binary as a whole, for tests: `flashd serve` on a free port with a state directory of its own, its command line, its HTTP side.
 * Needs root and build/out/flashd. Whoever starts one stops it; stop() leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type Agent, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFixture, root, SECRETS, type Fixture, type Language } from './fixtures.ts';
import type { Answer, Request, Target } from './target.ts';

const READY_MS = 20_000;
const STOP_MS = 30_000;
export const BINARY = join(root, 'build/out/flashd');

export type HttpAnswer = { status: number; headers: [string, string][]; body: Buffer };

export class Flashd {
  readonly port: number;
  readonly stateDirectory: string;
  readonly #environment: NodeJS.ProcessEnv;
  /** What enters the network namespace that it lives in; empty: ours. */
  readonly #entering: readonly string[];
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  output = '';

  private constructor(port: number, environment: Record<string, string>, inherited: number[], prefix: readonly string[], entering: readonly string[]) {
    this.port = port;
    this.#entering = entering;
    this.stateDirectory = mkdtempSync(join(tmpdir(), 'flashd-state-'));
    chmodSync(this.stateDirectory, 0o755);
    const own = { FLASHD_LISTEN: `127.0.0.1:${port}`, FLASHD_STATE_DIR: this.stateDirectory };
    this.#environment = { PATH: process.env['PATH'], HOME: '/root', ...own, ...environment };
    const [program, ...args] = [...entering, ...prefix, BINARY, 'serve'];
    this.#child = spawn(program!, args, { env: this.#environment, stdio: ['ignore', 'pipe', 'pipe', ...inherited] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.on('data', (chunk: Buffer) => (this.output = (this.output + chunk.toString()).slice(-(1 << 20))));
    this.#exited = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  /** Resolves when /healthz says 200: the templates are ready and the pool is filled. inherited: descriptors it gets from 3 on. */
  static start(environment: Record<string, string> = {}, ...inherited: number[]): Promise<Flashd> {
    return Flashd.startBehind([], environment, ...inherited);
  }

  /** prefix: a program and its arguments that executes what follows, in its own place. */
  static startBehind(prefix: readonly string[], environment: Record<string, string> = {}, ...inherited: number[]): Promise<Flashd> {
    return Flashd.#start(environment, inherited, prefix, []);
  }

  /** In another network namespace. entering: such a prefix; what speaks to it over HTTP needs it too. */
  static startWithin(entering: readonly string[], environment: Record<string, string> = {}): Promise<Flashd> {
    return Flashd.#start(environment, [], [], entering);
  }

  static async #start(environment: Record<string, string>, inherited: number[], prefix: readonly string[], entering: readonly string[]): Promise<Flashd> {
    const flashd = new Flashd(await freePort(), environment, inherited, prefix, entering);
    const deadline = performance.now() + READY_MS;
    for (;;) {
      const answer = await flashd.http('GET', '/healthz').catch(() => undefined);
      if (answer?.status === 200) return flashd;
      if (flashd.#child.exitCode !== null || performance.now() > deadline) {
        await flashd.stop();
        throw new Error(`flashd serve did not become ready:\n${flashd.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  /** The supervisor, which is the process that was started. */
  get pid(): number {
    return this.#child.pid!;
  }

  /** Runs a verb of the command line against this server; rejects with stderr in the message when it fails. */
  cli(...args: string[]): Promise<string> {
    return this.pipe('', ...args);
  }

  /** The same with something on its standard input. */
  pipe(input: string, ...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = execFile(BINARY, args, { env: this.#environment, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
        error ? reject(new Error(`flashd ${args.join(' ')}: ${error.code ?? error.signal}\n${stderr}${stdout}`)) : resolve(stdout));
      // A verb that reads none may be over before it is written.
      child.stdin!.on('error', () => {}).end(input);
    });
  }

  /** On a connection of its own, or on one of the agent's. */
  http(method: string, path: string, headers: Record<string, string> = {}, body?: Buffer, agent: Agent | false = false): Promise<HttpAnswer> {
    if (this.#entering.length > 0) return this.#httpWithin(method, path);
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(body.length) };
      const send = this.#environment['FLASHD_TLS_CERT'] === undefined ? httpRequest : httpsRequest;
      const sent = send({ rejectUnauthorized: false, host: '127.0.0.1', port: this.port, method, path, headers: { ...headers, ...length }, agent }, (response) => collect(response).then(resolve, reject));
      sent.on('error', reject);
      sent.end(body);
    });
  }

  #httpWithin(method: string, path: string): Promise<HttpAnswer> {
    const [program, ...args] = [...this.#entering, 'curl', '-s', '-X', method, '-w', '\n%{http_code}', `http://127.0.0.1:${this.port}${path}`];
    return new Promise((resolve, reject) => {
      execFile(program!, args, (error, stdout) => {
        if (error) return reject(error);
        const end = stdout.lastIndexOf('\n');
        resolve({ status: Number(stdout.slice(end + 1)), headers: [], body: Buffer.from(stdout.slice(0, end)) });
      });
    });
  }

  /** Resolves when a cold start of the function comes from its function template. */
  async frozen(name: string): Promise<HttpAnswer> {
    for (const end = performance.now() + READY_MS; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const answers = await Promise.all(Array.from({ length: 3 }, () => this.http('GET', `/function/${name}`)));
      const found = answers.find((answer) => startOf(answer) === 'function-template');
      if (found !== undefined) return found;
    }
    throw new Error(`there is no function template of ${name}:\n${this.output}`);
  }

  async stop(): Promise<void> {
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    this.#child.kill('SIGTERM');
    await this.#exited;
    clearTimeout(killer);
    rmSync(this.stateDirectory, { recursive: true, force: true });
  }
}

export function startOf({ headers }: HttpAnswer): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === 'x-flashd-start')?.[1];
}

async function collect(response: IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const headers: [string, string][] = [];
  for (let i = 0; i < response.rawHeaders.length; i += 2) headers.push([response.rawHeaders[i]!, response.rawHeaders[i + 1]!]);
  return { status: response.statusCode!, headers, body: Buffer.concat(chunks) };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The fixture, opened by one of the following or by startDirect; both go with the test. */
export async function opened(t: TestContext, language: Language, name: string, open: (fixture: Fixture) => Promise<Target>): Promise<Target> {
  const fixture = prepareFixture(language, name);
  t.after(() => fixture.remove());
  const target = await open(fixture);
  t.after(() => target.close());
  return target;
}

/** Deploys the fixture and speaks to its function URL. */
export async function deployed(flashd: Flashd, fixture: Fixture, looksAt: (answer: HttpAnswer) => void = () => {}): Promise<Target> {
  await flashd.cli('deploy', fixture.directory);
  return live(flashd, fixture, looksAt);
}

/** The same with one that is deployed already. */
export async function live(flashd: Flashd, fixture: Fixture, looksAt: (answer: HttpAnswer) => void = () => {}): Promise<Target> {
  for (const name of fixture.manifest.secrets ?? []) await flashd.pipe(SECRETS[name], 'secret', 'set', fixture.name, name);
  return {
    async invoke({ method = 'GET', path = '/', query = '', headers = {}, body }: Request = {}): Promise<Answer> {
      const { host: _host, ...rest } = headers;
      const answer = await flashd.http(method, `/function/${fixture.name}${path}${query ? `?${query}` : ''}`, rest, body);
      looksAt(answer);
      const error = answer.status >= 400 ? errorOf(answer.body) : undefined;
      if (!error) return { kind: 'response', ...answer };
      const { errorType = '', errorMessage = '', stackTrace = '' } = error.details ?? {};
      return { kind: 'error', code: error.code, type: errorType, message: errorMessage, stack: [stackTrace].flat().join('\n') };
    },
    async logs() {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return flashd.cli('logs', fixture.name);
    },
    close: async () => void (await flashd.cli('remove', fixture.name)),
  };
}

/**
 * Deploys the fixture and waits for its function template, and then until that has been frozen for so long. A template is made after the first response; of a function that only fails it is
 * made after its standby's ping, so that one has to have a standby, which comes out of the template as well.
 */
export async function frozen(flashd: Flashd, fixture: Fixture, { forMs = 0, failing = false }: { forMs?: number; failing?: boolean }): Promise<Target> {
  if (failing) writeFileSync(join(fixture.directory, 'function.json'), JSON.stringify({ ...fixture.manifest, standby: 1 }));
  const starts = failing ? ['function-template', 'standby'] : ['function-template'];
  const target = await deployed(flashd, fixture, (answer) => assert.ok(starts.includes(startOf(answer)!), `${startOf(answer)}: ${answer.body.toString()}`));
  const state = async (): Promise<string> => (JSON.parse(await flashd.cli('list', '--json')) as { name: string; template: string }[]).find(({ name }) => name === fixture.name)!.template;
  for (const end = performance.now() + READY_MS; (await state()) !== 'ready'; await sleep(50)) {
    assert.ok(performance.now() < end, await state());
    if (!failing) await flashd.http('GET', `/function/${fixture.name}`);
  }
  if (failing) await flashd.http('GET', `/function/${fixture.name}`); // the standby from before
  await sleep(forMs);
  return { ...target, frozenMs: forMs };
}

type ErrorBody = { code: string; details?: { errorType?: string; errorMessage?: string; stackTrace?: string | string[] } };

/** flashd's own errors have this shape; a function's response with a status of 400 and more does not. */
function errorOf(body: Buffer): ErrorBody | undefined {
  try {
    const { error } = JSON.parse(body.toString()) as { error?: ErrorBody };
    return typeof error?.code === 'string' ? error : undefined;
  } catch {
    return undefined;
  }
}
