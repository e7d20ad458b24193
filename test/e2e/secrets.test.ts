/** Secrets end to end: they reach the function that names them and nothing else, changes fail no request, and without their key nothing is given away. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd, startOf, type HttpAnswer } from '../conformance/packaged.ts';
import { family, isGateway, member } from './footprint.ts';

/** In two parts: this file's own text is not what is searched for. */
const MARKER = ['swordfish', '0815', 'xyzzy'].join('-');
const RESUME_MS = 5000;

const TELL = "import os\ndef handler(event, context):\n  return os.environ.get('TOKEN')\n";
/** Whatever another instance can see of anybody's environment and command line. */
const LOOK = `import os
def handler(event, context):
  print('looked')
  found = []
  for pid in [name for name in os.listdir('/proc') if name.isdigit()]:
    for file in ('environ', 'cmdline'):
      try:
        found.append(open(f'/proc/{pid}/{file}', 'rb').read().decode('latin1'))
      except OSError:
        pass
  return found + [f'{name}={value}' for name, value in os.environ.items()]
`;
const SMALL_SOURCE = '#include <flashd.h>\nint flashd_handle(const flashd_request *request, flashd_response *response) { (void)request; return flashd_printf(response, "ok"); }\n';
/** Its compiler can be watched for a while. */
const LARGE_SOURCE = `${SMALL_SOURCE}#define TEN(x) x x x x x x x x x x\nvolatile int n;\nvoid large(void) { ${'TEN('.repeat(4)}n++;${')'.repeat(4)} }\n`;

/** Each new request meets a new instance, which comes from a template. */
const COLD = { standby: 0, keepWarmSeconds: 0 };

/** And its command line; "" when it has ended. */
function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1') + readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

