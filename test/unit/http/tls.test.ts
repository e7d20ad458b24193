import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { sleep } from '../invocation/fixture.ts';
import { exchange, serve } from './fixture.ts';

const RENEWED_MS = 8000;

function files(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const name of ['first', 'second']) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${name}`, '-keyout', join(directory, `${name}.key`), '-out', join(directory, `${name}.crt`), '-days', '2'], { stdio: 'ignore' });
  }
  const tls = { certificate: join(directory, 'crt'), key: join(directory, 'key') };
  const put = (certificate: string, key: string) => {
    for (const [from, to] of [[`${certificate}.crt`, tls.certificate], [`${key}.key`, tls.key]] as const) {
      copyFileSync(join(directory, from), join(directory, 'new'));
      renameSync(join(directory, 'new'), to);
    }
  };
  put('first', 'first');
  return { tls, put };
}

function shake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () => resolve(socket)).on('error', reject);
  });
}

async function nameShown(port: number): Promise<string> {
  const socket = await shake(port);
  const name = String(socket.getPeerCertificate().subject.CN);
  socket.destroy();
  return name;
}

test('HTTPS serves functions from TLS 1.2 on, plain HTTP gets nothing', async (t) => {
  const { port, registry, addon } = await serve(t, { tls: files(t).tls });
  registry.deploy('hello');
  addon.onRequest = (request) => setImmediate(() => addon.respond(request));
  const socket = await shake(port, { maxVersion: 'TLSv1.2' });
  socket.write('GET /function/hello HTTP/1.1\r\nHost: x\r\n\r\n');
  const answer = await new Promise<string>((resolve) => socket.on('data', (chunk) => resolve(chunk.toString())));
  assert.match(answer, /^HTTP\/1.1 200 OK/);
  socket.destroy();
  await assert.rejects(shake(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
  assert.equal((await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')).status, 0);
});

test('a renewed certificate is for new connections, those that are open go on; broken files change nothing', { timeout: 30_000 }, async (t) => {
  const { tls, put } = files(t);
  const { port, reported } = await serve(t, { tls });
  const open = await shake(port);
  t.after(() => open.destroy());
  put('second', 'first');
  for (const end = performance.now() + RENEWED_MS; reported.length === 0 && performance.now() < end;) await sleep(50);
  assert.match(String(reported[0]), /are not a certificate and its key/);
  assert.equal(await nameShown(port), 'first');
  put('second', 'second');
  for (const end = performance.now() + RENEWED_MS; performance.now() < end && (await nameShown(port)) !== 'second';) await sleep(50);
  assert.equal(await nameShown(port), 'second');
  open.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  const answer = await new Promise<string>((resolve) => open.on('data', (chunk) => resolve(chunk.toString())));
  assert.match(answer, /^HTTP\/1.1 200 OK/);
});

test('a certificate is renewed where the kernel does not tell the sockets apart', { timeout: 30_000 }, async (t) => {
  const { tls, put } = files(t);
  const refuse = (): void => {
    throw new Error('no such option');
  };
  const { port, reported } = await serve(t, { tls, preferSuccessor: refuse });
  put('second', 'second');
  for (const end = performance.now() + RENEWED_MS; reported.length === 0 && performance.now() < end;) await sleep(50);
  assert.match(String(reported[0]), /no such option/);
  const names = await Promise.all(Array.from({ length: 16 }, () => nameShown(port)));
  assert.ok(names.includes('second'), String(names));
});

test('files that are missing or no certificate are said at once; the port is not shared by accident', async (t) => {
  const { tls } = files(t);
  await assert.rejects(serve(t, { tls: { ...tls, key: '/nonexistent' } }), { code: 'config_invalid', message: /cannot read \/nonexistent/ });
  const { port } = await serve(t, { tls });
  await assert.rejects(serve(t, { tls, port }), { code: 'config_invalid' });
  await assert.rejects(serve(t, { port }), { code: 'config_invalid' });
  writeFileSync(tls.certificate, 'nonsense');
  await assert.rejects(serve(t, { tls }), { code: 'config_invalid', message: /are not a certificate/ });
});
