import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BINARY, Flashd } from '../conformance/packaged.ts';
import { family, isGateway, isSandboxd } from './footprint.ts';

test('a port that is taken is said at once, and nothing is tried for ever', async (t) => {
  const first = await Flashd.start();
  t.after(() => first.stop());
  const stateDirectory = mkdtempSync(join(tmpdir(), 'flashd-state-'));
  t.after(() => rmSync(stateDirectory, { recursive: true, force: true }));
  const environment = { PATH: process.env['PATH'], FLASHD_LISTEN: `127.0.0.1:${first.port}`, FLASHD_STATE_DIR: stateDirectory };
  const second = spawnSync(BINARY, ['serve'], { env: environment, encoding: 'utf8', timeout: 20_000 });
  assert.equal(second.status, 100, second.stderr);
  assert.match(second.stderr, /config_invalid: cannot listen on 127\.0\.0\.1:\d+\n +hint: .*--listen/);
});

test('what serve inherits by accident reaches neither gateway nor sandboxd', async (t) => {
  const marker = join(mkdtempSync(join(tmpdir(), 'flashd-test-')), 'inherited');
  t.after(() => rmSync(join(marker, '..'), { recursive: true }));
  const flashd = await Flashd.start({}, openSync(marker, 'w'));
  t.after(() => flashd.stop());
  for (const { pid } of family(flashd.pid).filter((process) => isGateway(process) || isSandboxd(process))) {
    const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    assert.ok(!open.includes(marker), `${pid} holds it`);
  }
});