describe('secrets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start({ FLASHD_LOG_LEVEL: 'trace' });
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });

  const deploy = async (name: string, file: string, source: string, manifest: object): Promise<string> => {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, file), source);
    writeFileSync(join(folder, name, 'function.json'), JSON.stringify(manifest));
    return flashd.cli('deploy', join(folder, name), '--json');
  };
  const set = (value: string, name: string, key = 'TOKEN'): Promise<string> => flashd.pipe(value, 'secret', 'set', name, key);
  const call = (name: string): Promise<HttpAnswer> => flashd.http('GET', `/function/${name}`);
  const told = async (name: string): Promise<unknown> => JSON.parse((await call(name)).body.toString());

  test('a deployment tells what is missing, an invocation too, and setting it is enough', async () => {
    assert.deepEqual(JSON.parse(await deploy('late', 'handler.py', TELL, { secrets: ['TOKEN'] })).missingSecrets, ['TOKEN']);
    const refused = await call('late');
    assert.deepEqual([refused.status, JSON.parse(refused.body.toString()).error.code], [502, 'secret_missing']);
    assert.match(JSON.parse(refused.body.toString()).error.hint, /flashd secret set late TOKEN/);
    await assert.rejects(flashd.cli('invoke', 'late'), /secret_missing/);
    await set('found', 'late');
    assert.equal(await told('late'), 'found');
    await flashd.cli('secret', 'remove', 'late', 'TOKEN');
    assert.equal((await call('late')).status, 502);
  });

  test('a secret stands in no file, log, listing, metric, command line or environment but its own', async () => {
    await deploy('marked', 'handler.py', TELL, { secrets: ['TOKEN'], standby: 2 });
    await deploy('beside', 'handler.py', LOOK, {});
    await deploy('frozen', 'handler.py', TELL, { secrets: ['TOKEN'], ...COLD });
    for (const name of ['marked', 'frozen']) await set(MARKER, name);
    assert.equal(await told('marked'), MARKER);
    assert.equal(JSON.parse((await flashd.frozen('frozen')).body.toString()), MARKER, 'from its function template too');
    for (let round = 0; round < 5; round++) assert.ok(!JSON.stringify(await told('beside')).includes(MARKER), "another function's instance");

    for (const { pid } of family(flashd.pid)) {
      assert.ok(!environmentOf(pid).includes(MARKER), `${pid}`);
    }
    for (const args of [['list'], ['list', 'marked'], ['secret', 'list', 'marked'], ['logs', 'marked'], ['doctor']]) {
      for (const form of [[], ['--json']]) assert.ok(!(await flashd.cli(...args, ...form)).includes(MARKER), args.join(' '));
    }
    assert.ok(!(await flashd.http('GET', '/metrics')).body.includes(MARKER));
    const refused = await set(`${MARKER}\0`, 'marked').then(() => '', String);
    assert.match(refused, /secret_invalid/);
    assert.ok(!refused.includes(MARKER));
    assert.ok(flashd.output.includes('secret set') && !flashd.output.includes(MARKER), 'the log');
    const files = readdirSync(flashd.stateDirectory, { recursive: true, encoding: 'utf8' }).map((name) => join(flashd.stateDirectory, name)).filter((path) => statSync(path).isFile());
    assert.ok(files.some((path) => path.endsWith('.db-wal')) && files.some((path) => path.includes('/logs/')) && files.some((path) => path.includes('/bundles/')), files.join(' '));
    for (const path of files) assert.ok(!readFileSync(path).includes(MARKER), path);
    const key = statSync(join(flashd.stateDirectory, 'secrets.key'));
    assert.deepEqual([key.mode & 0o7777, key.uid], [0o600, statSync(join(flashd.stateDirectory, 'registry.db')).uid]);
  });

  test('a build does not see it', async () => {
    await deploy('built', 'handler.c', SMALL_SOURCE, { secrets: ['TOKEN'] });
    await set(MARKER, 'built');
    let [building, looks] = [true, 0];
    const deployed = deploy('built', 'handler.c', LARGE_SOURCE, { secrets: ['TOKEN'] }).finally(() => (building = false));
    for (; building; await sleep(10)) {
      for (const { pid, name } of family(flashd.pid)) {
        const text = environmentOf(pid);
        assert.ok(!text.includes(MARKER), `${name} ${pid}`);
        if (name === 'cc1' && text.includes('PATH=')) looks++;
      }
    }
    await deployed;
    assert.ok(looks > 0, 'the compiler was seen');
  });

  test('a change fails no request, and whatever is sent after it sees the new value', async () => {
    const names = ['changing', 'changing-standby'];
    const source = `import time\n${TELL.replace('  return', '  time.sleep(0.005)\n  return')}`;
    for (const name of names) {
      await deploy(name, 'handler.py', source, { secrets: ['TOKEN'], ...(name === 'changing' ? COLD : { standby: 2 }) });
      await set('0', name);
    }
    let [current, stop] = [0, false];
    const starts = new Map<string | undefined, number>();
    const load = Array.from({ length: 6 }, async (_, index) => {
      while (!stop) {
        const least = current;
        const answer = await call(names[index % 2]!);
        assert.equal(answer.status, 200, answer.body.toString());
        const value = Number(JSON.parse(answer.body.toString()));
        assert.ok(value >= least && value <= current + 1, `${value} after ${least} (${startOf(answer)})`);
        starts.set(startOf(answer), (starts.get(startOf(answer)) ?? 0) + 1);
      }
    });
    for (let next = 1; next <= 8; next++) {
      await sleep(150);
      for (const name of names) await set(String(next), name);
      current = next;
    }
    stop = true;
    await Promise.all(load);
    for (const start of ['warm', 'standby', 'function-template']) assert.ok(starts.has(start), JSON.stringify([...starts]));
    assert.equal(JSON.parse((await flashd.frozen('changing')).body.toString()), '8', 'the function template is a new one, too');
  });

  test('it survives the gateway, and not the loss of its key, which others do not notice', async () => {
    await deploy('kept', 'handler.py', TELL, { secrets: ['TOKEN'] });
    await set('kept', 'kept');
    const key = join(flashd.stateDirectory, 'secrets.key');
    const restart = async (): Promise<void> => {
      process.kill(member(flashd.pid, isGateway).pid, 'SIGKILL');
      for (const end = performance.now() + RESUME_MS; (await call('beside').catch(() => undefined))?.status !== 200; await sleep(20)) assert.ok(performance.now() < end, flashd.output.slice(-2000));
    };
    await restart();
    assert.equal(await told('kept'), 'kept');
    renameSync(key, `${key}.away`);
    await restart();
    const refused = await call('kept');
    assert.deepEqual([refused.status, JSON.parse(refused.body.toString()).error.code], [500, 'secrets_unreadable']);
    await assert.rejects(set('new', 'kept'), /secrets_unreadable: .*does not exist.*\n {2}hint: put secrets\.key back/);
    renameSync(`${key}.away`, key);
    await set('other', 'kept');
    assert.equal(await told('kept'), 'other');
  });
});
