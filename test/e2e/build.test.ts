import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Flashd } from '../conformance/packaged.ts';
import { WHEEL } from './lab.ts';

const HELLO = `#include <flashd.h>
#include "words.h"
int flashd_handle(const flashd_request *request, flashd_response *response) {
  (void)request;
  return flashd_printf(response, "%s\\n", words());
}
`;

describe('functions that come as source', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start();
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });
  const source = (name: string, files: Record<string, string>): string => {
    mkdirSync(join(folder, name));
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name, file)), { recursive: true });
      writeFileSync(join(folder, name, file), content);
    }
    return join(folder, name);
  };

  test('are compiled at their deployment, all files together', async () => {
    await flashd.cli('deploy', source('made-of-two', { 'handler.c': HELLO, 'words.h': 'const char *words(void);\n', 'words.c': 'const char *words(void) { return "from two files"; }\n' }));
    const answer = await flashd.http('GET', '/function/made-of-two');
    assert.deepEqual([answer.status, answer.body.toString()], [200, 'from two files\n']);
  });

  test('that do not compile are refused with the words of the compiler', async () => {
    await assert.rejects(flashd.cli('deploy', source('broken', { 'handler.c': '#include <flashd.h>\nint flashd_handle(void) { return undeclared; }\n' })), /build_failed.*handler\.c:2:.*undeclared/s);
    assert.doesNotMatch(await flashd.cli('list'), /broken/);
  });

  test('are compiled in a sandbox: the compiler sees neither the host nor a network', async () => {
    const nosy = '#include "/root/.bashrc"\n#include "/etc/shadow"\n';
    await assert.rejects(flashd.cli('deploy', source('nosy', { 'handler.c': nosy })), /No such file or directory|Permission denied/);
  });

  test('in TypeScript are bundled with their packages', async () => {
    const files = {
      'index.ts': `import { shout } from 'shouting';\nimport { createHash } from 'node:crypto';\nexport const handler = async (event: { rawPath: string }): Promise<string> => shout(event.rawPath) + createHash('sha256').update('x').digest('hex').slice(0, 4);\n`,
      'node_modules/shouting/package.json': '{ "name": "shouting", "version": "1.0.0", "main": "main.js" }',
      'node_modules/shouting/main.js': 'exports.shout = (text) => `${text}!`;\n',
    };
    await flashd.cli('deploy', source('typed', files));
    assert.equal((await flashd.http('GET', '/function/typed/loud')).body.toString(), '"/loud!2d71"');
  });

  test('in JavaScript are bundled when they ask for it', async () => {
    const files = { 'function.json': '{ "bundle": true }', 'index.mjs': `import { word } from './word.mjs';\nexport const handler = () => word;\n`, 'word.mjs': `export const word = 'together';\n` };
    await flashd.cli('deploy', source('bundled', files));
    assert.equal((await flashd.http('GET', '/function/bundled')).body.toString(), '"together"');
    await assert.rejects(flashd.cli('deploy', source('unbundled', { 'function.json': '{ "bundle": true }', 'handler.py': 'def handler(event, context): return 1\n' })), /manifest_invalid.*no bundler/s);
  });

  test('in TypeScript that miss a package are refused with the words of the bundler', async () => {
    await assert.rejects(flashd.cli('deploy', source('missing', { 'index.ts': `import { gone } from 'gone';\nexport const handler = gone;\n` })), /build_failed.*Could not resolve "gone"/s);
  });

  test('in Java are compiled with the jars beside them', async () => {
    const handler = `import flashd.Context;\nimport java.util.Map;\npublic class Handler {\n  record Answer(String text, int[] numbers) {}\n  public Object handle(Map<String, Object> event, Context context) { return new Answer(Words.words(), new int[] {1, 2}); }\n}\n`;
    await flashd.cli('deploy', source('in-java', { 'Handler.java': handler, 'Words.java': 'class Words { static String words() { return "from two files"; } }\n' }));
    assert.equal((await flashd.http('GET', '/function/in-java')).body.toString(), '{"text":"from two files","numbers":[1,2]}');
    await assert.rejects(flashd.cli('deploy', source('broken-java', { 'Handler.java': 'public class Handler {\n  int x = "text";\n}\n' })), /build_failed.*Handler\.java:2: error: incompatible types/s);
  });

  test("take Lambda's interfaces where a function brings them along", async () => {
    const files = {
      'function.json': '{ "symbol": "app.Main::handleRequest" }',
      'Handler.java': 'class Handler {}\n',
      'app/Main.java': 'package app;\nimport java.io.*;\npublic class Main implements lambda.RequestStreamHandler {\n  public void handleRequest(InputStream in, OutputStream out, lambda.Context context) throws IOException {\n    context.getLogger().log("read " + in.readAllBytes().length);\n    out.write(("{\\"statusCode\\":201,\\"body\\":\\"" + context.getFunctionName() + "\\"}").getBytes());\n  }\n}\n',
      'lambda/RequestStreamHandler.java': 'package lambda;\nimport java.io.*;\npublic interface RequestStreamHandler { void handleRequest(InputStream in, OutputStream out, Context context) throws IOException; }\n',
      'lambda/Context.java': 'package lambda;\npublic interface Context { String getFunctionName(); Logger getLogger(); }\n',
      'lambda/Logger.java': 'package lambda;\npublic interface Logger { void log(String text); }\n',
    };
    await flashd.cli('deploy', source('lambda-java', files));
    const answer = await flashd.http('GET', '/function/lambda-java');
    assert.deepEqual([answer.status, answer.body.toString()], [201, 'lambda-java']);
  });

  test('in Python get the packages that they name, from the index on the net', async () => {
    const files = { 'handler.py': 'import six\ndef handler(event, context): return [six.__version__, six.__file__, six.__cached__.split("/")[-2]]\n', 'requirements.txt': 'six==1.16.0\n' };
    await flashd.cli('deploy', source('named', files));
    assert.equal((await flashd.http('GET', '/function/named')).body.toString(), '["1.16.0", "/function/packages/six.py", "__pycache__"]');
    await assert.rejects(flashd.cli('deploy', source('unknown', { ...files, 'requirements.txt': 'six==99.0\n' })), /build_failed.*No matching distribution found for six==99\.0/s);
  });

  test('in Python get them from a directory of wheels without any network', async () => {
    const folder = source('wheels', { 'handler.py': 'import tiny\ndef handler(event, context): return tiny.WORD\n', 'requirements.txt': 'tiny==1.0\n', 'wheels/.keep': '' });
    execFileSync('/usr/bin/python3', ['-c', WHEEL, join(folder, 'wheels/tiny-1.0-py3-none-any.whl')]);
    const isolated = await Flashd.start({ FLASHD_BUILD_EGRESS: 'none' });
    try {
      await isolated.cli('deploy', folder);
      assert.equal((await isolated.http('GET', '/function/wheels')).body.toString(), '"tiny indeed"');
      await assert.rejects(isolated.cli('deploy', source('isolated', { 'handler.py': 'import six\n', 'requirements.txt': 'six==1.16.0\n' })), /build_failed.*six==1\.16\.0/s);
    } finally {
      await isolated.stop();
    }
    await assert.rejects(flashd.cli('deploy', source('not-among-them', { 'handler.py': 'import six\n', 'requirements.txt': 'six==1.16.0\n', 'wheels/.keep': '' })), /build_failed.*No matching distribution/s);
  });
});
