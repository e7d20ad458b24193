/** Secrets in the registry: sealed, bound to their place, unreadable without their key, and never in an error. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { resolveConfig } from '../../../src/config/index.ts';
import schema from '../../../src/deploy/function.schema.json' with { type: 'json' };
import { LiveRegistry, SqliteStore, type Version } from '../../../src/registry/index.ts';
import { checkSecretName, SECRET_BYTES_MAX } from '../../../src/registry/secrets.ts';

const MARKER = 'swordfish-4711';
const bytes = (text: string): Buffer => Buffer.from(text);

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const [path, keyPath] = [join(directory, 'registry.db'), join(directory, 'secrets.key')];
  const registry = new LiveRegistry(new SqliteStore({ path }), { bundlesDir: '/bundles', secretKeyPath: keyPath, keepVersions: 3, maxFunctions: 100 });
  t.after(() => {
    registry.close();
    rmSync(directory, { recursive: true });
  });
  const publish = (functionName: string, secrets: string[], letter = 'a'): Version =>
    registry.publish({ functionName, version: letter.repeat(16), digest: letter.repeat(64), manifest: { ...resolveConfig({}).functionDefaults, runtime: 'python', handler: 'handler.py', symbol: 'handler', environment: {}, secrets } });
  const change = (sql: string, ...values: unknown[]): void => {
    const database = new Database(path);
    database.prepare(sql).run(...values);
    database.close();
  };
  return { directory, path, keyPath, registry, publish, change };
}

test('a secret comes out as it went in, for the version that names it', (t) => {
  const { registry, publish } = setUp(t);
  const version = publish('f', ['ONE', 'TWO']);
  assert.deepEqual(registry.missingSecrets(version), ['ONE', 'TWO']);
  for (const [name, value] of [['ONE', 'süß = \n x'], ['OTHER', 'y']] as const) assert.equal(registry.setSecret('f', name, bytes(value)), true);
  assert.deepEqual(registry.missingSecrets(version), ['TWO']);
  assert.deepEqual(registry.secretValues(version), { ONE: 'süß = \n x' });
  assert.deepEqual(registry.secrets('f').map((each) => Object.keys(each)), Array(2).fill(['name', 'createdAt', 'updatedAt']));
});

test('no file of the registry holds a value, and equal values look different', (t) => {
  const { directory, path, registry, publish } = setUp(t);
  publish('f', ['A', 'B']);
  for (const name of ['A', 'B']) registry.setSecret('f', name, bytes(MARKER));
  for (const file of readdirSync(directory)) assert.ok(!readFileSync(join(directory, file)).includes(MARKER), file);
  const database = new Database(path, { readonly: true });
  const sealed = database.prepare('SELECT sealed FROM secrets').pluck().all() as Buffer[];
  database.close();
  assert.equal(new Set(sealed.map((each) => each.subarray(0, 12).toString('hex'))).size, 2, 'each has a nonce of its own');
  assert.notDeepEqual(sealed[0]!.subarray(12), sealed[1]!.subarray(12));
});

test('setting the same value again changes nothing, another one is told to listeners when the live version names it', (t) => {
  const { registry, publish } = setUp(t);
  publish('f', ['A']);
  const heard: string[] = [];
  registry.onChange((name) => heard.push(name));
  assert.deepEqual(['1', '1', '2'].map((value) => registry.setSecret('f', 'A', bytes(value))), [true, false, true]);
  registry.setSecret('f', 'UNNAMED', bytes('1'));
  registry.removeSecret('f', 'UNNAMED');
  assert.deepEqual(heard, ['f', 'f']);
  registry.removeSecret('f', 'A');
  assert.deepEqual(heard, ['f', 'f', 'f']);
});

test('secrets go with their function, and belong to a deployed one', (t) => {
  const { registry, publish } = setUp(t);
  for (const call of [() => registry.setSecret('f', 'A', bytes('1')), () => registry.removeSecret('f', 'A'), () => registry.secrets('f')]) assert.throws(call, { code: 'function_not_found' });
  publish('f', ['A']);
  registry.setSecret('f', 'A', bytes('1'));
  registry.remove('f');
  assert.deepEqual(registry.missingSecrets(publish('f', ['A'])), ['A']);
  assert.throws(() => registry.removeSecret('f', 'A'), { code: 'secret_not_found' });
});

test('what is sealed for one place opens at no other, and what was changed not at all', (t) => {
  const { registry, publish, change } = setUp(t);
  const [f, g] = [publish('f', ['A', 'B']), publish('g', ['A'], 'b')];
  registry.setSecret('f', 'A', bytes(MARKER));
  const copy = `INSERT INTO secrets SELECT ?, ?, sealed, created_at, updated_at FROM secrets`;
  const refused = { code: 'secrets_unreadable', message: /was not sealed with the key that is there/ };
  change(`${copy} WHERE function_name = 'f'`, 'g', 'A');
  assert.throws(() => registry.secretValues(g), refused);
  change(`${copy} WHERE function_name = 'f'`, 'f', 'B');
  assert.throws(() => registry.secretValues(f), refused);
  change(`DELETE FROM secrets WHERE name = 'B' OR function_name = 'g'`);
  assert.deepEqual(registry.secretValues(f), { A: MARKER });
  for (const length of [0, 5, 20, 100]) {
    change('UPDATE secrets SET sealed = ?', Buffer.alloc(length));
    assert.throws(() => registry.secretValues(f), refused);
  }
});

test('the key is its own file, 0600, made once and at first use', (t) => {
  const { keyPath, registry, publish } = setUp(t);
  publish('f', ['A']);
  assert.equal(statSync(keyPath, { throwIfNoEntry: false }), undefined);
  registry.setSecret('f', 'A', bytes('1'));
  const key = readFileSync(keyPath);
  assert.deepEqual([key.length, statSync(keyPath).mode & 0o7777, statSync(keyPath).uid], [32, 0o600, process.geteuid!()]);
  registry.setSecret('f', 'A', bytes('2'));
  assert.deepEqual(readFileSync(keyPath), key);
});

test('without the key nothing is read or set, and the way out works without it', (t) => {
  const { keyPath, registry, publish } = setUp(t);
  const version = publish('f', ['A']);
  registry.setSecret('f', 'A', bytes(MARKER));
  rmSync(keyPath);
  const refused = { code: 'secrets_unreadable', message: /does not exist, but there are secrets/, hint: /back into the state directory/ };
  assert.throws(() => registry.secretValues(version), refused);
  assert.throws(() => registry.setSecret('f', 'B', bytes('1')), refused);
  assert.equal(statSync(keyPath, { throwIfNoEntry: false }), undefined, 'no new key beside secrets of another one');
  registry.removeSecret('f', 'A');
  registry.setSecret('f', 'A', bytes('again'));
  assert.deepEqual(registry.secretValues(version), { A: 'again' });
});

test('a key that others can read, that is a link, of another size or another key is refused', (t) => {
  const { directory, keyPath, registry, publish } = setUp(t);
  const version = publish('f', ['A']);
  registry.setSecret('f', 'A', bytes(MARKER));
  const kept = join(directory, 'kept');
  copyFileSync(keyPath, kept);
  const spoil: (() => void)[] = [
    () => chmodSync(keyPath, 0o640),
    () => truncateSync(keyPath, 31),
    () => (rmSync(keyPath), symlinkSync(kept, keyPath)),
    () => (rmSync(keyPath), writeFileSync(keyPath, Buffer.alloc(32), { mode: 0o600 })),
  ];
  for (const each of spoil) {
    each();
    assert.throws(() => registry.secretValues(version), (error: Error & { code: string }) => error.code === 'secrets_unreadable' && !error.message.includes(MARKER), String(each));
    rmSync(keyPath);
    copyFileSync(kept, keyPath);
    chmodSync(keyPath, 0o600);
    assert.deepEqual(registry.secretValues(version), { A: MARKER });
  }
});

test('a key whose making was interrupted is made anew, when nothing is sealed with it', (t) => {
  const { keyPath, registry, publish } = setUp(t);
  const version = publish('f', ['A']);
  writeFileSync(keyPath, 'short', { mode: 0o600 });
  registry.setSecret('f', 'A', bytes('1'));
  assert.deepEqual(registry.secretValues(version), { A: '1' });
});

test('what cannot be a secret is refused without being repeated', (t) => {
  const { registry, publish } = setUp(t);
  publish('f', ['A']);
  const values = [Buffer.alloc(0), bytes(`${MARKER}\0`), Buffer.from([0xff, ...bytes(MARKER)]), Buffer.alloc(SECRET_BYTES_MAX + 1, MARKER)];
  for (const value of values) assert.throws(() => registry.setSecret('f', 'A', value), (error: Error & { code: string }) => error.code === 'secret_invalid' && !error.message.includes(MARKER));
  for (const name of ['', '1A', 'A-B', 'A=B', 'A B', 'É', '__proto__ ', 'A'.repeat(256)]) assert.throws(() => registry.setSecret('f', name, bytes('1')), { code: 'secret_invalid' }, name);
  registry.setSecret('f', 'A'.repeat(255), Buffer.alloc(SECRET_BYTES_MAX, 'x'));
});

test('a function has at most 64 secrets of 256 KiB together', (t) => {
  const { registry, publish } = setUp(t);
  publish('f', []);
  publish('g', [], 'b');
  for (let count = 0; count < 64; count++) registry.setSecret('f', `A${count}`, bytes('1'));
  assert.throws(() => registry.setSecret('f', 'B', bytes('1')), { code: 'secret_invalid', message: /64 secrets, which is the limit/ });
  registry.setSecret('f', 'A0', bytes('2'));
  for (let count = 0; count < 7; count++) registry.setSecret('g', `A${count}`, Buffer.alloc(SECRET_BYTES_MAX, 'x'));
  assert.throws(() => registry.setSecret('g', 'A7', Buffer.alloc(SECRET_BYTES_MAX, 'x')), { code: 'secret_invalid', message: /more than 262144/ });
});

test('the schema and the registry agree on names and their number', () => {
  const { items, maxItems } = schema.properties.secrets;
  assert.deepEqual([items.maxLength, maxItems, items.pattern], [255, 64, schema.properties.environment.propertyNames.pattern]);
  for (const name of ['A', '_a1', '1', 'a-b', '']) {
    const accepted = new RegExp(items.pattern).test(name);
    if (accepted) assert.equal(checkSecretName(name), name);
    else assert.throws(() => checkSecretName(name));
  }
});

test('a registry from before there were secrets gets its table', (t) => {
  const { path, registry, publish } = setUp(t);
  publish('f', ['A']);
  const database = new Database(path);
  database.exec('DROP TABLE credentials; DROP TABLE secrets; PRAGMA user_version = 1');
  database.close();
  const store = new SqliteStore({ path });
  t.after(() => store.close());
  assert.equal(store.hasSecrets(), false);
  assert.equal(registry.setSecret('f', 'A', bytes('1')), true);
});
