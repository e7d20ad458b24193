/** Imports follow the table of layers, which src/README.md explains: a folder imports only what stands in its row, and itself. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const src = join(import.meta.dirname, '../../src');
const packageJson = JSON.parse(readFileSync(join(src, '../package.json'), 'utf8')) as { dependencies: Record<string, string> };

/** A layer is a folder of src/, or one file that stands apart from its folder: the shape of a function's manifest is below the registry. */
const LAYERS: Record<string, readonly string[]> = {
  'main.ts': ['cli', 'config', 'gateway.ts', 'own-program.ts', 'v8-flags.ts'],
  'own-program.ts': [],
  'v8-flags.ts': [],
  'gateway.ts': ['http', 'invocation', 'pool', 'sandbox', 'registry', 'deploy', 'observability', 'runtimes', 'config', 'errors', 'interception', 'native-addon.ts', 'assets.ts', 'gateway-metrics.ts'],
  'gateway-metrics.ts': ['invocation', 'pool', 'sandbox', 'interception', 'observability'],
  cli: ['launcher', 'registry', 'deploy', 'observability', 'runtimes', 'config', 'errors', 'assets.ts', 'own-program.ts'],
  launcher: ['config', 'errors', 'native-addon.ts', 'assets.ts'],
  http: ['invocation', 'pool', 'sandbox', 'registry', 'deploy', 'observability', 'interception', 'runtimes', 'config', 'errors'],
  invocation: ['pool', 'sandbox', 'registry', 'deploy', 'observability', 'interception', 'runtimes', 'config', 'errors'],
  pool: ['sandbox', 'registry', 'deploy', 'observability', 'runtimes', 'config', 'errors'],
  sandbox: ['errors', 'sandbox/addon.ts'],
  deploy: ['registry', 'runtimes', 'config', 'errors', 'deploy/manifest.ts'],
  registry: ['config', 'errors', 'deploy/manifest.ts', 'native-addon.ts'],
  'deploy/manifest.ts': ['interception', 'runtimes', 'config', 'errors', 'deploy/function.schema.validator.ts'],
  interception: ['config', 'errors'],
  'deploy/function.schema.validator.ts': [],
  observability: ['config', 'errors'],
  config: ['errors'],
  runtimes: ['errors'],
  errors: [],
  'native-addon.ts': ['sandbox/addon.ts', 'assets.ts'],
  'sandbox/addon.ts': [],
  'assets.ts': [],
};

/** Packages that one layer alone may import, so that replacing one is a change in one place. */
const OWNERS: Record<string, string> = {
  'uWebSockets.js': 'http',
  'better-sqlite3': 'registry',
  'commander': 'cli',
  'prom-client': 'observability',
  'pino': 'observability',
  'tar': 'deploy',
};

type Import = { file: string; layer: string; target: string };

function layerOf(file: string): string {
  return file in LAYERS ? file : file.split('/')[0]!;
}

function mayImport(layer: string, other: string): boolean {
  return layer === other || LAYERS[layer]!.some(allowed => allowed === other || allowed === other.split('/')[0]);
}

/** Static and dynamic imports and re-exports; types count too, since they bind layers just the same. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8');
  const pattern = /(?:^\s*(?:import|export)\s[^'"`;]*?from\s*|^\s*import\s*|\bimport\(\s*)['"]([^'"]+)['"]/gm;
  return [...text.matchAll(pattern)].map(match => ({ file, layer: layerOf(file), target: match[1]! }));
}

const imports = globSync('**/*.ts', { cwd: src }).flatMap(importsOf);

test('every layer of src/ stands in the table', () => {
  const found = new Set(globSync('**/*.ts', { cwd: src }).map(layerOf));
  assert.deepEqual([...found].sort(), Object.keys(LAYERS).sort());
});

test('a layer imports only the layers in its row', () => {
  const wrong = imports
    .filter(({ target }) => target.startsWith('.') && target.endsWith('.ts'))
    .map(entry => ({ ...entry, to: normalize(join(dirname(entry.file), entry.target)) }))
    .filter(({ to }) => !to.startsWith('..'))
    .filter(({ layer, to }) => !mayImport(layer, layerOf(to)))
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, []);
});

test('the table of layers has no cycle', () => {
  const visit = (layer: string, path: string[]): void => {
    assert.ok(!path.includes(layer), `cycle: ${[...path, layer].join(' → ')}`);
    for (const next of LAYERS[layer]!) visit(next, [...path, layer]);
  };
  for (const layer of Object.keys(LAYERS)) visit(layer, []);
});

test('a package is imported by its owner alone, and all are declared', () => {
  const wrong = imports
    .filter(({ target }) => !target.startsWith('.') && !target.startsWith('node:'))
    .map(entry => ({ ...entry, name: entry.target.startsWith('@') ? entry.target.split('/').slice(0, 2).join('/') : entry.target.split('/')[0]! }))
    .filter(({ layer, name }) => !(name in packageJson.dependencies) || (OWNERS[name] ?? layer) !== layer)
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, []);
});

test('the command line starts without what single verbs need: of packages it loads commander alone', () => {
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file) || file.endsWith('.validator.ts')) return; // compiled when the bundle is made
    reached.add(file);
    const text = readFileSync(join(src, file), 'utf8');
    for (const [, target] of text.matchAll(/^(?:import|export) (?!type )[^;]*? from '([^']+\.ts|[^.'][^:']*)'/gm)) target!.startsWith('.') ? visit(normalize(join(dirname(file), target!))) : reached.add(target!);
  };
  visit('cli/index.ts');
  assert.deepEqual([...reached].filter(name => !name.endsWith('.ts')), ['commander']);
  for (const absent of ['launcher/index.ts', 'observability/index.ts', 'deploy/index.ts', 'deploy/pack.ts']) assert.ok(!reached.has(absent), absent);
});
