/** Every directory of functions/ is deployed as `npm start` does it, and does what its head comment says. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { exampleOf, functionDirectories, prepareFunctions } from '../../build/functions.ts';
import { root } from '../conformance/fixtures.ts';
import { Flashd, type HttpAnswer } from '../conformance/packaged.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

describe('the example functions', () => {
  let flashd: Flashd;
  const called = new Set<string>();
  before(async () => {
    await prepareFunctions();
    flashd = await Flashd.start();
    await flashd.cli('deploy', ...functionDirectories().map((directory) => join(root, directory)));
  });
  after(() => flashd?.stop());

  const call = (name: string, method = 'GET', path = '', headers: Record<string, string> = {}, body?: string | Buffer): Promise<HttpAnswer> => {
    called.add(name);
    return flashd.http(method, `/function/${name}${path}`, headers, body === undefined ? undefined : Buffer.from(body as string));
  };
  const json = ({ body }: HttpAnswer): any => JSON.parse(body.toString());

  test('hello greets in every language', async () => {
    const names = functionDirectories().map((directory) => basename(directory)).filter((name) => name.startsWith('hello-'));
    assert.ok(names.length >= 8);
    for (const name of names) {
      const answer = await call(name);
      assert.match(`${answer.status} ${answer.body.toString()}`, /^200 .*Hello/s, name);
    }
  });

  test('what `npm start` prints to be typed is answered', async () => {
    const lines = functionDirectories().map((directory) => exampleOf(directory, `127.0.0.1:${flashd.port}`));
    assert.equal(new Set(lines).size, functionDirectories().length);
    for (const line of lines) {
      const command = line.replace('curl ', 'curl -sSf ').replace('/tmp/small.png', '/dev/null');
      await new Promise<void>((resolve, reject) => execFile('bash', ['-c', `set -o pipefail; ${command}`], { cwd: root }, (error) => (error === null ? resolve() : reject(error))));
    }
  });

  test('crc32 sums up', async () => {
    assert.equal((await call('crc32', 'POST', '', {}, 'The quick brown fox jumps over the lazy dog')).body.toString(), '414fa339 43\n');
  });

  test('csv-to-json has its library at build time and at run time', async () => {
    const csv = 'name,city\r\n"Lovelace, Ada",London\r\n';
    assert.deepEqual(json(await call('csv-to-json', 'POST', '', { 'content-type': 'text/csv' }, csv)), [{ name: 'Lovelace, Ada', city: 'London' }]);
    assert.deepEqual(json(await call('csv-to-json', 'POST', '?delimiter=%3B', { 'content-type': 'text/csv' }, 'a;b\r\n1;2\r\n')), [{ a: '1', b: '2' }]);
    const statuses = await Promise.all([call('csv-to-json'), call('csv-to-json', 'POST', '', { 'content-type': 'text/csv' }, 'a,b\r\n1\r\n'), call('csv-to-json', 'POST', '', { 'content-type': 'text/csv' }, 'a,a\r\n'),
      call('csv-to-json', 'POST', '', { 'content-type': 'image/png' }, 'x')]);
    assert.deepEqual(statuses.map(({ status }) => status), [405, 422, 400, 415]);
  });

  test('render-markdown renders, and shows HTML as text', async () => {
    assert.equal((await call('render-markdown', 'POST', '', { 'content-type': 'text/plain' }, '*hi* <b>')).body.toString(), '<p><em>hi</em> &lt;b&gt;</p>\n');
  });

  test('resize-image makes an image smaller', async () => {
    const image = execFileSync('/usr/bin/python3', ['-c', 'from PIL import Image; import sys; Image.new("RGB", (64, 32), "red").save(sys.stdout.buffer, "PNG")']);
    const { status, body } = await call('resize-image', 'POST', '?width=16', { 'content-type': 'image/png' }, image);
    assert.deepEqual([status, body.readUInt32BE(16), body.readUInt32BE(20)], [200, 16, 8]);
  });

  test('validate-json stores what is valid, and has it back', async () => {
    const document = { name: 'Ada', age: 36, tags: ['a'] };
    const made = await call('validate-json', 'POST', '', JSON_TYPE, JSON.stringify(document));
    const { id, ...rest } = json(made);
    assert.deepEqual([made.status, rest], [201, { valid: true, document }]);
    for (let round = 0; round < 3; round++) assert.deepEqual(json(await call('validate-json', 'GET', `/${id}`)), { id, document });
    const refused = await call('validate-json', 'POST', '', JSON_TYPE, '{"age":-1}');
    assert.deepEqual([refused.status, json(refused)], [422, { valid: false, problems: ['$.name is missing', '$.age is less than 0'] }]);
    for (const path of ['', `/${'0'.repeat(32)}`, '/..%2f..%2fetc%2fpasswd', `/${id}.new`]) assert.equal((await call('validate-json', 'GET', path)).status, 404, path);
  });

  test('verify-webhook accepts only the right signature', async () => {
    const signature = `sha256=${createHmac('sha256', 'change me').update('{}').digest('hex')}`;
    const statuses = await Promise.all([signature, `${signature}0`].map((value) => call('verify-webhook', 'POST', '', { 'x-hub-signature-256': value }, '{}')));
    assert.deepEqual(statuses.map(({ status }) => status), [200, 401]);
  });

  test('web-app routes, remembers by its cookie, and answers JSON', async () => {
    const page = await call('web-app', 'GET', '?hex=ffcc00');
    const headers = new Map(page.headers.map(([name, value]) => [name.toLowerCase(), value]));
    assert.equal(headers.get('set-cookie'), 'colour=ffcc00; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax');
    assert.match(`${headers.get('content-type')} ${headers.get('x-content-type-options')}`, /^text\/html.* nosniff$/);
    assert.match((await call('web-app', 'GET', '/', { cookie: 'colour=ffcc00' })).body.toString(), /#ffcc00/);
    assert.match((await call('web-app', 'GET', '?hex=%3Cscript%3E')).body.toString(), /“&lt;script&gt;” is not a colour/);
    assert.deepEqual(json(await call('web-app', 'GET', '/api/colours/336699')), { hex: '336699', rgb: [51, 102, 153], text: 'white' });
    assert.deepEqual(json(await call('web-app', 'POST', '/api/colours', JSON_TYPE, '["ffffff", "no"]')), [{ hex: 'ffffff', rgb: [255, 255, 255], text: 'black' }, null]);
    const statuses = await Promise.all([call('web-app', 'GET', '/nowhere'), call('web-app', 'GET', '/api/colours/1'), call('web-app', 'POST', '/api/colours', JSON_TYPE, '{')]);
    assert.deepEqual(statuses.map(({ status }) => status), [404, 400, 400]);
  });

  test('none is left out, here and in the README', () => {
    const names = functionDirectories().map((directory) => basename(directory));
    assert.deepEqual(names.filter((name) => !called.has(name)), []);
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    assert.deepEqual(names.filter((name) => !name.startsWith('hello-') && !readme.includes(`functions/${name}`)), []);
  });
});
