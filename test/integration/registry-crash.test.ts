/** kill -9 at random moments of deployments, rollbacks and removals: nothing acknowledged is lost, nothing half-made is left. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { resolveConfig } from '../../src/config/index.ts';
import { digestDirectory } from '../../src/deploy/digest.ts';
import { openState } from './fixtures/state.ts';

const CHILD = new URL('./fixtures/deploying.ts', import.meta.url).pathname;
const ROUNDS = 12;

type Told = { intent?: string; done?: string; result: string | null };

/** What the child told until it was killed, a moment after its first word. */
async function deployUntilKilled(stateDir: string, round: number): Promise<Told[]> {
  const child = spawn(process.execPath, [CHILD, stateDir, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (text === '') setTimeout(() => child.kill('SIGKILL'), randomInt(300));
    text += chunk;
  });
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', 'the child failed by itself');
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Told);
}

test('the registry and the bundles are consistent after kill -9 at any moment', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'flashd-crash-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const acknowledged = new Map<string, string | null>();
  let changes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const told = await deployUntilKilled(stateDir, round);
    for (const { done, result } of told) if (done !== undefined) acknowledged.set(done, result);
    changes += told.filter((each) => each.done !== undefined).length;
    const pending = told.at(-1)?.intent === undefined ? undefined : told.at(-1)!;

    const database = new Database(join(stateDir, 'registry.db'));
    assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
    assert.deepEqual(database.pragma('foreign_key_check'), []);
    database.close();

    const { registry, bundles } = openState(stateDir, resolveConfig({}).functionDefaults);
    for (const [name, result] of [
      ...acknowledged,
      ...(pending ? [[pending.intent!, acknowledged.get(pending.intent!) ?? null] as const] : []),
    ]) {
      const version = registry.live(name);
      const found = version === undefined ? null : readFileSync(join(version.bundlePath, 'handler.py'), 'utf8');
      const allowed = pending?.intent === name ? [result, pending.result] : [result];
      assert.ok(allowed.includes(found), `round ${round}: ${name} is ${found}, told was ${allowed.join(' or ')}`);
      acknowledged.set(name, found);
    }
    for (const digest of await bundles.digests())
      assert.equal(await digestDirectory(bundles.path(digest), { sync: false }), digest, 'every bundle is whole');
    await bundles.collectGarbage();
    assert.deepEqual(
      readdirSync(bundles.directory).sort(),
      [...registry.digests()].sort(),
      'exactly the bundles that versions refer to remain',
    );
    registry.close();
  }
  assert.ok(changes > ROUNDS, `only ${changes} changes were made`);
});
