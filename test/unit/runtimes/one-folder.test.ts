/** A language is its folder below src/runtimes: nothing else in src or native knows one by name. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { RUNTIMES } from '../../../src/runtimes/index.ts';
import { root } from '../../conformance/fixtures.ts';

/** flashd itself runs on Node and has native code: these words are its own as well. */
const OWN_WORDS = new Set(['node', 'native']);

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
const withoutExamples = (text: string): string => text.replace(/\bhello-\w+/g, '');

test('no language is named outside of its folder', () => {
  const files = globSync('{src,native}/**/*.{ts,c,h,json}', { cwd: root }).filter((file) => !file.startsWith('src/runtimes/') && !file.endsWith('.schema.json'));
  assert.ok(files.length > 100);
  for (const file of files) {
    const text = withoutExamples(withoutComments(readFileSync(join(root, file), 'utf8')));
    for (const name of RUNTIMES.keys()) if (!OWN_WORDS.has(name)) assert.doesNotMatch(text, new RegExp(`\\b${name}\\b`, 'i'), `${file} names ${name}`);
  }
});
