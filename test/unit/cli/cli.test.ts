/**
 * The command line as a user sees it, against a real management socket with a registry of its own; only the invocation of functions is
 * played.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { bundle } from '../../../build/bundle.ts';
import { resolveConfig } from '../../../src/config/index.ts';
import { Builder, BundleStore, Deployer } from '../../../src/deploy/index.ts';
import type { InvokeCall } from '../../../src/deploy/management-api.ts';
import { FlashdError } from '../../../src/errors/index.ts';
import { ManagementServer, type ManagementOptions } from '../../../src/http/management.ts';
import { createLogger, FunctionLogs, Metrics } from '../../../src/observability/index.ts';
import { LiveRegistry, SqliteStore } from '../../../src/registry/index.ts';
import { archive } from '../deploy/archive.ts';

/** In one file, as in the binary: a hundred starts from its sources would take most of the time. */
const bundled = mkdtempSync(join(tmpdir(), 'flashd-test-'));
const MAIN = join(bundled, 'main.cjs');
before(() => bundle(new URL('./entry.ts', import.meta.url).pathname, MAIN));
after(() => rmSync(bundled, { recursive: true }));

async function setUp(t: TestContext, overrides: Partial<ManagementOptions> = {}) {
  const stateDir = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const bundlesDir = join(stateDir, 'bundles');
  const registry = new LiveRegistry(new SqliteStore({ path: join(stateDir, 'registry.db') }), {
    bundlesDir,
    secretKeyPath: join(stateDir, 'secrets.key'),
    keepVersions: 10,
    maxFunctions: 10,
  });
  const bundles = new BundleStore(bundlesDir, { maxBytes: 1_000_000, maxFiles: 100 }, () => registry.digests());
  const deployer = new Deployer(registry, bundles, new Builder(join(stateDir, 'builds'), () => new Uint8Array(), () => Promise.reject(new Error('nothing is built here'))), resolveConfig({}).functionDefaults, (error) => {
    throw error;
  });
  const logs = new FunctionLogs({
    directory: join(stateDir, 'logs'),
    linesPerSecond: 1000,
    bytesPerSecond: 1_000_000,
    lineBytes: 1000,
    fileBytes: 100_000,
    onError: () => {},
  });
  const calls: InvokeCall[] = [];
  const server = new ManagementServer({
    templateOf: () => 'ready',
    verify: async (_name, restores) => ({ requests: restores, restores, failure: null }),
    programOf: () => '/opt/flashd/self/some',
    socketPath: join(stateDir, 'flashd.sock'),
    registry,
    deployer,
    logs,
    removed: () => {},
    profile: async (name, manifest, { requests = 0 }) => ({ function: name, calls: ['read', 'write'], allowed: 11, base: 282, requests, seconds: 1, interception: { ...manifest, enforce: ['read', 'write'] } }),
    metrics: new Metrics(),
    logger: createLogger('silent'),
    peer: () => ({ uid: 0, gid: 0 }),
    functionUrl: (name) => `http://127.0.0.1:8080/function/${name}`,
    invoke: async (_name, call) => {
      calls.push(call);
      return { requestId: 'r1', status: 201, headers: [['x-answer', '42']], bodyBase64: Buffer.from('hello\n').toString('base64') };
    },
    report: async () => ({
      version: '1.2.3',
      pid: 7,
      uptimeSeconds: 5,
      listen: '127.0.0.1:8080',
      functions: 1,
      instances: 2,
      instancesMax: 3,
      acrossFunctions: true,
      memoryBytes: 0,
      memoryBudgetBytes: 0,
      sandboxd: { connected: true, cgroups: 'v2', features: { landlock: true } },
      runtimes: [{ name: 'python', state: 'ready', templates: 2, detail: '/usr/bin/some' }, { name: 'node', state: 'ready', templates: 1, detail: '/opt/flashd/self/node' }],
    }),
    maxBodyBytes: 1_000_000,
    ...overrides,
  });
  await server.listen();
  t.after(async () => {
    await server.close();
    await deployer.close();
    await logs.close();
    registry.close();
    rmSync(stateDir, { recursive: true });
  });
  const source = (files: Record<string, string>, name = 'hello') => {
    const directory = join(stateDir, 'sources', name);
    mkdirSync(directory, { recursive: true });
    for (const [file, content] of Object.entries(files)) writeFileSync(join(directory, file), content);
    return directory;
  };
  return { stateDir, calls, logs, source, run: (...args: string[]) => flashd(stateDir, args) };
}

