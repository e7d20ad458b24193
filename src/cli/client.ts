/** The CLI's end of the management socket. Errors of the gateway come out as the FlashdErrors they were. */
import { readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { request as secureRequest } from 'node:https';
import { loadConfig } from '../config/index.ts';
import { FlashdError, fromErrorBody, isSystemError } from '../errors/index.ts';

export type CallOptions = {
  body?: AsyncIterable<Uint8Array> | Uint8Array;
  signal?: AbortSignal;
};

type Place = { readonly socketPath: string } | { readonly url: URL; readonly token: string };

const ERROR_BYTES_MAX = 4 * 1024 * 1024;

export class ManagementClient {
  readonly #at: Place;

  constructor(place: Place) {
    this.#at = place;
  }

  async json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const response = await this.stream(method, path, options);
    return parse((await collect(response, Infinity)).toString('utf8')) as T;
  }

  /** The response's body as it comes. */
  stream(method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = this.#request(method, path, options.signal);
      let answered = false;
      call.on('response', (response) => {
        answered = true;
        if (response.statusCode === 200) resolve(response);
        else refusal(response).then(reject, reject);
      });
      call.on('error', (error) => {
        // A refused upload breaks our writing off; what matters is the answer.
        if (!answered) reject(this.#unreachable(error));
      });
      send(call, options.body).catch((error: unknown) => {
        call.destroy();
        reject(error);
      });
    });
  }

  #request(method: string, path: string, signal: AbortSignal | undefined): ReturnType<typeof request> {
    if ('socketPath' in this.#at) return request({ socketPath: this.#at.socketPath, method, path, signal, headers: { host: 'flashd' } });
    const { url, token } = this.#at;
    const send = url.protocol === 'https:' ? secureRequest : request;
    return send(new URL(`/api${path}`, url), { method, signal, headers: { authorization: `Bearer ${token}` } });
  }

  get #place(): string {
    return 'socketPath' in this.#at ? this.#at.socketPath : this.#at.url.origin;
  }

  #unreachable(error: Error): unknown {
    if (!isSystemError(error)) return error;
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return new FlashdError('forbidden', {
        message: `${this.#place} cannot be opened by this user`,
        hint: 'run it as root (sudo), or as a member of the group flashd',
        cause: error,
      });
    }
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
      return new FlashdError('gateway_unreachable', { message: `no flashd is listening at ${this.#place}`, cause: error });
    }
    return new FlashdError('gateway_unreachable', {
      message: `the connection to flashd broke: ${error.message}`,
      hint: 'see its log, and try again',
      cause: error,
    });
  }
}

/** A flashd on another machine, and the token for it: never from the command line, which every user of this machine can read. */
export function remoteAt(text: string, tokenFile = process.env['FLASHD_TOKEN_FILE']): Place {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new FlashdError('usage', { message: `${text} is not an http or https URL`, hint: 'for example --url https://flashd.example.org' });
  if (tokenFile === undefined) throw new FlashdError('usage', { message: '--url needs a token', hint: 'name its file with --token-file or FLASHD_TOKEN_FILE' });
  return { url, token: readFileSync(tokenFile, 'utf8').trim() };
}

/** --state-dir, else $FLASHD_STATE_DIR, else what the configuration file says. */
export function stateDirOf(flag: string | undefined): string {
  return flag ?? process.env['FLASHD_STATE_DIR'] ?? loadConfig({ environment: process.env }).stateDir;
}

async function send(call: ReturnType<typeof request>, body: CallOptions['body']): Promise<void> {
  if (body === undefined) return void call.end();
  if (body instanceof Uint8Array) return void call.end(body);
  let closed = false;
  let wake = () => {};
  call.on('close', () => ((closed = true), wake()));
  call.on('drain', () => wake());
  for await (const chunk of body) {
    const drained = new Promise<void>((resolve) => (wake = resolve));
    if (closed) return;
    if (!call.write(chunk)) await drained;
  }
  call.end();
}

async function refusal(response: IncomingMessage): Promise<FlashdError> {
  const value = parse((await collect(response, ERROR_BYTES_MAX)).toString('utf8')) as { error?: Parameters<typeof fromErrorBody>[0] };
  return fromErrorBody(value.error ?? {});
}

async function collect(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new FlashdError('internal_error', { message: 'the answer is too long' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FlashdError('internal_error', { message: 'the answer of flashd is not JSON', cause: error });
  }
}
