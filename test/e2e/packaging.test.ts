/** The packaged binary as a file: reproducible, free of the build machine, deaf to NODE_OPTIONS, and leaving nothing behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

const root = join(import.meta.dirname, '../..');
const flashd = join(root, 'build/out/flashd');

function temporary(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'flashd-packaging-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

test('a second build, in another directory and from scratch, gives the same bytes', t => {
  const copy = join(temporary(t), 'elsewhere/deeper');
  mkdirSync(copy, { recursive: true });
  for (const entry of ['native', 'src', 'systemd', 'package.json', 'tsconfig.json']) cpSync(join(root, entry), join(copy, entry), { recursive: true });
  mkdirSync(join(copy, 'build'));
  for (const entry of readdirSync(join(root, 'build')).filter(name => !['out', 'cache'].includes(name))) cpSync(join(root, 'build', entry), join(copy, 'build', entry));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const built = spawnSync(process.execPath, ['build/build.ts'], { cwd: copy, encoding: 'utf8' });
  assert.equal(built.status, 0, built.stdout + built.stderr);
  assert.equal(sha256(join(copy, 'build/out/flashd')), sha256(flashd));
});

test('the binary does not know where it was built', () => {
  const binary = readFileSync(flashd);
  assert.equal(binary.indexOf(`${root}/`), -1);
});

test('its validators were compiled when it was built, and say what the schemas say', t => {
  assert.doesNotMatch(readFileSync(join(root, 'build/out/main.cjs'), 'utf8'), /compileSchema/);
  const folder = temporary(t);
  writeFileSync(join(folder, 'function.json'), '{"memoryMB": 64}');
  const deployed = spawnSync(flashd, ['deploy', folder, '--name', 'wrong'], { encoding: 'utf8' });
  assert.match(deployed.stderr, /manifest_invalid: .*unknown key "memoryMB"\n.*did you mean "memoryMb"/);
  const served = spawnSync(flashd, ['serve'], { encoding: 'utf8', env: { PATH: process.env['PATH'], FLASHD_SLOTS: '0' } });
  assert.match(served.stderr, /config_invalid: FLASHD_SLOTS/);
});

test('NODE_OPTIONS cannot make it run foreign code', t => {
  const folder = temporary(t);
  const marker = join(folder, 'marker');
  const evil = join(folder, 'evil.cjs');
  writeFileSync(evil, `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '')`);
  const env = { NODE_OPTIONS: `--require ${evil}`, PATH: process.env['PATH'] };
  spawnSync(process.execPath, ['--eval', ''], { env });
  assert.ok(existsSync(marker), 'the bait works on Node itself');
  rmSync(marker);
  const result = spawnSync(flashd, ['--version'], { env, encoding: 'utf8', cwd: folder });
  assert.equal(result.status, 0, result.stderr);
  assert.deepEqual(readdirSync(folder), ['evil.cjs']);
});

test('a served and stopped flashd leaves nothing but its state directory', () => {
  // Fresh, private folders in place of all that are writable for everyone, so that other processes of this machine do not show; this
  // checkout may stand in one of them.
  const script = `
    set -eu
    mount -t tmpfs none /mnt
    cp -r "$FLASHD" "$FUNCTION" /mnt
    for folder in /tmp /var/tmp /dev/shm /run; do mount -t tmpfs -o mode=1777 none $folder; done
    cd /tmp
    /mnt/flashd serve >&2 & server=$!
    for attempt in $(seq 300); do /mnt/flashd list >/dev/null 2>&1 && break; sleep 0.1; done
    /mnt/flashd deploy /mnt/hello-python
    /mnt/flashd invoke hello-python
    kill -TERM $server
    wait $server
    find /tmp /var/tmp /run /dev/shm -mindepth 1 -not -path "$FLASHD_STATE_DIR*" -printf 'left: %p\\n'
  `;
  const env = { PATH: process.env['PATH'], FLASHD: flashd, FUNCTION: join(root, 'functions/hello-python'), FLASHD_STATE_DIR: '/tmp/state', FLASHD_LISTEN: '127.0.0.1:0' };
  const result = spawnSync('unshare', ['--mount', '/bin/sh', '-c', script], { encoding: 'utf8', env, timeout: 90_000 });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.doesNotMatch(result.stdout, /left:/);
});
