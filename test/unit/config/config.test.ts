import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig, loadGatewayConfig, NAMED_OPTIONS, parseListen, resolveConfig } from '../../../src/config/index.ts';
import { configurationMarkdown } from '../../../src/config/markdown.ts';

test('the defaults are a valid configuration', () => {
  const config = resolveConfig({});
  assert.equal(config.listen, '127.0.0.1:8080');
  assert.equal(config.maxBodyBytes, 6 * 1024 * 1024);
  assert.equal(config.functionDefaults.memoryMb, 128);
});

test('flags win over the environment, which wins over the file, which wins over the defaults', () => {
  const sources = {
    file: { maxInstances: 11, queueMax: 12, keepVersions: 13, functionDefaults: { timeoutMs: 14, pids: 15 } },
    environment: { FLASHD_QUEUE_MAX: '22', FLASHD_KEEP_VERSIONS: '23', FLASHD_FUNCTION_PIDS: '25' },
    flags: { 'keep-versions': '33', 'function-cpu': '0.5' },
  };
  const { maxInstances, queueMax, keepVersions, functionDefaults } = resolveConfig(sources);
  assert.deepEqual([maxInstances, queueMax, keepVersions], [11, 22, 33]);
  assert.deepEqual(
    [functionDefaults.timeoutMs, functionDefaults.pids, functionDefaults.cpu, functionDefaults.memoryMb],
    [14, 25, 0.5, 128],
  );
});

test('the configuration is frozen to its depth', () => {
  const config = resolveConfig({});
  assert.throws(() => Object.assign(config, { listen: 'x' }), TypeError);
  assert.throws(() => Object.assign(config.functionDefaults, { cpu: 2 }), TypeError);
});

const wrong: [string, Parameters<typeof resolveConfig>[0], RegExp, RegExp?][] = [
  ['a number out of range', { flags: { 'max-instances': '0' } }, /^--max-instances is 0, which is not a whole number from 1 to 16384$/],
  ['a text for a number', { environment: { FLASHD_QUEUE_MAX: 'many' } }, /^FLASHD_QUEUE_MAX is "many"/],
  ['an empty text for a number', { environment: { FLASHD_QUEUE_MAX: '' } }, /^FLASHD_QUEUE_MAX is ""/],
  ['a fraction for a whole number', { flags: { slots: '1.5' } }, /^--slots is 1\.5/],
  ['a number with a unit', { flags: { 'max-body-bytes': '6MB' } }, /^--max-body-bytes is "6MB"/],
  ['a value of the wrong type in the file', { file: { slots: '5' }, fileName: '/c.json' }, /^slots in \/c\.json is "5"/],
  ['a listen without a port', { flags: { listen: 'localhost' } }, /HOST:PORT/],
  ['a port that does not exist', { flags: { listen: '127.0.0.1:70000' } }, /65535/],
  ['a relative state directory', { flags: { 'state-dir': 'state' } }, /an absolute path/],
  ['a level that does not exist', { flags: { 'log-level': 'loud' } }, /one of fatal, error/],
  ['an unknown key', { file: { maxInstance: 5 } }, /there is no option maxInstance/, /"maxInstances"/],
  ['an unknown default', { file: { functionDefaults: { timeout: 5 } } }, /there is no option functionDefaults\.timeout/, /"timeoutMs"/],
  ['a mistyped variable', { environment: { FLASHD_LISTN: 'x' } }, /FLASHD_LISTN/, /did you mean FLASHD_LISTEN/],
  ['a file that is no object', { file: [] }, /must be a JSON object/],
  ['a floor above the ceiling', { flags: { 'pool-floor': '65' } }, /poolFloor/],
  ['more instances than slots', { flags: { 'max-instances': '5000' } }, /slots/],
  ['an odd uid base', { flags: { 'uid-base': '100000' } }, /65536/],
];
for (const [what, sources, message, hint] of wrong) {
  test(`${what} is refused and named`, () => {
    assert.throws(() => resolveConfig(sources), { code: 'config_invalid', message, ...(hint === undefined ? {} : { hint }) });
  });
}

test("variables that are not the configuration's are left alone", () => {
  resolveConfig({ environment: { FLASHD_GATEWAY_CONFIG: 'x', FLASHD_CONFIG: 'y', FLASHD_TEST_SOMETHING: 'z', PATH: '/bin' } });
});

test('a named file must exist and be JSON', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'config.json');
  assert.throws(() => loadConfig({ configFile: file }), { code: 'config_invalid', message: /cannot read/ });
  writeFileSync(file, '{"listen": ');
  assert.throws(() => loadConfig({ configFile: file }), { code: 'config_invalid', message: /not JSON/ });
  writeFileSync(file, '{"listen": "[::1]:9000"}');
  assert.deepEqual(parseListen(loadConfig({ configFile: file }).listen), { host: '::1', port: 9000 });
  assert.equal(loadConfig({ environment: { FLASHD_CONFIG: file } }).listen, '[::1]:9000');
});

test('the gateway reads back what the launcher resolved, and checks it again', () => {
  const config = resolveConfig({ flags: { listen: '0.0.0.0:80', 'function-pids': '9' } });
  assert.deepEqual(loadGatewayConfig({ FLASHD_GATEWAY_CONFIG: JSON.stringify(config) }), config);
  assert.throws(() => loadGatewayConfig({ FLASHD_GATEWAY_CONFIG: '{"listen": 5}' }), { code: 'config_invalid' });
  assert.throws(() => loadGatewayConfig({}), { code: 'usage' });
});

test('names of flags and variables are unique', () => {
  assert.equal(new Set(NAMED_OPTIONS.map((named) => named.flag)).size, NAMED_OPTIONS.length);
  assert.equal(new Set(NAMED_OPTIONS.map((named) => named.environment)).size, NAMED_OPTIONS.length);
});

test('src/config/README.md is what the table says', () => {
  assert.equal(readFileSync(new URL('../../../src/config/README.md', import.meta.url), 'utf8'), configurationMarkdown());
});
