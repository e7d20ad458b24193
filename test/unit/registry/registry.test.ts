import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { resolveConfig } from '../../../src/config/index.ts';
import type { Manifest } from '../../../src/deploy/index.ts';
import { LiveRegistry, SqliteStore } from '../../../src/registry/index.ts';

const manifest: Manifest = {
  ...resolveConfig({}).functionDefaults,
  runtime: 'python',
  handler: 'handler.py',
  symbol: 'handler',
  environment: {},
};
const version = (name: string, letter: string) => ({ functionName: name, version: letter.repeat(16), digest: letter.repeat(64), manifest });

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const path = join(directory, 'registry.db');
  const open = () => new LiveRegistry(new SqliteStore({ path }), { bundlesDir: '/bundles', secretKeyPath: join(directory, 'secrets.key'), keepVersions: 3, maxFunctions: 100 });
  const opened: LiveRegistry[] = [];
  t.after(() => {
    for (const registry of opened) registry.close();
    rmSync(directory, { recursive: true });
  });
  const registry = open();
  opened.push(registry);
  return { path, registry, reopen: () => (opened.pop()!.close(), opened.push(open()), opened[0]!) };
}

test('a published version is live, also after the registry was opened again', (t) => {
  const { registry, reopen } = setUp(t);
  const published = registry.publish(version('f', 'a'));
  assert.equal(published.bundlePath, `/bundles/${'a'.repeat(64)}`);
  assert.equal(registry.live('f'), published);
  const again = reopen();
  assert.deepEqual(again.live('f'), published);
  assert.deepEqual(
    again.list().map(({ name, runtime, versions }) => ({ name, runtime, versions })),
    [{ name: 'f', runtime: 'python', versions: 1 }],
  );
});

test('a rollback goes back step by step, and a deployment starts from where it went', (t) => {
  const { registry } = setUp(t);
  for (const letter of ['a', 'b', 'c']) registry.publish(version('f', letter));
  assert.equal(registry.rollback('f').version, 'b'.repeat(16));
  assert.equal(registry.rollback('f').version, 'a'.repeat(16));
  assert.throws(() => registry.rollback('f'), { code: 'no_previous_version' });
  registry.publish(version('f', 'd'));
  assert.equal(registry.rollback('f').version, 'a'.repeat(16));
});

test('a rollback names a version by its beginning, and can itself be rolled back', (t) => {
  const { registry } = setUp(t);
  for (const letter of ['a', 'b', 'c']) registry.publish(version('f', letter));
  assert.equal(registry.rollback('f', 'aaaa').version, 'a'.repeat(16));
  assert.equal(registry.rollback('f').version, 'c'.repeat(16));
  assert.throws(() => registry.rollback('f', 'a'), { code: 'version_not_found' });
  assert.throws(() => registry.rollback('f', 'dddd'), { code: 'version_not_found' });
  assert.throws(() => registry.rollback('g'), { code: 'function_not_found' });
});

test('deploying the live version again changes nothing; an older one becomes live again', (t) => {
  const { registry } = setUp(t);
  for (const letter of ['a', 'b', 'b', 'a']) registry.publish(version('f', letter));
  assert.deepEqual(
    registry.versions('f').map((each) => each.version[0]),
    ['a', 'b'],
  );
  assert.equal(registry.rollback('f').version, 'b'.repeat(16));
});

test('old versions are dropped, never the live one, and a rollback passes over them', (t) => {
  const { registry } = setUp(t);
  for (const letter of ['a', 'b', 'c']) registry.publish(version('f', letter));
  registry.rollback('f', 'aaaa');
  for (const letter of ['d', 'e', 'f']) registry.publish(version('f', letter));
  assert.deepEqual(
    registry.versions('f').map((each) => each.version[0]),
    ['f', 'e', 'd'],
  );
  registry.rollback('f');
  registry.rollback('f');
  assert.equal(registry.live('f')!.version[0], 'd');
  assert.throws(() => registry.rollback('f'), { code: 'no_previous_version' });
});

test('removing a function removes all of it', (t) => {
  const { registry } = setUp(t);
  registry.publish(version('f', 'a'));
  registry.publish(version('g', 'b'));
  registry.remove('f');
  assert.equal(registry.live('f'), undefined);
  assert.deepEqual(registry.versions('f'), []);
  assert.deepEqual([...registry.digests()], ['b'.repeat(64)]);
  assert.throws(() => registry.remove('f'), { code: 'function_not_found' });
});

test('listeners hear of what changed and of nothing else', (t) => {
  const { registry } = setUp(t);
  const heard: string[] = [];
  const stop = registry.onChange((name) => heard.push(`${name} ${registry.live(name)?.version[0]}`));
  registry.publish(version('f', 'a'));
  registry.publish(version('f', 'a'));
  registry.publish(version('f', 'b'));
  registry.rollback('f');
  registry.remove('f');
  stop();
  registry.publish(version('f', 'a'));
  assert.deepEqual(heard, ['f a', 'f b', 'f a', 'f undefined']);
});

test('a registry of a newer flashd is refused, and so is a file that is none', (t) => {
  const { path, registry } = setUp(t);
  const database = new Database(path);
  database.pragma('user_version = 999');
  database.close();
  assert.throws(() => new SqliteStore({ path }), { code: 'registry_failed', message: /newer/ });
  assert.ok(registry.list());
  writeFileSync(`${path}.txt`, 'this is no database, and long enough to be taken for one'.repeat(100));
  assert.throws(() => new SqliteStore({ path: `${path}.txt` }), { code: 'registry_failed' });
});
