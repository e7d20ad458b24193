/** Every function of functions/ is rewound after random events, and after those that it understands, and is its snapshot each time: byte for byte. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { functionDirectories, prepareFunctions } from '../../build/functions.ts';
import { root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';

/** Of one `flashd verify`, which ends by itself after two minutes. */
const AT_ONCE = 250;
const PAUSE_MS = 25;
/** A program for each request: there is nothing to be rewound. */
const isProgram = (directory: string): boolean => existsSync(join(root, directory, 'handler'));

type Call = { method: string; path: string; headers: Record<string, string>; body?: Buffer };
const post = (type: string, body: string | Buffer, path = '', more: Record<string, string> = {}): Call => ({ method: 'POST', path, headers: { 'content-type': type, ...more }, body: Buffer.from(body as string) });

/** What each of them does something with. */
function understood(): Record<string, Call> {
  const image = execFileSync('/usr/bin/python3', ['-c', 'from PIL import Image; import sys; Image.new("RGB", (64, 32), "red").save(sys.stdout.buffer, "PNG")']);
  return {
    'crc32': post('application/octet-stream', 'The quick brown fox'),
    'csv-to-json': post('text/csv', 'name,city\r\n"Lovelace, Ada",London\r\n'),
    'render-markdown': post('text/plain', '*hi* <b>'),
    'resize-image': post('image/png', image, '?width=16'),
    'validate-json': post('application/json', JSON.stringify({ name: 'Ada', age: 36, tags: ['a'] })),
    'verify-webhook': post('application/json', '{}', '', { 'x-hub-signature-256': `sha256=${createHmac('sha256', 'change me').update('{}').digest('hex')}` }),
    'web-app': post('application/json', '["ffffff", "no"]', '/api/colours'),
  };
}

export type Verified = { restores: number; requests: number; seconds: number };

/** tell: of each function, when it is done. */
export async function examplesAreTheirSnapshots(restores: number, tell: (name: string, verified: Verified) => void = () => undefined): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-restores-'));
  await prepareFunctions();
  const flashd = await Flashd.start();
  try {
    const calls = understood();
    const names = functionDirectories().filter((directory) => !isProgram(directory)).map((directory) => {
      const name = basename(directory), manifest = join(folder, name, 'function.json');
      cpSync(join(root, directory), join(folder, name), { recursive: true, verbatimSymlinks: true });
      const own = existsSync(manifest) ? (JSON.parse(readFileSync(manifest, 'utf8')) as object) : {};
      writeFileSync(manifest, JSON.stringify({ ...own, requestIsolation: 'restore', maxInstances: 2 }));
      return name;
    });
    await flashd.cli('deploy', ...names.map((name) => join(folder, name)));
    for (const name of names) tell(name, await verified(flashd, name, restores, calls[name]));
  } finally {
    await flashd.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function verified(flashd: Flashd, name: string, restores: number, call: Call | undefined): Promise<Verified> {
  const started = performance.now();
  const sum = { restores: 0, requests: 0 };
  let done = false;
  // Beside random events, so that restores after these are proven too.
  const understoodOnes = (async () => {
    while (!done && call !== undefined) {
      const { status, body } = await flashd.http(call.method, `/function/${name}${call.path}`, call.headers, call.body);
      assert.ok(status < 300, `${name}: ${status} ${body.toString()}\n${flashd.output}`);
      await sleep(PAUSE_MS);
    }
  })();
  try {
    while (sum.restores < restores) {
      const { restores: proven, requests, failure } = JSON.parse(await flashd.cli('verify', name, '--restores', String(Math.min(AT_ONCE, restores - sum.restores)), '--json')) as { restores: number; requests: number; failure: string | null };
      assert.equal(failure, null, name);
      assert.ok(proven > 0, `${name} is not restored`);
      sum.restores += proven;
      sum.requests += requests;
    }
  } finally {
    done = true;
    await understoodOnes;
  }
  return { ...sum, seconds: (performance.now() - started) / 1000 };
}