function flashd(stateDir: string, args: string[], input?: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, FLASHD_STATE_DIR: stateDir },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // What is refused early is not read to its end.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

test('deploy, list, rollback, remove: from nothing to nothing', async (t) => {
  const { run, source } = await setUp(t);
  const first = await run('deploy', source({ 'handler.py': 'one' }));
  assert.match(first.stdout, /^hello {2}version [0-9a-f]{12} live {2}http:\/\/127\.0\.0\.1:8080\/function\/hello\n$/);
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.match((await run('deploy', source({ 'handler.py': 'one' }))).stdout, /live already/);
  await run('deploy', source({ 'handler.py': 'two' }), '--name', 'hello');
  const listed = JSON.parse((await run('list', '--json')).stdout) as { name: string; versions: number }[];
  assert.deepEqual(
    listed.map(({ name, versions }) => [name, versions]),
    [['hello', 2]],
  );
  assert.match((await run('list')).stdout, /\nhello .* python \(flashd's own\) /);
  assert.match((await run('list', 'hello')).stdout, /live\n[0-9a-f]{12} .*\n$/);
  assert.ok((await run('rollback', 'hello')).stdout.includes(/version ([0-9a-f]{12})/.exec(first.stdout)![1]!));
  assert.equal((await run('rollback', 'hello')).code, 100);
  assert.equal((await run('remove', 'hello')).stdout, 'hello  removed\n');
  assert.match((await run('list')).stdout, /no functions yet/);
});

test('invoke sends what it is told and prints the body', async (t) => {
  const { run, source, calls } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const plain = await run('invoke', 'hello');
  assert.deepEqual([plain.code, plain.stdout], [0, 'hello\n']);
  const full = await run('invoke', 'hello', '-i', '--path', '/a/b?c=d', '--data', '{}', '-H', 'X-One: 1');
  assert.equal(full.stdout, '201\nx-answer: 42\n\nhello\n');
  assert.deepEqual(calls[0], { method: 'GET', path: '/', query: '', headers: [], bodyBase64: '' });
  assert.deepEqual(calls[1], {
    method: 'POST',
    path: '/a/b',
    query: 'c=d',
    headers: [
      ['x-one', '1'],
      ['content-type', 'application/json'],
    ],
    bodyBase64: 'e30=',
  });
});

test("a function's error is printed with its type, message and stack, and its code says that it is not the caller's", async (t) => {
  const { run, source } = await setUp(t, {
    invoke: () =>
      Promise.reject(
        new FlashdError('function_error', {
          details: { errorType: 'ZeroDivisionError', errorMessage: 'division by zero', stackTrace: ['File "handler.py", line 2'] },
        }),
      ),
  });
  await run('deploy', source({ 'handler.py': '' }));
  const { code, stdout, stderr } = await run('invoke', 'hello');
  assert.deepEqual([code, stdout], [111, '']);
  assert.match(stderr, /^flashd: function_error: .*\n {2}ZeroDivisionError: division by zero\n {4}File "handler\.py", line 2\n {2}hint: /);
  const json = await run('invoke', 'hello', '--json');
  assert.equal(JSON.parse(json.stdout).error.details.errorType, 'ZeroDivisionError');
});

test('logs prints the last lines, and follows until it is stopped', async (t) => {
  const { run, source, logs, stateDir } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const labels = { function: 'hello', version: 'v'.repeat(16), instance: 3, invocation: 'r1' };
  logs.write(labels, 1, Buffer.from('one\ntwo\n'));
  assert.match((await run('logs', 'hello', '-n', '1')).stdout, /^\S+ v{12} 3 out {2}two\n$/);
  const following = spawn(process.execPath, [MAIN, 'logs', 'hello', '-f', '-n', '0', '--json'], {
    env: { ...process.env, FLASHD_STATE_DIR: stateDir },
  });
  const writing = setInterval(() => logs.write(labels, 2, Buffer.from('live\n')), 20);
  const [chunk] = (await once(following.stdout, 'data')) as [Buffer];
  clearInterval(writing);
  following.kill();
  const entry = JSON.parse(chunk.toString().split('\n')[0]!);
  assert.deepEqual([entry.stream, entry.message, entry.invocation], ['stderr', 'live', 'r1']);
  assert.equal((await run('logs', 'nothing')).code, 100);
});

const SUMMARY = /^hello {2}11 of the 282 system calls that every function may use, after \d+ requests in 1 s\n/;
const UNASKED = '  no request was answered: the list holds only what its start needs\n';

test('profile prints how much is left, and the list as function.json has it', async (t) => {
  const { run, source } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const { code, stdout, stderr } = await run('profile', 'hello', '--requests', '3');
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, SUMMARY);
  assert.match(stdout, /after 3 requests/);
  assert.deepEqual(JSON.parse(stdout.split('\n')[1]!), { interception: { enforce: ['read', 'write'] } });
  const json = await run('profile', 'hello', '--requests', '3', '--json');
  assert.deepEqual(JSON.parse(json.stdout), { function: 'hello', calls: ['read', 'write'], allowed: 11, base: 282, requests: 3, seconds: 1, interception: { enforce: ['read', 'write'] } });
  const unasked = await run('profile', 'hello');
  assert.deepEqual([unasked.code, unasked.stderr], [0, UNASKED]);
});

test('profile --write puts the list into a function.json and keeps what else that says', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  const directory = source({ 'handler.py': '', 'function.json': JSON.stringify({ timeoutMs: 5000, interception: { audit: ['exec'], enforce: ['open'] } }) });
  await run('deploy', directory);
  const manifest = join(directory, 'function.json');
  const { code, stdout } = await run('profile', 'hello', '--requests', '1', '--write', manifest);
  assert.equal(code, 0);
  assert.match(stdout, SUMMARY);
  assert.equal(stdout.split('\n')[1], `${manifest} enforces them: deploy it`);
  assert.deepEqual(JSON.parse(readFileSync(manifest, 'utf8')), { timeoutMs: 5000, interception: { audit: ['exec'], enforce: ['read', 'write'] } });
  const fresh = join(stateDir, 'new.json');
  assert.equal((await run('profile', 'hello', '--requests', '1', '--write', fresh)).code, 0);
  assert.deepEqual(JSON.parse(readFileSync(fresh, 'utf8')), { interception: { enforce: ['read', 'write'] } });
});

