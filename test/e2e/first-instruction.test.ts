/** What an instance is when its first own instruction runs (a module's body, a library's constructor, a program), seen from inside, behind the packaged flashd. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run } from '../../build/steps.ts';
import { root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';

type Found = {
  descriptors: number[];
  cwd: string;
  status: Record<string, string>;
  namespaces: Record<string, string>;
  cgroup: string;
  'executable outside of files': string[];
  refused: Record<string, string>;
  processes: number[];
};

const KINDS = ['python', 'library', 'executable'] as const;
const FIXTURES = join(import.meta.dirname, 'fixtures/first-instruction');

describe('at the first instruction', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let flashd: Flashd;
  before(async () => {
    for (const kind of KINDS) cpSync(join(FIXTURES, kind), join(folder, `first-${kind}`), { recursive: true });
    const library = join(folder, 'first-library');
    await run('gcc', ['-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', join(root, 'src/runtimes/native'), '-o', join(library, 'handler.so'), join(library, 'handler.c')]);
    flashd = await Flashd.start();
    for (const kind of KINDS) {
      writeFileSync(join(folder, `first-${kind}`, 'function.json'), JSON.stringify({ keepWarmSeconds: 0 }));
      await flashd.cli('deploy', join(folder, `first-${kind}`));
    }
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });

  const found = async (kind: string): Promise<string> => {
    const answer = await flashd.http('GET', `/function/first-${kind}`);
    assert.equal(answer.status, 200, answer.body.toString());
    return answer.body.toString();
  };

  // Both of a parked fork and of one that was made while the request waited there are several here.
  for (let start = 1; start <= 8; start++) {
    test(`start ${start}: no descriptor but its own is open`, async () => {
      assert.deepEqual((JSON.parse(await found('python')) as Found).descriptors, [0, 1, 2, 3]);
      assert.equal(await found('library'), '0 1 2 3 ');
      assert.equal(await found('executable'), '0 1 2 ');
    });
  }

  test('it is nobody: ids, groups, capabilities, filters', async () => {
    const { status, cwd, cgroup } = JSON.parse(await found('python')) as Found;
    assert.equal(cwd, '/function');
    assert.equal(status['Uid'], '1000\t1000\t1000\t1000');
    assert.equal(status['Gid'], '1000\t1000\t1000\t1000');
    assert.equal(status['Groups']!.trim(), '');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.equal(status[set], '0000000000000000', set);
    assert.equal(status['NoNewPrivs'], '1');
    assert.equal(status['Seccomp'], '2');
    for (const line of cgroup.trim().split('\n').filter((each) => /:(memory|pids|cpu):|^0::/.test(each))) assert.match(line, /:\/$/, 'its own cgroup is the root that it sees');
  });

  test('it shares no namespace with the host, and sees no process but its init and itself', async () => {
    const { namespaces, processes } = JSON.parse(await found('python')) as Found;
    for (const [name, link] of Object.entries(namespaces)) assert.notEqual(link, readlinkSync(`/proc/self/ns/${name}`), name);
    assert.equal(processes.length, 2);
    assert.equal(processes[0], 1);
  });

  test('nothing of the parasite is left in its memory', async () => {
    assert.deepEqual((JSON.parse(await found('python')) as Found)['executable outside of files'], []);
  });

  test('what needs a privilege is refused', async () => {
    const { refused } = JSON.parse(await found('python')) as Found;
    for (const [name, answer] of Object.entries(refused)) assert.match(answer, /^E(PERM|NOSYS)$/, name);
  });
});
