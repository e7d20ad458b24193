import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Credentials, CREDENTIALS_MAX } from '../../../src/registry/credentials.ts';
import { SqliteStore } from '../../../src/registry/index.ts';
import type { Manifest } from '../../../src/deploy/manifest.ts';

function made() {
  const store = new SqliteStore({ path: ':memory:' });
  for (const functionName of ['shop', 'other']) store.publish({ functionName, version: 'v1', digest: 'd', manifest: { runtime: 'python' } as Manifest }, { keep: 2, maxFunctions: 9 });
  return { store, credentials: new Credentials(store) };
}

test('a token is accepted until it is revoked; what is kept is not it', () => {
  const { store, credentials } = made();
  const token = credentials.create(null, 'laptop');
  assert.match(token, /^flashd_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual([token, `${token}x`, token.slice(0, -1), '', 'x'.repeat(10_000)].map((each) => credentials.accepts(null, each)), [true, false, false, false, false]);
  assert.ok(!Buffer.from(store.credentials(null)[0]!.hash).toString('latin1').includes(token));
  assert.ok(new Credentials(store).accepts(null, token), 'after a restart');
  credentials.revoke(null, 'laptop');
  assert.equal(credentials.accepts(null, token), false);
  assert.throws(() => credentials.revoke(null, 'laptop'), { code: 'credential_not_found' });
});

test('a key is of one function, stays with it through redeployments and goes with it', () => {
  const { store, credentials } = made();
  const key = credentials.create('shop', 'default');
  assert.deepEqual([credentials.accepts('shop', key), credentials.accepts('other', key), credentials.accepts(null, key)], [true, false, false]);
  store.publish({ functionName: 'shop', version: 'v2', digest: 'e', manifest: { runtime: 'python' } as Manifest }, { keep: 1, maxFunctions: 9 });
  assert.ok(new Credentials(store).accepts('shop', key));
  store.remove('shop');
  credentials.forget('shop');
  assert.equal(credentials.accepts('shop', key), false);
});

test('names are plain, unique and limited in number', () => {
  const { credentials } = made();
  for (const name of ['', 'A', 'a b', '-a', 'a'.repeat(64)]) assert.throws(() => credentials.create(null, name), { code: 'credential_invalid' });
  for (let index = 0; index < CREDENTIALS_MAX; index++) credentials.create(null, `t${index}`);
  assert.throws(() => credentials.create(null, 'one-more'), { code: 'credential_invalid' });
  assert.throws(() => credentials.create(null, 't1'), { code: 'credential_invalid' });
});
