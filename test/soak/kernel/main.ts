/** flashd on Debian's own kernel (machine.ts): the C tests, and the installed service with functions, one of them restored after each request. Dirty pages are found by comparing there, cgroups are version 2 with controllers. */
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { out, root, run, step } from '../../../build/steps.ts';
import { BINARY } from '../../conformance/packaged.ts';
import { runOnDebiansKernel } from './machine.ts';

const LANGUAGES = ['c', 'node', 'perl', 'php', 'python', 'ruby'];
const RESTORED = 'import os\nkept = []\ndef handler(event, context):\n  kept.append(event)\n  return [os.getpid(), len(kept)]\n';
const PROGRAMS = join(out, 'native/test');
/** The light class needs Landlock of version 6. */
const NOT_THERE = ['light'];

/** Fails unless everything in job.sh holds. */
export async function holdsOnDebiansKernel(): Promise<{ kernel: string; results: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-kernel-'));
  try {
    const functions = join(folder, 'functions'), programs = join(folder, 'programs');
    for (const directory of [functions, programs]) mkdirSync(directory);
    copyFileSync(join(import.meta.dirname, 'job.sh'), join(folder, 'job.sh'));
    copyFileSync(BINARY, join(folder, 'flashd'));
    for (const name of readdirSync(PROGRAMS).filter((each) => !NOT_THERE.includes(each))) copyFileSync(join(PROGRAMS, name), join(programs, name));
    for (const language of LANGUAGES) cpSync(join(root, `functions/hello-${language}`), join(functions, `hello-${language}`), { recursive: true });
    // The machine has no compiler.
    await run('cc', ['-shared', '-fPIC', '-I', join(root, 'src/runtimes/native'), '-o', join(functions, 'hello-c/handler.so'), join(root, 'functions/hello-c/handler.c')]);
    cpSync(join(root, 'test/e2e/fixtures/bomb'), join(functions, 'bomb'), { recursive: true });
    mkdirSync(join(functions, 'restored'));
    writeFileSync(join(functions, 'restored/handler.py'), RESTORED);
    writeFileSync(join(functions, 'restored/function.json'), JSON.stringify({ requestIsolation: 'restore' }));
    for (const [name, requestIsolation] of Object.entries({ leaks: 'restore', 'leaks-used': 'reuse' })) {
      cpSync(join(root, 'test/e2e/rewind/python'), join(functions, name), { recursive: true });
      writeFileSync(join(functions, name, 'function.json'), JSON.stringify({ requestIsolation, maxInstances: 1 }));
    }
    await step('soak: install the Debian packages that emulation needs', () => run('build/setup', ['emulation']));
    const said = await runOnDebiansKernel(folder);
    assert.doesNotMatch(said, /^not ok/m, said);
    assert.match(said, /^# done$/m, said);
    assert.match(said, /^# .*, cgroups cgroup2fs$/m, said);
    return { kernel: /^# (\S+),/m.exec(said)![1]!, results: [...said.matchAll(/^ok /gm)].length };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
