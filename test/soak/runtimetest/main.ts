/**
 * runtimetest of the Open Containers runtime-tools inside a sandbox: built from pinned sources by Debian's Go compiler, which is unpacked below build/cache and not installed, run as a function's
 * program against config.ts. What it finds is exactly what is listed there.
 */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cache, run, stepIfChanged } from '../../../build/steps.ts';
import { resolveConfig } from '../../../src/config/index.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { ARGUMENTS, DIFFERENCES, HOST_ID, ociConfig } from './config.ts';

const GO = 'go-1.19';
const PACKAGES = ['golang-1.19-go', 'golang-1.19-src'];
const PROGRAM = 'github.com/opencontainers/runtime-tools/cmd/runtimetest';
const IDS = 65_536;
const own = join(cache, 'runtimetest');
const sources = ['go.mod', 'go.sum'];

/** CGI's headers, the configuration with the ids that this sandbox has, and what runtimetest says of it. */
const HANDLER = `#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
read inside outside size </proc/self/uid_map
sed "s/${HOST_ID}/$outside/g" /function/config.json >/tmp/config.json
echo "# host id $outside"
${ARGUMENTS.join(' ')} 2>&1
`;

async function build(): Promise<string> {
  const program = join(own, 'runtimetest');
  mkdirSync(own, { recursive: true });
  const inputs = sources.map((name) => readFileSync(join(import.meta.dirname, name)));
  await stepIfChanged('soak: build runtimetest with the Go of Debian', program, `${program}.stamp`, inputs, async () => {
    const archives = join(own, 'archives'), root = join(own, 'go');
    mkdirSync(join(archives, 'partial'), { recursive: true });
    await run('sh', ['-c', `cd ${archives} && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download ${PACKAGES.join(' ')} && for each in *.deb; do dpkg-deb -x "$each" ${root} || exit; done`]);
    for (const name of sources) copyFileSync(join(import.meta.dirname, name), join(own, name));
    const environment = { GOROOT: join(root, 'usr/lib', GO), GOPATH: join(own, 'modules'), GOCACHE: join(own, 'objects'), GOFLAGS: '-mod=readonly -modcacherw', CGO_ENABLED: '0', GOWORK: 'off' };
    await run('sh', ['-c', `cd ${own} && exec ${environment.GOROOT}/bin/go build -trimpath -o ${program} ${PROGRAM}`], environment);
    for (const folder of [archives, root, join(own, 'modules'), join(own, 'objects')]) rmSync(folder, { recursive: true, force: true });
  });
  return program;
}

/** Fails unless runtimetest says of a sandbox what is listed, and nothing else. Returns how many of its checks passed. */
export async function sandboxIsAsDescribed(): Promise<number> {
  const program = await build();
  const folder = mkdtempSync(join(tmpdir(), 'flashd-runtimetest-')), directory = join(folder, 'runtimetest');
  let flashd: Flashd | undefined;
  try {
    chmodSync(folder, 0o755);
    mkdirSync(directory);
    copyFileSync(program, join(directory, 'runtimetest'));
    writeFileSync(join(directory, 'config.json'), JSON.stringify(ociConfig()));
    writeFileSync(join(directory, 'handler'), HANDLER, { mode: 0o755 });
    flashd = await Flashd.start();
    await flashd.cli('deploy', directory);
    const { status, body } = await flashd.http('GET', '/function/runtimetest');
    assert.equal(status, 200, body.toString());
    return check(body.toString());
  } finally {
    await flashd?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function check(said: string): number {
  const { uidBase, slots } = resolveConfig({});
  const slot = (Number(/^# host id (\d+)$/m.exec(said)?.[1]) - uidBase) / IDS;
  assert.ok(Number.isInteger(slot) && slot >= 0 && slot < slots, said);
  const found = [...said.matchAll(/^not ok \d+ - (.*)$/gm)].map((match) => match[1]!);
  const passed = [...said.matchAll(/^ok \d+ - /gm)].length, skipped = [...said.matchAll(/^ok \d+ # SKIP/gm)].length;
  // The plan comes last: without it, it has given up in between.
  assert.equal(Number(/^1\.\.(\d+)$/m.exec(said)?.[1]), found.length + passed + skipped, said);
  assert.deepEqual(found.sort(), Object.keys(DIFFERENCES).sort());
  return passed;
}
