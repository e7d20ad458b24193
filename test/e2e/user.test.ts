/** flashd started by a user who is not root, with capabilities: as its unit does it, here without a service manager. What works as root works so, and sandboxd's user is nobody else's. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { root } from '../conformance/fixtures.ts';
import { BINARY, Flashd } from '../conformance/packaged.ts';
import { family, isBuilder, isGateway, isInit, isSandboxd, isTemplate, member } from './footprint.ts';

/** Ids that no distribution hands out; the gateway's are those that it has where there is no user flashd. */
const OWN = 64_998;
const GATEWAY = 64_999;
const unit = readFileSync(join(root, 'systemd/flashd.service'), 'utf8');
const CAPABILITIES = [...unit.matchAll(/^AmbientCapabilities=(.*)$/gm)].flatMap((match) => match[1]!.split(' ')).map((name) => name.replace('CAP_', '').toLowerCase());
const as = (id: number, capabilities: readonly string[]): string[] => {
  const sets = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  return ['setpriv', `--reuid=${id}`, `--regid=${id}`, '--clear-groups', `--bounding-set=${sets}`, `--inh-caps=${sets}`, `--ambient-caps=${sets}`];
};
/** As systemd-tmpfiles has made the state directory, and with the unit's umask. */
const started = (id: number, capabilities: readonly string[]): string[] => ['sh', '-c', `chown -R ${GATEWAY}:${GATEWAY} "$FLASHD_STATE_DIR" && chmod 750 "$FLASHD_STATE_DIR" && umask 077 && exec "$@"`, 'sh', ...as(id, capabilities)];
const ENVIRONMENT = { FLASHD_USER: `${GATEWAY}:${GATEWAY}`, FLASHD_ALLOW_PROCESS_ISOLATION: '1' };
/** Signals the first process given, and enters the user namespace of the second. */
const REACH = "import ctypes, errno, os, sys\ndef attempt(act):\n  try: act(); print('permitted')\n  except OSError as error: print(errno.errorcode[error.errno])\nattempt(lambda: os.kill(int(sys.argv[1]), 0))\nattempt(lambda: os.open(f'/proc/{sys.argv[2]}/ns/user', os.O_RDONLY))";

