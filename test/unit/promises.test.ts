/** Every promise in native/README.md names a test, and every named test is there. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const section = /\n## Promises\n([^]*?)\n## /.exec(readFileSync(join(root, 'native/README.md'), 'utf8'))![1]!;
const promises = [...section.matchAll(/^(\d+)\. (.*)$/gm)].map(([, number, text]) => ({ number: Number(number), text: text! }));
/** A file of tests, and what it says there. */
const references = (text: string): { file: string; title: string }[] =>
  [...text.matchAll(/`(test\/[^`]+)`: ((?:"[^"]+"(?:, )?)+)/g)].flatMap(([, file, titles]) => [...titles!.matchAll(/"([^"]+)"/g)].map(([, title]) => ({ file: file!, title: title! })));

/** As a C function that is defined and called; as one whole text in a table; as a part of a title, which may be made from a template. */
function named(file: string, source: string, title: string): boolean {
  if (file.endsWith('.c')) return source.split(`${title}(`).length > 2;
  if (['"', "'"].some((quote) => source.includes(quote + title + quote))) return true;
  return source.split('\n').some((line) => /\btest\(|title: /.test(line) && line.includes(title));
}

describe('promises', () => {
  test('they are numbered in order', () => {
    assert.ok(promises.length >= 20);
    assert.deepEqual(promises.map(({ number }) => number), promises.map((_, index) => index + 1));
  });

  for (const { number, text } of promises) {
    test(`promise ${number} is enforced by a test that exists`, () => {
      const found = references(text);
      assert.ok(found.length > 0, text);
      for (const { file, title } of found) {
        assert.ok(existsSync(join(root, file)), file);
        const source = readFileSync(join(root, file), 'utf8').replaceAll("\\'", "'");
        assert.ok(named(file, source, title), `${file} has no "${title}"`);
        assert.ok(!/\bskip\b/.test(source), `${file} skips nothing`);
      }
    });
  }

  test('what is named runs: as a test file, a C test program, or as the data of a test file', () => {
    for (const { file } of promises.flatMap(({ text }) => references(text))) {
      if (/\.test\.ts$|^test\/native\/\w+\.c$/.test(file)) continue;
      const users = globSync(join(dirname(file), '*.test.ts'), { cwd: root }).filter((each) => readFileSync(join(root, each), 'utf8').includes(`'./${file.slice(dirname(file).length + 1)}'`));
      assert.ok(users.length > 0, `${file} is used by no test`);
    }
  });
});
