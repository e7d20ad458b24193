/** Host names below the gateway: by a gateway that asks for what it has not told, or may not have. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodePack, readRuntimes } from '../../build/pack-runtimes.ts';
import { PROTOCOL } from '../../src/sandbox/protocol.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const sandboxd = join(import.meta.dirname, '../../build/out/native/sandboxd');

for (const [what, network, flags, words] of [
  ['names that it has not told', PROTOCOL.FL_NETWORK_EGRESS, PROTOCOL.FL_EGRESS_NAMES, /FAILED.*no names came before it/],
  ['names beside every public address', PROTOCOL.FL_NETWORK_EGRESS, PROTOCOL.FL_EGRESS_NAMES | PROTOCOL.FL_EGRESS_PUBLIC, /FAILED.*network 1, flags 0x3/],
  ['names without a network', PROTOCOL.FL_NETWORK_NONE, PROTOCOL.FL_EGRESS_NAMES, /FAILED.*network 0, flags 0x2/],
] as const) {
  test(`a gateway that asks for ${what} is refused`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, 'function'));
    writeFileSync(join(folder, 'function/handler.py'), 'def handler(event, context): return 1\n');
    writeFileSync(join(folder, 'pack'), encodePack(readRuntimes().filter(({ name }) => name === 'python')));
    const args = [join(fixtures, 'drive.py'), sandboxd, join(folder, 'pack'), join(folder, 'function'), '1', '0', `${network}`, '0', `${flags}`];
    const { status, stderr } = spawnSync('/usr/bin/python3', args, { timeout: 60_000, encoding: 'utf8' });
    assert.notEqual(status, 0);
    assert.match(stderr, words);
  });
}
