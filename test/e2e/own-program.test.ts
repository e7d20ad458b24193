/** flashd's own binary as a runtime's program: on a host that has none, with what user code expects of it, and without a way from there into flashd. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { isSandboxd, member } from './footprint.ts';

const functions = join(import.meta.dirname, '../../functions');
const RESUME_MS = 10_000;
const FORKS = 100;
/** In a mount namespace of its own nothing that could be executed stands where programs are looked for. */
const WITHOUT_NODE = ['unshare', '-m', 'sh', '-c', 'for file in /usr/local/bin/node /usr/bin/node /bin/node; do [ ! -e $file ] || mount --bind /dev/null $file || exit; done; exec "$0" "$@"'];

/** Programs run by other processes and threads of the function tell what they are. */
const FILES: Readonly<Record<string, string>> = {
  'index.js': `const { fork, execFileSync, spawnSync } = require('node:child_process');
const { Worker } = require('node:worker_threads');
const { once } = require('node:events');
const message = async (from) => (await once(from, 'message'))[0];
exports.handler = async () => ({
  program: { execPath: process.execPath, argv: process.argv, argv0: process.argv0, execArgv: process.execArgv, title: process.title, main: require.main.filename, release: process.release.name, version: process.version },
  environment: Object.keys(process.env).sort(), loaded: Object.keys(require.cache).sort(),
  fork: await message(fork(__dirname + '/told.js', ['one', '--two'])), forkModule: await message(fork(__dirname + '/told.mjs', ['three'])),
  worker: await message(new Worker(__dirname + '/worker.js', { workerData: 5 })), evaluated: await message(new Worker('require("node:worker_threads").parentPort.postMessage(6 * 7)', { eval: true })),
  byPath: execFileSync('node', ['told.js', 'four'], { cwd: __dirname }).toString(), typescript: execFileSync(process.execPath, [__dirname + '/typed.ts']).toString(),
  refused: [[], ['--inspect', 'told.js'], ['-e', '1'], ['list'], ['gateway'], ['serve']].map((args) => { const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: __dirname }); return [status, String(stdout), String(stderr)]; }),
});
`,
  'told.js': "const told = { argv: process.argv, main: require.main === module, evil: globalThis.evil === true };\nif (process.send) process.send(told);\nelse console.log(JSON.stringify(told));\n",
  'told.mjs': "process.send({ argv: process.argv, url: import.meta.url, evil: globalThis.evil === true });\n",
  'worker.js': "const { parentPort, workerData } = require('node:worker_threads');\nparentPort.postMessage([workerData, require('./part.js')]);\n",
  'part.js': "module.exports = 'a part';\n",
  'typed.ts': 'const typed: number = 7;\nconsole.log(typed);\n',
  'evil.js': 'globalThis.evil = true;\n',
  'function.json': JSON.stringify({ environment: { NODE_OPTIONS: '--require=/function/evil.js' }, memoryMb: 512 }),
};

