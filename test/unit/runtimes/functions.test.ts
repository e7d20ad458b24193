/** The example functions do what their head comments say, in their runtime's shim. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RUNTIMES } from '../../../src/runtimes/index.ts';
import { startDirect } from '../../conformance/direct.ts';
import { compileHandler, root } from '../../conformance/fixtures.ts';
import type { Answer, Target } from '../../conformance/target.ts';

async function start(t: { after(work: () => unknown): void }, name: string): Promise<Target> {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-example-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(join(root, 'functions', name), directory, { recursive: true });
  compileHandler(directory);
  const runtime = RUNTIMES.get(existsSync(join(directory, 'handler.py')) ? 'python' : 'native')!;
  const manifestPath = join(directory, 'function.json');
  const manifest = existsSync(manifestPath) ? JSON.parse(readFileSync(manifestPath, 'utf8')) : {};
  const target = await startDirect({ name, directory, runtime, manifest, remove() {} });
  t.after(() => target.close());
  return target;
}

function text(answer: Answer): string {
  assert.equal(answer.kind, 'response', JSON.stringify(answer));
  return answer.kind === 'response' ? answer.body.toString() : '';
}

test('hello-python greets', async (t) => {
  assert.match(text(await (await start(t, 'hello-python')).invoke()), /"Hello, world!"/);
});

test('hello-c greets by name', async (t) => {
  assert.equal(text(await (await start(t, 'hello-c')).invoke({ query: 'name=Ada', path: '/x' })), 'Hello, Ada! You asked for /x\n');
});

test('hello-sh greets', async (t) => {
  assert.match(text(await (await start(t, 'hello-sh')).invoke()), /^Hello from process \d+: GET \/\n$/);
});

test('crc32 agrees with python', async (t) => {
  const target = await start(t, 'crc32');
  const body = Buffer.from('The quick brown fox jumps over the lazy dog');
  const expected = execFileSync('/usr/bin/python3', ['-c', `import zlib; print("%08x" % zlib.crc32(${JSON.stringify(body.toString())}.encode()), end="")`]).toString();
  assert.equal(text(await target.invoke({ method: 'POST', body })), `${expected} ${body.length}\n`);
  const refused = await target.invoke();
  assert.equal(refused.kind === 'response' && refused.status, 405);
});

test('validate-json names what is wrong and where', async (t) => {
  const target = await start(t, 'validate-json');
  const validate = async (body: string) => JSON.parse(text(await target.invoke({ method: 'POST', body: Buffer.from(body) })));
  assert.deepEqual((await validate('{"age":-1,"tags":[1],"x":0}')).problems, ['$.name is missing', '$.x is unknown', '$.age is less than 0', '$.tags[0] is not of type string']);
  assert.match((await validate('{')).problems[0], /^not JSON/);
});

test('verify-webhook accepts only the right signature', async (t) => {
  const target = await start(t, 'verify-webhook');
  const body = Buffer.from('{"action":"opened"}');
  const signature = `sha256=${createHmac('sha256', 'change me').update(body).digest('hex')}`;
  assert.match(text(await target.invoke({ method: 'POST', headers: { 'x-hub-signature-256': signature }, body })), /"accepted": true/);
  const refused = await target.invoke({ method: 'POST', headers: { 'x-hub-signature-256': `${signature}0` }, body });
  assert.equal(refused.kind === 'response' && refused.status, 401);
});

test('resize-image makes an image smaller, and refuses what is none', async (t) => {
  const target = await start(t, 'resize-image');
  const draw = 'from PIL import Image; import sys; Image.new("RGB", (64, 32), "red").save(sys.stdout.buffer, "PNG")';
  const image = execFileSync('/usr/bin/python3', ['-c', draw]);
  const answer = await target.invoke({ method: 'POST', query: 'width=16', headers: { 'content-type': 'image/png' }, body: image, binary: true });
  assert.equal(answer.kind === 'response' && answer.status, 200, JSON.stringify(answer));
  if (answer.kind === 'response') assert.deepEqual([answer.body.readUInt32BE(16), answer.body.readUInt32BE(20)], [16, 8]);
  const refused = await target.invoke({ method: 'POST', body: Buffer.from('no image') });
  assert.equal(refused.kind === 'response' && refused.status, 415);
});
