import assert from 'node:assert/strict';
import { chmodSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { resolveConfig } from '../../../src/config/index.ts';
import { FUNCTION_DEFAULTS } from '../../../src/config/options.ts';
import { bandwidthOf, readManifest } from '../../../src/deploy/manifest.ts';
import schema from '../../../src/deploy/function.schema.json' with { type: 'json' };
import { RUNTIMES } from '../../../src/runtimes/index.ts';
import { temporaryDirectory, writeFiles } from './archive.ts';

const defaults = resolveConfig({}).functionDefaults;
const withManifest = (manifest: unknown) => ({ 'handler.py': '', 'function.json': JSON.stringify(manifest) });

test('a directory with handler.py alone is a Python function with the defaults', async (t) => {
  const { manifest } = await readManifest(writeFiles(temporaryDirectory(t), { 'handler.py': '' }), defaults);
  assert.deepEqual(manifest, { ...defaults, runtime: 'python', handler: 'handler.py', symbol: 'handler', environment: {} });
});

test('handler.so is preferred to an executable called handler', async (t) => {
  const directory = writeFiles(temporaryDirectory(t), { handler: '', 'handler.so': '', 'handler.c': '' });
  const { manifest } = await readManifest(directory, defaults);
  assert.equal(manifest.runtime, 'native');
  assert.equal(manifest.handler, 'handler.so');
});

test('handler.c alone is a native function that is to be built', async (t) => {
  const { manifest, unbuilt } = await readManifest(writeFiles(temporaryDirectory(t), { 'handler.c': '' }), defaults);
  assert.deepEqual([manifest.runtime, manifest.handler, unbuilt?.recipe.product], ['native', 'handler.so', 'handler.so']);
});

test('function.json overrides the defaults', async (t) => {
  const given = {
    $schema: './function.schema.json',
    handler: './app/main.py',
    symbol: 'run',
    environment: { A: 'b' },
    timeoutMs: 1500,
    cpu: 0.5,
    concurrency: 2,
  };
  const directory = writeFiles(temporaryDirectory(t), { 'app/main.py': '', 'function.json': JSON.stringify(given) });
  const { manifest } = await readManifest(directory, defaults);
  const { $schema: _, ...rest } = given;
  assert.deepEqual(manifest, { ...defaults, ...rest, runtime: 'python', handler: 'app/main.py' });
});

const wrong: [string, Record<string, string>, { code: string; message?: RegExp; hint?: RegExp }][] = [
  ['an empty directory', {}, { code: 'no_handler', message: /handler\.py.*handler\.so/ }],
  ['a misnamed handler', { 'handlers.py': '' }, { code: 'no_handler', hint: /handlers\.py: rename it to handler\.py/ }],
  ['a handler that cannot be executed', { handler: '#!/bin/sh' }, { code: 'no_handler', hint: /chmod \+x handler/ }],
  ['two handlers', { 'handler.py': '', 'handler.so': '' }, { code: 'manifest_invalid', hint: /"runtime"/ }],
  ['a handler that does not exist', withManifest({ handler: 'app.py' }), { code: 'no_handler', message: /app\.py/ }],
  ['a handler outside', withManifest({ handler: '../app.py' }), { code: 'manifest_invalid', message: /handler/ }],
  ['an absolute handler', withManifest({ handler: '/etc/app.py' }), { code: 'manifest_invalid', message: /handler/ }],
  ['an unknown key', withManifest({ timeout: 5 }), { code: 'manifest_invalid', message: /"timeout"/, hint: /did you mean "timeoutMs"/ }],
  ['a mistyped key', withManifest({ memryMb: 5 }), { code: 'manifest_invalid', hint: /did you mean "memoryMb"/ }],
  ['an unknown runtime', withManifest({ runtime: 'pyton' }), { code: 'unsupported_runtime', hint: /did you mean "python"/ }],
  ['a value out of range', withManifest({ memoryMb: 1 }), { code: 'manifest_invalid', message: /memoryMb .*is 1.* from 16 to/ }],
  ['a value of the wrong type', withManifest({ timeoutMs: '5s' }), { code: 'manifest_invalid', message: /timeoutMs .*"5s"/ }],
  [
    'an environment value that is no text',
    withManifest({ environment: { A: 1 } }),
    { code: 'manifest_invalid', message: /environment\.A/ },
  ],
  ['an environment name that is none', withManifest({ environment: { 'A=B': '' } }), { code: 'manifest_invalid', message: /environment/ }],
  ['a secret name that is none', withManifest({ secrets: ['A-B'] }), { code: 'manifest_invalid', message: /secrets/ }],
  ['a secret twice', withManifest({ secrets: ['A', 'A'] }), { code: 'manifest_invalid', message: /secrets/ }],
  ['more than 64 secrets', withManifest({ secrets: Array.from({ length: 65 }, (_, index) => `A${index}`) }), { code: 'manifest_invalid', message: /secrets/ }],
  ['a secret that is in the environment too', withManifest({ environment: { A: 'x' }, secrets: ['B', 'A'] }), { code: 'manifest_invalid', message: /^A stands .* under environment and under secrets/ }],
  ['a list as the manifest', withManifest([]), { code: 'manifest_invalid', message: /object/ }],
  ['a manifest that is not JSON', { 'handler.py': '', 'function.json': '{' }, { code: 'manifest_invalid', message: /not JSON/ }],
  ['a network that there is not', withManifest({ network: 'all' }), { code: 'manifest_invalid', message: /network/ }],
  ['a network with an empty list', withManifest({ network: { egress: [] } }), { code: 'manifest_invalid', message: /network/ }],
  ['a bandwidth of nothing', withManifest({ network: { egress: ['public'], bandwidthMbit: 0 } }), { code: 'manifest_invalid', message: /network/ }],
  ['a host name without a port in a list', withManifest({ network: { egress: ['pypi.org'] } }), { code: 'manifest_invalid', message: /"pypi\.org" is a host name without a port/ }],
  ['an IPv6 address in a list', withManifest({ network: { egress: ['[2001:db8::1]:443'] } }), { code: 'manifest_invalid', message: /IPv4/ }],
  ['an isolation that there is not', withManifest({ isolation: 'none' }), { code: 'manifest_invalid', message: /isolation/ }],
  ['the light class with a network', withManifest({ isolation: 'process', network: 'egress' }), { code: 'manifest_invalid', message: /no network at all/ }],
  ['the light class with interception', withManifest({ isolation: 'process', interception: { audit: ['exec'] } }), { code: 'manifest_invalid', message: /are not intercepted/ }],
  ['the light class for a runtime that keeps its process id', { 'handler.rb': '', 'function.json': '{"isolation": "process"}' }, { code: 'manifest_invalid', message: /ruby has to keep its process id/ }],
  ['packages beside what they are installed into', { 'handler.py': '', 'requirements.txt': '', 'packages/six.py': '' }, { code: 'manifest_invalid', message: /both requirements\.txt and packages/ }],
  ['packages without a handler', { 'requirements.txt': '' }, { code: 'no_handler' }],
  ['requests that are isolated from each other in one instance', withManifest({ requestIsolation: 'fresh', concurrency: 2 }), { code: 'manifest_invalid', message: /not isolated/ }],
  ['rewinding in the light class', withManifest({ requestIsolation: 'restore', isolation: 'process' }), { code: 'manifest_invalid', message: /nobody could prove/ }],
  ['rewinding what is intercepted', withManifest({ requestIsolation: 'restore', interception: { audit: ['openat'] } }), { code: 'manifest_invalid', message: /exclude each other/ }],
  ['rewinding without a standby', withManifest({ requestIsolation: 'restore', standby: 0 }), { code: 'manifest_invalid', message: /at least one standby/ }],
  ['rewinding without a function template', withManifest({ requestIsolation: 'restore', functionTemplate: 0 }), { code: 'manifest_invalid', message: /needs a functionTemplate/ }],
  ['too much concurrency for the runtime', withManifest({ concurrency: 999 }), { code: 'manifest_invalid', message: /at most 16/ }],
];
for (const [what, files, error] of wrong) {
  test(`${what} is refused with ${error.code}`, async (t) => {
    const directory = writeFiles(temporaryDirectory(t), files);
    for (const name of readdirSync(directory)) if (!name.includes('.')) chmodSync(join(directory, name), 0o644);
    await assert.rejects(readManifest(directory, defaults), error);
  });
}

test('the schema and the defaults have the same names, ranges and descriptions', () => {
  const limits = Object.entries(schema.properties).filter(([, property]) => 'minimum' in property);
  assert.deepEqual(
    Object.fromEntries(limits),
    Object.fromEntries(
      Object.entries(FUNCTION_DEFAULTS).map(([name, { type, minimum, maximum, description }]) => [
        name,
        { type, minimum, maximum, description },
      ]),
    ),
  );
});

test('every folder of src/runtimes is in the table of runtimes', () => {
  const folders = readdirSync(new URL('../../../src/runtimes', import.meta.url), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  assert.deepEqual(folders.map((folder) => folder.name).sort(), [...RUNTIMES.keys()].sort());
});

test('values where the names of secrets should be are refused and not repeated', async (t) => {
  for (const secrets of [{ A: 'swordfish' }, 'swordfish', ['sword fish']]) {
    const directory = writeFiles(temporaryDirectory(t), withManifest({ secrets }));
    await assert.rejects(readManifest(directory, defaults), (error: Error & { code: string }) => error.code === 'manifest_invalid' && !/sword/.test(JSON.stringify(error)));
  }
});

test('the bandwidth is the operator\'s, unless function.json asks for another one within his bounds', () => {
  const bounds = { egressMbit: 200, egressMbitMax: 500 };
  assert.equal(bandwidthOf('egress', bounds), 200);
  assert.equal(bandwidthOf({ egress: ['public'] }, bounds), 200);
  assert.equal(bandwidthOf({ egress: ['public'], bandwidthMbit: 0.5 }, bounds), 0.5);
  assert.equal(bandwidthOf({ egress: ['public'], bandwidthMbit: 501 }, bounds), 500);
});

test('names of secrets are kept in the manifest', async (t) => {
  const { manifest } = await readManifest(writeFiles(temporaryDirectory(t), withManifest({ secrets: ['A', '_b1'], environment: { C: '' } })), defaults);
  assert.deepEqual(manifest.secrets, ['A', '_b1']);
});