describe("a runtime's program by flashd itself", () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.startBehind(WITHOUT_NODE, { FLASHD_FUNCTION_STANDBY: '0', FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0' });
    mkdirSync(join(folder, 'programs'));
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, 'programs', name), text);
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });

  test('stands in where the host has none, which list and doctor tell; others are the host\'s', async () => {
    await flashd.cli('deploy', join(functions, 'hello-node'), join(functions, 'hello-python'), join(functions, 'hello-typescript'));
    for (const name of ['hello-node', 'hello-python', 'hello-typescript']) {
      const answer = await flashd.frozen(name);
      assert.deepEqual([answer.status, startOf(answer), /Hello, world!/.test(answer.body.toString())], [200, 'function-template', true], name);
    }
    const listed = JSON.parse(await flashd.cli('list', '--json')) as { name: string; program: string }[];
    assert.deepEqual(listed.map(({ program }) => program.replace(/python3.*/, 'python3')), ['/opt/flashd/self/node', '/usr/bin/python3', '/opt/flashd/self/node']);
    assert.match(await flashd.cli('list'), /\nhello-node .* node \(flashd's own\) /);
    assert.match(await flashd.cli('doctor'), new RegExp(`\nruntime node +ready, \\d templates: /opt/flashd/self/node, flashd's own ${process.version}`));
  });

  test('its processes, forks and threads are what user code expects, without a way into flashd', async () => {
    await flashd.cli('deploy', join(folder, 'programs'));
    const answer = await flashd.http('GET', '/function/programs');
    assert.equal(answer.status, 200, answer.body.toString());
    const found = JSON.parse(answer.body.toString());
    const own = '/opt/flashd/self/node';
    assert.deepEqual(found.program, {
      execPath: own, argv: [own, '/opt/flashd/node/bootstrap.cjs', '/function'], argv0: 'node', execArgv: [], title: 'node', main: '/opt/flashd/node/bootstrap.cjs', release: 'node', version: process.version,
    });
    assert.deepEqual(found.environment, ['HOME', 'LANG', 'NODE_OPTIONS', 'PATH', 'TMPDIR', 'UV_USE_IO_URING']);
    for (const path of found.loaded) assert.match(path, /^\/(opt\/flashd\/node|function)\//);
    assert.deepEqual(found.fork, { argv: [own, '/function/told.js', 'one', '--two'], main: true, evil: false });
    assert.deepEqual(found.forkModule, { argv: [own, '/function/told.mjs', 'three'], url: 'file:///function/told.mjs', evil: false });
    assert.deepEqual([found.worker, found.evaluated], [[5, 'a part'], 42]);
    assert.deepEqual([JSON.parse(found.byPath), found.typescript], [{ argv: [own, '/function/told.js', 'four'], main: true, evil: false }, '7\n']);
    for (const [status, stdout, stderr] of found.refused.slice(0, 3)) assert.deepEqual([status, stdout, /^\S*node: there is no (script to run|option -\S+): .* runs scripts: /.test(stderr)], [9, '', true], stderr);
    for (const [status, stdout, stderr] of found.refused.slice(3)) assert.deepEqual([status, stdout, /Cannot find module '\/function\/(list|gateway|serve)'/.test(stderr)], [1, '', true], stderr);
  });

  test('values that must never repeat do not between its forks either', async (t) => {
    const fixture = prepareFixture('node', 'unique');
    t.after(() => fixture.remove());
    await flashd.cli('deploy', fixture.directory);
    await flashd.frozen(fixture.name);
    const answers = await Promise.all(Array.from({ length: FORKS }, () => flashd.http('GET', `/function/${fixture.name}`)));
    const [first, ...rest] = answers.map(({ body }) => JSON.parse(body.toString()) as Record<string, unknown>);
    for (const kind of Object.keys(first!).filter((each) => each !== 'while loading')) assert.equal(new Set([first!, ...rest].map((each) => each[kind])).size, FORKS, kind);
    assert.ok(answers.some((answer) => startOf(answer) === 'function-template'));
  });

  test('a function can neither write to the binary nor see the host through it', async () => {
    const code = `import os
def handler(event, context):
  path = '/opt/flashd/self/node'
  found = {'listed': os.listdir('/opt/flashd/self'), 'mount': [line.split()[5] for line in open('/proc/self/mountinfo') if path in line]}
  for name, act in (('write', lambda: open(path, 'r+b')), ('remove', lambda: os.remove(path)), ('add', lambda: open('/opt/flashd/self/x', 'w')), ('chmod', lambda: os.chmod(path, 0o777))):
    try:
      act()
      found[name] = 'done'
    except OSError as error:
      found[name] = type(error).__name__
  return found
`;
    mkdirSync(join(folder, 'touching'));
    writeFileSync(join(folder, 'touching', 'handler.py'), code);
    await flashd.cli('deploy', join(folder, 'touching'));
    const { listed, mount, ...refused } = JSON.parse((await flashd.http('GET', '/function/touching')).body.toString());
    assert.deepEqual(listed, ['node']);
    for (const options of mount) assert.match(options, /^ro,nosuid,nodev/);
    assert.equal(mount.length, 1);
    for (const [what, how] of Object.entries(refused)) assert.match(String(how), /^(OSError|PermissionError)$/, what);
  });
});

test('without need nothing of flashd\'s binary stands in a sandbox', async (t) => {
  const flashd = await Flashd.start();
  t.after(() => flashd.stop());
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'handler.py'), "import os\ndef handler(event, context):\n  return os.path.exists('/opt/flashd/self')\n");
  await flashd.cli('deploy', directory, '--name', 'looking');
  assert.equal((await flashd.http('GET', '/function/looking')).body.toString(), 'false');
});

test('it goes on after the binary was replaced on disk, also with a new sandboxd', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const copy = join(folder, 'flashd');
  const flashd = await Flashd.startBehind(['sh', '-c', `cp "$0" ${copy} && exec ${copy} "$@"`], { FLASHD_INTERPRETERS: 'own' });
  t.after(() => flashd.stop());
  await flashd.cli('deploy', join(functions, 'hello-node'));
  rmSync(copy);
  process.kill(member(flashd.pid, isSandboxd).pid, 'SIGKILL');
  let status: number | undefined;
  for (const end = performance.now() + RESUME_MS; status !== 200 && performance.now() < end; await sleep(50)) status = (await flashd.http('GET', '/function/hello-node').catch(() => undefined))?.status;
  assert.equal(status, 200, flashd.output.slice(-2000));
  assert.equal(JSON.parse(await flashd.cli('list', '--json'))[0].program, '/opt/flashd/self/node');
});
