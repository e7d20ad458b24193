import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { resolveConfig } from '../../../src/config/index.ts';
import { Builder, BundleStore, Deployer } from '../../../src/deploy/index.ts';
import { FlashdError } from '../../../src/errors/index.ts';
import { packDirectory } from '../../../src/deploy/pack.ts';
import { LiveRegistry, SqliteStore } from '../../../src/registry/index.ts';
import { archive, chunks, temporaryDirectory, writeFiles } from './archive.ts';

function setUp(t: TestContext) {
  // Hooks run in the order of their registration: this one before the directory is removed.
  t.after(async () => {
    await deployer.close();
    registry.close();
  });
  const stateDir = temporaryDirectory(t);
  const bundlesDir = join(stateDir, 'bundles');
  const registry = new LiveRegistry(new SqliteStore({ path: join(stateDir, 'registry.db') }), {
    bundlesDir,
    secretKeyPath: join(stateDir, 'secrets.key'),
    keepVersions: 2,
    maxFunctions: 3,
  });
  const built: string[] = [];
  const builder = new Builder(join(stateDir, 'builds'), () => new Uint8Array(), async (directory) => {
    built.push(readFileSync(join(directory, 'handler.c'), 'utf8'));
    if (built.at(-1) === 'wrong') throw new FlashdError('function_exited', { details: { stackTrace: ['handler.c:1:1: error: wrong'] } });
    return Buffer.from(`built from ${built.at(-1)}`);
  });
  const bundles = new BundleStore(bundlesDir, { maxBytes: 1_000_000, maxFiles: 100 }, () => registry.digests());
  const deployer = new Deployer(registry, bundles, builder, resolveConfig({}).functionDefaults, (error) => {
    throw error;
  });
  const deploy = (name: string, code: string) => deployer.deploy(name, chunks(archive([{ path: 'handler.py', content: code }])));
  const deployC = (name: string, code: string) => deployer.deploy(name, chunks(archive([{ path: 'handler.c', content: code }])));
  return { registry, bundles, builder, bundlesDir, deployer, deploy, deployC, built };
}

test('a deployed version is live and its bundle stands in the store', async (t) => {
  const { registry, bundlesDir, deploy } = setUp(t);
  const { version, previous, changed } = await deploy('hello', 'one');
  assert.deepEqual([previous, changed], [undefined, true]);
  assert.match(version.version, /^[0-9a-f]{16}$/);
  assert.equal(version.bundlePath, join(bundlesDir, version.digest));
  assert.equal(readFileSync(join(version.bundlePath, 'handler.py'), 'utf8'), 'one');
  assert.equal(registry.live('hello'), version);
});

test('source is built at its deployment, the same source once, and the compiler has its say', async (t) => {
  const { registry, deployC, built } = setUp(t);
  const { version } = await deployC('one', 'int one;');
  assert.deepEqual([version.manifest.runtime, version.manifest.handler], ['native', 'handler.so']);
  assert.equal(readFileSync(join(version.bundlePath, 'handler.so'), 'utf8'), 'built from int one;');
  assert.equal((await deployC('two', 'int one;')).version.digest, version.digest);
  assert.deepEqual(built, ['int one;']);
  await assert.rejects(deployC('one', 'wrong'), (error: FlashdError) => error.code === 'build_failed' && /handler\.c:1:1: error: wrong/.test(error.message));
  assert.equal(registry.live('one'), version);
});

test('what this machine or its operator does not give is refused before anything is built, and leaves nothing', async (t) => {
  const { registry, bundles, builder, bundlesDir, built } = setUp(t);
  const admit = ({ isolation }: { isolation?: string }): void => {
    if (isolation === 'process') throw new FlashdError('isolation_not_allowed');
  };
  const deployer = new Deployer(registry, bundles, builder, resolveConfig({}).functionDefaults, () => {}, admit);
  const light = [{ path: 'handler.c', content: 'int one;' }, { path: 'function.json', content: '{"isolation": "process"}' }];
  await assert.rejects(deployer.deploy('light', chunks(archive(light))), (error: FlashdError) => error.code === 'isolation_not_allowed' && error.status === 403 && /allowProcessIsolation/.test(error.hint));
  assert.deepEqual([registry.live('light'), built, readdirSync(bundlesDir)], [undefined, [], []]);
  await deployer.deploy('light', chunks(archive(light.slice(0, 1))));
  assert.equal(registry.live('light')?.manifest.isolation, undefined);
});

