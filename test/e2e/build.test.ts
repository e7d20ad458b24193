import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Flashd } from '../conformance/packaged.ts';

const HELLO = `#include <flashd.h>
#include "words.h"
int flashd_handle(const flashd_request *request, flashd_response *response) {
  (void)request;
  return flashd_printf(response, "%s\\n", words());
}
`;

describe('functions in C', () => {
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
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, name, file), content);
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
});