test('profile refuses what it cannot write to before anything is learnt, and counts that are none', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const list = join(stateDir, 'list.json');
  writeFileSync(list, '[1]');
  for (const [args, said] of [
    [['hello', '--write', list], `flashd: usage: ${list} is not a JSON object\n`], [['hello', '--requests', '0'], 'flashd: usage: "0" is not a whole number from 1\n'],
    [['hello', '--seconds', '1.5'], 'flashd: usage: "1.5" is not a whole number from 1\n'],
  ] as const) {
    const { code, stdout, stderr } = await run('profile', ...args);
    assert.deepEqual([code, stdout, stderr.startsWith(said)], [100, '', true], stderr);
  }
  assert.equal(readFileSync(list, 'utf8'), '[1]');
  const nobody = await run('profile', 'nobody');
  assert.equal(nobody.code, 100);
  assert.match(nobody.stderr, /^flashd: function_not_found: /);
});

test('secrets are set from standard input or a file, listed without values, removed', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  const deployed = await run('deploy', source({ 'handler.py': '', 'function.json': '{"secrets": ["TOKEN"]}' }));
  assert.match(deployed.stderr, /^ {2}hello needs the secret TOKEN: flashd secret set hello TOKEN\n$/);
  assert.deepEqual(JSON.parse((await run('list', '--json')).stdout)[0].missingSecrets, ['TOKEN']);
  assert.match((await run('secret', 'list', 'hello')).stdout, /\nTOKEN {3}not set\n$/);
  const set = await flashd(stateDir, ['secret', 'set', 'hello', 'TOKEN'], 'swordfish\n');
  assert.deepEqual(set, { code: 0, stdout: 'hello  TOKEN set\n', stderr: '' });
  writeFileSync(join(stateDir, 'value'), 'swordfish');
  assert.equal((await run('secret', 'set', 'hello', 'TOKEN', '--from-file', join(stateDir, 'value'))).stdout, 'hello  TOKEN set to this already\n', 'one line end does not count');
  const other = await flashd(stateDir, ['secret', 'set', 'hello', 'OTHER', '--json'], 'two\nlines\n\n');
  assert.deepEqual(JSON.parse(other.stdout), { function: 'hello', name: 'OTHER', needed: false, changed: true });
  const listed = await run('secret', 'list', 'hello', '--json');
  assert.deepEqual(JSON.parse(listed.stdout).map((each: { name: string; needed: boolean }) => [each.name, each.needed]), [['OTHER', false], ['TOKEN', true]]);
  assert.doesNotMatch(listed.stdout + (await run('list', '--json')).stdout, /swordfish|lines/);
  const removed = await run('secret', 'remove', 'hello', 'TOKEN');
  assert.deepEqual([removed.stdout, removed.stderr], ['hello  TOKEN removed\n', '  hello needs it and is not run until it is set again\n']);
  assert.match((await run('secret', 'remove', 'hello', 'TOKEN')).stderr, /secret_not_found/);
});

