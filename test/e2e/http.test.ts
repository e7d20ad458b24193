/** The public side of the packaged binary before hostile clients and hostile functions, with keys, tokens, limits and TLS. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd, type HttpAnswer } from '../conformance/packaged.ts';

const IDLE = 2000;
const HANDLER = `
import json
def handler(event, context):
    case = event.get("queryStringParameters", {}).get("case", "")
    if case == "echo":
        return {"statusCode": 200, "body": json.dumps(event)}
    headers = {
        "cr": {"x-a": "1\\rx-evil: 1"}, "lf": {"x-a": "1\\nx-evil: 1"}, "crlf": {"x-a": "1\\r\\nx-evil: 1"}, "nul": {"x-a": "1\\0x-evil: 1"},
        "name": {"x-evil: 1\\r\\nx-a": "1"}, "space": {"x evil": "1"}, "empty": {"": "1"},
        "hop": {"Connection": "close", "Transfer-Encoding": "chunked", "Keep-Alive": "x", "Upgrade": "x", "Trailer": "x", "Proxy-Connection": "x"},
        "length": {"Content-Length": "99999"}, "short": {"Content-Length": "1"},
        "many": {f"x-{i}": "1" for i in range(1000)}, "huge": {"x-huge": "a" * (2 << 20)},
    }.get(case, {})
    cookies = ["c=" + "a" * 30000] if case == "cookie" else ["a=1\\r\\nx-evil: 1"] if case == "cookie-crlf" else []
    return {"statusCode": 200, "headers": headers, "cookies": cookies, "body": "body"}
`;

const directories: string[] = [];
function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  chmodSync(directory, 0o755);
  directories.push(directory);
  return directory;
}

async function deploy(flashd: Flashd, name: string, manifest: object = {}): Promise<void> {
  const directory = join(temporary(), name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'handler.py'), HANDLER);
  writeFileSync(join(directory, 'function.json'), JSON.stringify(manifest));
  await flashd.cli('deploy', directory);
}

const codeOf = ({ body }: HttpAnswer) => JSON.parse(body.toString()).error.code as string;
after(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

describe('over HTTP', () => {
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start();
    await deploy(flashd, 'hostile');
  });
  after(() => flashd?.stop());

  const head = (...lines: string[]): string => ['POST /function/hostile HTTP/1.1', 'Host: x', ...lines, '', ''].join('\r\n');
  for (const [title, request, status, code] of [
    ['an impossible chunk size', `${head('Transfer-Encoding: chunked')}-3\r\nabc\r\n0\r\n\r\n`, 400, 'bad_request'],
    ['a long header', head(`X-A: ${'a'.repeat(5000)}`), 431, 'headers_too_large'],
    ['another version', 'GET /function/hostile HTTP/1.0\r\nHost: x\r\n\r\n', 505, 'http_not_supported'],
    ['an absolute target', 'GET http://x/function/hostile HTTP/1.1\r\nHost: x\r\n\r\n', 505, 'http_not_supported'],
  ] as const) {
    test(`what is answered before anybody sees the request has an error code, too: ${title}`, async () => {
      const socket = connect(flashd.port, '127.0.0.1').on('error', () => {});
      let raw = '';
      socket.setEncoding('latin1').on('data', (text: string) => (raw += text)).write(request);
      await once(socket, 'close');
      const [start, body] = raw.split('\r\n\r\n') as [string, string];
      assert.match(start, new RegExp(`^HTTP/1\\.1 ${status} [^\r]+\r\nContent-Type: application/json(\r\n|$)`));
      assert.deepEqual(JSON.parse(body), { error: { code } });
    });
  }

  for (const name of ['cr', 'lf', 'crlf', 'nul', 'name', 'space', 'empty', 'cookie-crlf', 'many', 'huge']) {
    test(`a function's header that is none is its own fault: ${name}`, async () => {
      const answer = await flashd.http('GET', `/function/hostile?case=${name}`);
      assert.equal(answer.status, 502);
      assert.match(codeOf(answer), /^(response_invalid|response_too_large|function_protocol_error)$/);
      assert.ok(!answer.headers.some(([header]) => /evil/i.test(header)));
    });
  }

  test('what a function says of the connection and the length is not passed on', async () => {
    for (const name of ['hop', 'length', 'short']) {
      const answer = await flashd.http('GET', `/function/hostile?case=${name}`);
      assert.deepEqual([answer.status, answer.body.toString()], [200, 'body'], name);
      const values = answer.headers.filter(([header]) => /^(transfer-encoding|keep-alive|upgrade|trailer|proxy-connection|content-length)$/i.test(header));
      assert.deepEqual(values.map(([header, value]) => [header.toLowerCase(), value]), [['content-length', '4']]);
    }
  });

  test('a long cookie arrives', async () => {
    // Raw, because Node.js reads 16 KiB of head.
    const socket = connect(flashd.port, '127.0.0.1');
    let raw = '';
    socket.on('data', (chunk) => (raw += chunk.toString('latin1')));
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.write('GET /function/hostile?case=cookie HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await closed;
    assert.match(raw, /^HTTP\/1.1 200 .*\r\nset-cookie: c=a{30000}\r\n/is);
  });

  test(`beside ${IDLE} idle connections a request is served as ever`, async () => {
    const idle = Array.from({ length: IDLE }, () => connect(flashd.port, '127.0.0.1').on('error', () => {}));
    await Promise.all(idle.map((socket) => new Promise((resolve) => socket.on('connect', resolve))));
    assert.equal((await flashd.http('GET', '/function/hostile')).status, 200);
    for (const socket of idle) socket.destroy();
  });

  test('a method cannot write into the event', async () => {
    const socket = connect(flashd.port, '127.0.0.1');
    let raw = '';
    socket.on('data', (chunk) => (raw += chunk.toString()));
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.write('G","sourceIp":"6.6.6.6 /function/hostile?case=echo HTTP/1.1\r\nHost: x\r\n\r\n');
    await closed;
    assert.match(raw, /^HTTP\/1.1 400 .*bad_request/s);
  });

  test('a function over its rate gets 429', async () => {
    await deploy(flashd, 'limited', { requestsPerSecond: 0.2 });
    assert.equal((await flashd.http('GET', '/function/limited')).status, 200);
    const answer = await flashd.http('GET', '/function/limited');
    assert.deepEqual([answer.status, codeOf(answer)], [429, 'rate_limited']);
    assert.ok(Number(answer.headers.find(([name]) => name.toLowerCase() === 'retry-after')![1]) >= 3);
  });

  test('keys: created, needed, kept through a redeployment, revoked, never logged', async () => {
    await deploy(flashd, 'guarded', { auth: 'key' });
    assert.equal(codeOf(await flashd.http('GET', '/function/guarded')), 'unauthorized');
    const key = (await flashd.cli('key', 'create', 'guarded', 'site')).trim();
    const answer = await flashd.http('GET', '/function/guarded?case=echo', { 'x-flashd-key': key });
    assert.equal(answer.status, 200);
    assert.ok(!answer.body.includes(key));
    await deploy(flashd, 'guarded', { auth: 'key', timeoutMs: 5000 });
    assert.equal((await flashd.http('GET', '/function/guarded', { authorization: `Bearer ${key}` })).status, 200);
    assert.match(await flashd.cli('list'), /guarded .* key /);
    await flashd.cli('key', 'revoke', 'guarded', 'site');
    assert.equal((await flashd.http('GET', '/function/guarded', { 'x-flashd-key': key })).status, 401);
    assert.ok(!flashd.output.includes(key));
  });

  test('tokens: the command line deploys and lists from elsewhere, until the token is revoked', async () => {
    const url = `http://127.0.0.1:${flashd.port}`;
    assert.equal((await flashd.http('GET', '/api/functions')).status, 404);
    const file = join(temporary(), 'token');
    const token = (await flashd.cli('token', 'create', 'laptop')).trim();
    writeFileSync(file, token);
    assert.equal((await flashd.http('GET', '/api/functions')).status, 401);
    const directory = join(temporary(), 'remote');
  mkdirSync(directory);
    writeFileSync(join(directory, 'handler.py'), HANDLER);
    await flashd.cli('deploy', directory, '--url', url, '--token-file', file);
    assert.match(await flashd.cli('list', '--url', url, '--token-file', file), /remote/);
    assert.match(await flashd.cli('invoke', 'remote', '--url', url, '--token-file', file), /body/);
    await flashd.cli('remove', 'remote', '--url', url, '--token-file', file);
    await flashd.cli('token', 'revoke', 'laptop');
    await assert.rejects(flashd.cli('list', '--url', url, '--token-file', file), /not_found/);
    assert.ok(!flashd.output.includes(token));
  });
});

test('a client over its rate gets 429', async (t) => {
  const flashd = await Flashd.start({ FLASHD_CLIENT_REQUESTS_PER_SECOND: '0.2' });
  t.after(() => flashd.stop());
  assert.equal((await flashd.http('GET', '/function/nobody')).status, 404);
  assert.equal(codeOf(await flashd.http('GET', '/function/nobody')), 'rate_limited');
});

test('HTTPS: a certificate of the service user, renewed while it runs', async (t) => {
  const directory = temporary();
  const [crt, key] = [join(directory, 'crt'), join(directory, 'key')];
  const make = () => {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=localhost', '-keyout', key, '-out', crt, '-days', '2'], { stdio: 'ignore' });
    chmodSync(key, 0o644);
  };
  make();
  const flashd = await Flashd.start({ FLASHD_TLS_CERT: crt, FLASHD_TLS_KEY: key });
  t.after(() => flashd.stop());
  await deploy(flashd, 'secure');
  assert.equal((await flashd.http('GET', '/function/secure')).status, 200);
  assert.match(await flashd.cli('list'), /https:\/\//);
  make();
  for (let waited = 0; waited < 10_000 && !flashd.output.includes('the certificate was renewed'); waited += 50) await sleep(50);
  assert.match(flashd.output, /the certificate was renewed/);
  assert.equal((await flashd.http('GET', '/function/secure')).status, 200);
});

test('a key that only root can read is said at once, and nothing is served without it', async () => {
  const directory = temporary();
  for (const name of ['crt', 'key']) writeFileSync(join(directory, name), 'x', { mode: name === 'key' ? 0o600 : 0o644 });
  await assert.rejects(Flashd.start({ FLASHD_TLS_CERT: join(directory, 'crt'), FLASHD_TLS_KEY: join(directory, 'key') }), /config_invalid: cannot read .*key[\s\S]*chmod 640/);
});