const status = (pid: number): Record<string, string> => Object.fromEntries(readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n').map((line) => line.split(/:\s*/, 2) as [string, string]));
/** NaN: it is over. */
const uid = (pid: number): number => {
  try {
    return Number(status(pid)['Uid']!.split('\t')[0]);
  } catch {
    return NaN;
  }
};

/** Host names need a setting of a network of flashd's own, which a container's manager may have made read-only for all. */
const NAMES = ((): string[] => {
  try {
    accessSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', constants.W_OK);
    return ['api.example.org:443'];
  } catch {
    return [];
  }
})();

describe('started by another user than root', () => {
  let flashd: Flashd;
  let below: string;
  before(async () => {
    below = mkdtempSync(join(tmpdir(), 'flashd-user-'));
    flashd = await Flashd.startBehind(started(OWN, CAPABILITIES), ENVIRONMENT);
    const kinds: Record<string, object> = {
      plain: {}, restored: { requestIsolation: 'restore' }, fresh: { requestIsolation: 'fresh' }, room: { isolation: 'process' }, watched: { interception: { audit: ['exec'], allow: { read: ['/usr', '/function', '/tmp'], write: ['/tmp'] } } }, egress: { network: { egress: ['203.0.113.80:443', ...NAMES] } },
    };
    for (const [name, manifest] of Object.entries(kinds)) {
      mkdirSync(join(below, name));
      writeFileSync(join(below, name, 'handler.py'), "import os\ndef handler(event, context):\n  path = '/tmp/kept'\n  found = os.path.exists(path)\n  open(path, 'w').close()\n  return {'uid': os.getuid(), 'found': found, 'files': os.listdir('/function')}\n");
      writeFileSync(join(below, name, 'function.json'), JSON.stringify(manifest));
    }
    await flashd.cli('deploy', ...Object.keys(kinds).map((name) => join(below, name)), ...['java', 'node', 'c', 'ruby', 'php', 'perl', 'sh', 'typescript'].map((language) => join(root, `functions/hello-${language}`)));
  });
  after(async () => {
    await flashd?.stop();
    rmSync(below, { recursive: true, force: true });
  });

  test('every language answers, built ones among them', async () => {
    for (const language of ['java', 'node', 'c', 'ruby', 'php', 'perl', 'sh', 'typescript']) for (let round = 0; round < 2; round++) {
      const { status, body } = await flashd.http('GET', `/function/hello-${language}`);
      assert.equal(status, 200, `${language}: ${body.toString()}`);
    }
  });

  test('every kind of isolation holds', async () => {
    for (const [name, inside, kept] of [['plain', 1000, true], ['restored', 1000, false], ['fresh', 1000, false], ['watched', 1000, true], ['egress', 1000, true], ['room', undefined, true]] as const) {
      await flashd.frozen(name).catch(() => undefined);
      for (let round = 0; round < 3; round++) {
        const { status, body } = await flashd.http('GET', `/function/${name}`);
        assert.equal(status, 200, `${name}: ${body.toString()}`);
        const seen = JSON.parse(body.toString()) as { uid: number; found: boolean; files: string[] };
        assert.ok(seen.files.includes('handler.py'));
        if (inside === undefined) assert.ok(seen.uid > 65_536);
        else assert.equal(seen.uid, inside);
        if (!kept) assert.equal(seen.found, false, `${name}, request ${round}`);
      }
    }
  });

  test('supervisor, sandboxd, builder and templates are that user; the gateway is another one, without capabilities', () => {
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    const templates = family(flashd.pid).filter((process) => isTemplate(process, sandboxd)).map(({ pid }) => pid);
    assert.ok(templates.length > 0);
    for (const pid of [flashd.pid, sandboxd, member(flashd.pid, isBuilder).pid]) assert.equal(uid(pid), OWN);
    assert.ok(templates.some((pid) => uid(pid) === OWN) && templates.every((pid) => uid(pid) !== 0));
    for (const pid of [sandboxd, member(flashd.pid, isBuilder).pid]) for (const set of ['CapInh', 'CapAmb']) assert.equal(status(pid)[set], '0'.repeat(16), set);
    const gateway = status(member(flashd.pid, isGateway).pid);
    assert.equal(gateway['Uid'], Array(4).fill(GATEWAY).join('\t'));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.equal(gateway[set], '0'.repeat(16), set);
  });

  test('nobody but sandboxd has its power over the sandboxes: neither the gateway nor its own user without capabilities', () => {
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    const init = family(flashd.pid).find(isInit)!.pid;
    for (const [id, signal] of [[GATEWAY, 'EPERM'], [OWN, 'permitted']] as const) {
      const { stdout, stderr } = spawnSync(as(id, [])[0]!, [...as(id, []).slice(1), '/usr/bin/python3', '-c', REACH, String(sandboxd), String(init)]);
      assert.deepEqual(stdout.toString().trim().split('\n'), [signal, 'EACCES'], `${id}: ${stderr.toString()}`);
    }
  });

  test('what it writes is nobody else\'s', () => {
    for (const name of ['registry.db', 'bundles']) assert.equal(statSync(join(flashd.stateDirectory, name)).mode & 0o077, 0, name);
  });
});

for (const [what, id, capabilities, words] of [
  ['without a capability that it works with', OWN, CAPABILITIES.filter((name) => name !== 'setuid'), /must be started as root, or with CAP_SETUID/],
  ['as the user of its gateway, who would own the sandboxes', GATEWAY, CAPABILITIES, /is the one that its gateway is to run as/],
] as const) {
  test(`it is not started ${what}`, (t) => {
    const state = mkdtempSync(join(tmpdir(), 'flashd-user-'));
    t.after(() => rmSync(state, { recursive: true, force: true }));
    const [program, ...args] = [...started(id, capabilities), BINARY, 'serve'];
    const result = spawnSync(program!, args, { env: { PATH: process.env['PATH'], FLASHD_STATE_DIR: state, FLASHD_LISTEN: '127.0.0.1:0', ...ENVIRONMENT }, timeout: 10_000 });
    assert.equal(result.status, 100, result.stderr.toString());
    assert.match(result.stderr.toString(), words);
  });
}