test('the same content is the same version, and nothing changes', async (t) => {
  const { registry, bundlesDir, deploy } = setUp(t);
  const first = await deploy('hello', 'one');
  let told = 0;
  registry.onChange(() => told++);
  const second = await deploy('hello', 'one');
  assert.equal(second.changed, false);
  assert.equal(second.version, first.version);
  assert.equal(told, 0);
  assert.equal(registry.versions('hello').length, 1);
  assert.equal(readdirSync(bundlesDir).length, 1);
});

test('two functions share a bundle, and removing one leaves it', async (t) => {
  const { bundles, deployer, deploy } = setUp(t);
  const { version } = await deploy('one', 'same');
  await deploy('two', 'same');
  deployer.remove('one');
  await bundles.collectGarbage();
  assert.ok(existsSync(version.bundlePath));
  deployer.remove('two');
  await bundles.collectGarbage();
  assert.ok(!existsSync(version.bundlePath));
});

test('only the newest versions and their bundles are kept', async (t) => {
  const { registry, bundles, bundlesDir, deploy } = setUp(t);
  for (const code of ['one', 'two', 'three']) await deploy('hello', code);
  await bundles.collectGarbage();
  assert.equal(registry.versions('hello').length, 2);
  assert.equal(readdirSync(bundlesDir).length, 2);
});

test('a pinned bundle survives the removal of its function until it is unpinned', async (t) => {
  const { bundles, deployer, deploy } = setUp(t);
  const { version } = await deploy('hello', 'one');
  const unpin = bundles.pin(version.digest);
  deployer.remove('hello');
  await bundles.collectGarbage();
  assert.ok(existsSync(version.bundlePath));
  unpin();
  unpin();
  await bundles.collectGarbage();
  assert.ok(!existsSync(version.bundlePath));
});

test('a refused deployment leaves nothing behind', async (t) => {
  const { registry, bundlesDir, deployer, deploy } = setUp(t);
  await assert.rejects(deployer.deploy('hello', chunks(archive([{ path: 'readme', content: 'x' }]))), { code: 'no_handler' });
  await assert.rejects(deployer.deploy('hello', chunks(archive([{ path: '../x', content: 'x' }]))), { code: 'bundle_invalid' });
  await assert.rejects(deploy('Hello', 'x'), { code: 'name_invalid' });
  assert.deepEqual(readdirSync(bundlesDir), []);
  assert.deepEqual(registry.list(), []);
});

test('more functions than allowed are refused, and their bundle is collected', async (t) => {
  const { bundles, bundlesDir, deploy } = setUp(t);
  for (const name of ['a', 'b', 'c']) await deploy(name, name);
  await assert.rejects(deploy('d', 'd'), { code: 'too_many_functions' });
  await bundles.collectGarbage();
  assert.equal(readdirSync(bundlesDir).length, 3);
});

test('what a crash left is collected, a deployment under way is not', async (t) => {
  const { bundles, bundlesDir } = setUp(t);
  for (const name of ['.staging-dead', '.removing-dead', 'f'.repeat(64)]) mkdirSync(join(bundlesDir, name));
  const staged = await bundles.receive(chunks(archive([{ path: 'handler.py', content: 'x' }])));
  await bundles.collectGarbage();
  assert.ok(existsSync(staged.directory));
  assert.equal(readdirSync(bundlesDir).length, 1);
  const unpin = await staged.keep();
  await bundles.collectGarbage();
  assert.deepEqual(readdirSync(bundlesDir), [staged.digest]);
  unpin();
});

test('what the CLI packs arrives as it is, without caches and version control', async (t) => {
  const { deployer } = setUp(t);
  const source = writeFiles(temporaryDirectory(t), {
    'handler.py': 'x',
    'data/deep/file.txt': 'y'.repeat(200_000),
    '__pycache__/handler.pyc': 'z',
    '.git/config': 'z',
  });
  const packed = await packDirectory(source);
  assert.equal(packed.bytes, 200_001);
  const { version } = await deployer.deploy('hello', packed.stream);
  assert.deepEqual(readdirSync(version.bundlePath).sort(), ['data', 'handler.py']);
  assert.equal(readFileSync(join(version.bundlePath, 'data/deep/file.txt'), 'utf8').length, 200_000);
  const again = await deployer.deploy('hello', (await packDirectory(source)).stream);
  assert.equal(again.changed, false);
});