test('a value on the command line is refused and not repeated, and so is what cannot be one', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const given = await run('secret', 'set', 'hello', 'TOKEN', 'swordfish');
  assert.deepEqual([given.code, /usage: too many arguments/.test(given.stderr), /swordfish/.test(given.stdout + given.stderr)], [100, true, false]);
  const cases: [string[], string, RegExp][] = [
    [['hello', 'TOKEN'], '', /secret_invalid: the value is empty/],
    [['hello', 'TOKEN'], 'a\0b', /secret_invalid: .*without NUL/],
    [['hello', 'TOKEN'], 'x'.repeat(32_769), /secret_invalid: the value has 32769 bytes/],
    [['hello', 'TOKEN'], 'x'.repeat(1_000_000), /secret_invalid: the value has more than 32768 bytes/],
    [['hello', 'TO-KEN'], 'x', /secret_invalid: "TO-KEN" is not a name/],
    [['nothing', 'TOKEN'], 'x', /function_not_found/],
    [['hello', 'TOKEN', '--from-file', '/nonexistent'], '', /ENOENT/],
  ];
  for (const [args, value, text] of cases) {
    const { code, stderr } = await flashd(stateDir, ['secret', 'set', ...args], value);
    assert.ok(code !== 0, args.join(' '));
    assert.match(stderr, text);
  }
});

test('on a terminal a value is asked for and not shown', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  await run('deploy', source({ 'handler.py': '' }));
  const set = `exec ${process.execPath} ${MAIN} secret set hello TOKEN`;
  const terminal = spawn('script', ['-qec', set, '/dev/null'], { env: { ...process.env, FLASHD_STATE_DIR: stateDir } });
  let screen = '';
  terminal.stdout.on('data', (chunk) => {
    screen += chunk;
    if (String(chunk).includes('not shown')) terminal.stdin.write('swordfish\r');
  });
  const [code] = (await once(terminal, 'close')) as [number];
  assert.deepEqual([code, /swordfish/.test(screen), /TOKEN set\r\n/.test(screen)], [0, false, true], screen);
  assert.match((await flashd(stateDir, ['secret', 'set', 'hello', 'TOKEN'], 'swordfish')).stdout, /set to this already/);
});

test('a refused deployment names the fault and a way out', async (t) => {
  const { run, source, stateDir } = await setUp(t);
  const cases: [string[], string, RegExp][] = [
    [[source({ 'readme.txt': '' }, 'empty')], 'no_handler', /looked for handler\.py/],
    [[source({ 'handler.py': '', 'function.json': '{"timeout": 1}' }, 'typo')], 'manifest_invalid', /did you mean "timeoutMs"/],
    [[source({ 'handler.py': '' }, 'My_Function')], 'name_invalid', /--name my-function/],
    [[join(stateDir, 'nowhere')], 'no_handler', /not a directory/],
    [[source({ 'handler.py': '' }, 'a'), source({ 'handler.py': '' }, 'b'), '--name', 'c'], 'usage', /one by one/],
  ];
  for (const [args, code, text] of cases) {
    const result = await run('deploy', ...args);
    assert.equal(result.code, 100);
    assert.ok(result.stderr.startsWith(`flashd: ${code}: `), result.stderr);
    assert.match(result.stderr, text);
    assert.equal(JSON.parse((await run('deploy', ...args, '--json')).stdout).error.code, code);
  }
});

test('an upload above the limit is refused by the gateway with an answer that arrives', async (t) => {
  const { run, source } = await setUp(t);
  const result = await run('deploy', source({ 'handler.py': '', 'large.bin': 'x'.repeat(20_000_000) }));
  assert.deepEqual([result.code, result.stdout], [100, '']);
  assert.match(result.stderr, /^flashd: bundle_too_large: /);
});

