/** What a function takes from the kernel in bulk comes in huge pages, where the machine has any; what it has of its template does not, and of how that is arranged it sees nothing. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { compileHandler } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';
import { attempt, family, isSandboxd, member } from './footprint.ts';

const POLICY = '/sys/kernel/mm/transparent_hugepage/enabled';
/** As many pieces of 64 KiB: 64 MiB. */
const PIECES = 1024;
const HUGE_KIB = 2048;

/** Each takes the memory, and returns how many KiB of huge pages it had before and has now, and the names of its variables. */
const HANDLERS: Readonly<Record<string, { file: string; text: string }>> = {
  c: {
    file: 'handler.c',
    text: `#include <flashd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char **environ;
static int huge(void) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  char line[256];
  int kib = -1;
  while (fgets(line, sizeof line, file)) sscanf(line, "AnonHugePages: %d", &kib);
  fclose(file);
  return kib;
}
int flashd_handle(const flashd_request *request, flashd_response *response) {
  char names[4096] = "";
  int before = huge();
  (void)request;
  for (int piece = 0; piece < ${PIECES}; piece++) memset(malloc(65000), 1, 65000);
  for (char **variable = environ; *variable; variable++) sprintf(names + strlen(names), "%s\\"%.*s\\"", *names ? "," : "", (int)strcspn(*variable, "="), *variable);
  return flashd_printf(response, "{\\"before\\":%d,\\"after\\":%d,\\"names\\":[%s]}", before, huge(), names);
}
`,
  },
  node: {
    file: 'index.mjs',
    text: `import { readFileSync } from 'node:fs';
const huge = () => Number(/AnonHugePages: +([0-9]+)/.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]);
const kept = [];
export async function handler() {
  const before = huge();
  for (let piece = 0; piece < ${PIECES}; piece++) kept.push(Buffer.alloc(65000, 1));
  return { before, after: huge(), names: Object.keys(process.env) };
}
`,
  },
  perl: {
    file: 'handler.pl',
    text: `my @kept;
sub huge { open my $file, '<', '/proc/self/smaps_rollup'; my ($kib) = join('', <$file>) =~ /AnonHugePages: +([0-9]+)/; return $kib + 0 }
sub handler { my $before = huge(); push @kept, '1' x 65000 for 1 .. ${PIECES}; return { before => $before, after => huge(), names => [keys %ENV] } }
`,
  },
  php: {
    file: 'handler.php',
    text: `<?php
function huge() { preg_match('/AnonHugePages: +([0-9]+)/', file_get_contents('/proc/self/smaps_rollup'), $found); return (int) $found[1]; }
function handler(array $event, $context) {
  static $kept = [];
  $before = huge();
  for ($piece = 0; $piece < ${PIECES}; $piece++) $kept[] = str_repeat('1', 65000);
  return ['before' => $before, 'after' => huge(), 'names' => array_merge(array_keys(getenv()), array_keys($_ENV), array_keys($_SERVER))];
}
`,
  },
  python: {
    file: 'handler.py',
    text: `import os, re
kept = []
def huge():
  with open('/proc/self/smaps_rollup') as file:
    return int(re.search('AnonHugePages: +([0-9]+)', file.read())[1])
def handler(event, context):
  before = huge()
  kept.extend(b'1' * 65000 for _ in range(${PIECES}))
  return {'before': before, 'after': huge(), 'names': list(os.environ)}
`,
  },
  ruby: {
    file: 'handler.rb',
    text: `KEPT = []
def huge = File.read('/proc/self/smaps_rollup')[/AnonHugePages: +([0-9]+)/, 1].to_i
def handler(event:, context:)
  before = huge
  ${PIECES}.times { KEPT << '1' * 65_000 }
  { before:, after: huge, names: ENV.keys }
end
`,
  },
};

describe('huge pages', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-huge-pages-'));
  const names = Object.keys(HANDLERS);
  const none = !existsSync(POLICY) || /\[never\]/.test(readFileSync(POLICY, 'utf8'));
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_MEMORY_MB: '256' });
    for (const [name, { file, text }] of Object.entries(HANDLERS)) {
      const directory = join(folder, name);
      mkdirSync(directory);
      writeFileSync(join(directory, file), text);
      compileHandler(directory);
    }
    await flashd.cli('deploy', ...names.map((name) => join(folder, name)));
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });

  for (const name of names) test(`${name}: what a function takes comes in them, what it has of its template does not`, async () => {
    const { status, body } = await flashd.http('GET', `/function/${name}`);
    assert.equal(status, 200, body.toString());
    const found = JSON.parse(body.toString()) as { before: number; after: number; names: string[] };
    assert.equal(found.before, 0);
    assert.ok(none ? found.after === 0 : found.after >= HUGE_KIB, `${found.after} KiB`);
    assert.deepEqual(found.names.filter((each) => /TUNABLES|HUGE/.test(each)), []);
  });

  test('templates have none, whatever the machine would give them', () => {
    const told = (pid: number, file: string): string => attempt(() => readFileSync(`/proc/${pid}/${file}`, 'utf8')) ?? '';
    const templates = family(member(flashd.pid, isSandboxd).pid).filter(({ pid }) => /^THP_enabled:\s+0/m.test(told(pid, 'status')));
    assert.ok(templates.length >= names.length, `${templates.length} templates`);
    assert.deepEqual(templates.filter(({ pid }) => /^AnonHugePages:\s+[1-9]/m.test(told(pid, 'smaps_rollup'))), []);
  });
});