test('an upload that breaks off leaves nothing behind, and the gateway goes on', async (t) => {
  const { run, stateDir } = await setUp(t);
  const upload = request({ socketPath: join(stateDir, 'flashd.sock'), method: 'POST', path: '/functions/hello/deploy' });
  upload.on('error', () => {});
  upload.write(archive([{ path: 'handler.py', content: 'x'.repeat(5000) }]).subarray(0, 2000));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(readdirSync(join(stateDir, 'bundles')).length, 1);
  upload.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual(readdirSync(join(stateDir, 'bundles')), []);
  assert.match((await run('list')).stdout, /no functions yet/);
});

test('whoever is neither root nor the service user nor of the group is refused', async (t) => {
  const { run } = await setUp(t, { peer: () => ({ uid: 12345, gid: 12345 }) });
  const result = await run('list');
  assert.equal(result.code, 100);
  assert.match(result.stderr, /^flashd: forbidden: /);
});

test('without a running flashd every verb says so, and doctor still works', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const result = await flashd(stateDir, ['list']);
  assert.deepEqual([result.code, result.stdout], [111, '']);
  assert.match(result.stderr, /^flashd: gateway_unreachable: .*\n {2}hint: start it/);
  const doctor = await flashd(stateDir, ['doctor', '--json']);
  const report = JSON.parse(doctor.stdout);
  assert.equal(report.gateway.error.code, 'gateway_unreachable');
  assert.ok(report.checks.some((check: { name: string }) => check.name === 'cgroups'));
});

test('doctor tells what the running gateway says', async (t) => {
  const { run } = await setUp(t);
  const { stdout } = await run('doctor');
  assert.match(stdout, /^kernel +ok +\d/m);
  assert.match(stdout, /^sandboxd +connected; cgroups v2; landlock yes$/m);
  assert.match(stdout, /^runtime python +ready, 2 templates: \/usr\/bin\/some$/m);
  assert.match(stdout, /^runtime node +ready, 1 templates: \/opt\/flashd\/self\/node, flashd's own v\d+/m);
});

test('usage errors end with 100 and a hint, help with 0 and examples', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const cases: [string[], RegExp][] = [
    [[], /no verb/],
    [['deplyo'], /unknown command.*\n {2}hint: did you mean deploy/],
    [['list', '--jsno'], /unknown option.*\n {2}hint: did you mean --json/],
    [['invoke'], /missing required argument/],
    [['list', 'a', 'b'], /too many arguments/],
    [['invoke', 'Bad_Name'], /name_invalid/],
    [['secret', 'lst'], /unknown command.*\n {2}hint: did you mean list/],
    [['logs', 'hello', '-n', 'x'], /--lines is "x"/],
    [['serve', '--max-instances', 'many'], /--max-instances is "many", which is not a whole number from 1 to/],
    [['serve', '--config', '/nonexistent'], /config_invalid: cannot read \/nonexistent/],
  ];
  const results = await Promise.all(cases.map(([args]) => flashd(stateDir, args)));
  for (const [index, { code, stderr }] of results.entries()) {
    const [args, text] = cases[index]!;
    assert.equal(code, 100, args.join(' '));
    assert.match(stderr, text);
    assert.match(stderr, /^flashd: \w+: .*\n {2}hint: .+\n$/);
  }
  const verbs = ['serve', 'deploy', 'list', 'invoke', 'verify', 'logs', 'rollback', 'remove', 'secret', 'doctor', 'header', 'install', 'uninstall'];
  const inner = ['set', 'list', 'remove'].map((each) => ['secret', each]);
  for (const help of await Promise.all([...verbs.map((verb) => [verb]), ...inner].map((verb) => flashd(stateDir, [...verb, '--help'])))) {
    assert.equal(help.code, 0);
    assert.match(help.stdout, /Examples:\n {2}\$ /);
  }
  const serve = await flashd(stateDir, ['serve', '--help']);
  assert.match(serve.stdout.replace(/\s+/g, ' '), /--listen <value> .*FLASHD_LISTEN.*default: 127\.0\.0\.1:8080/);
  assert.doesNotMatch((await flashd(stateDir, ['--help'])).stdout, /gateway/);
});
