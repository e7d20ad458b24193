/** What the service manager is told, by whom, and that nobody else can tell it anything. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { family, isGateway, member } from './footprint.ts';

/** A service manager: prints each notification behind the pid that the kernel says sent it. */
const MANAGER = `import socket, struct, sys
path = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
manager.bind('\\0' + path[1:] if path[0] == '@' else path)
print('bound', flush=True)
while True:
  text, control, _, _ = manager.recvmsg(4096, 4096)
  print(struct.unpack('3i', control[0][2])[0], text.decode(), flush=True)`;
const WATCHDOG_MS = 200;

async function manager(t: TestContext, path: string): Promise<string[]> {
  const child = spawn('/usr/bin/python3', ['-c', MANAGER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const heard: string[] = [];
  const lines = createInterface(child.stdout).on('line', (line) => heard.push(line));
  await once(lines, 'line');
  return heard;
}

for (const kind of ['a path', 'an abstract name']) {
  test(`a service manager at ${kind} hears from the main process alone, for the gateway`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'flashd-notify-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = kind === 'a path' ? join(folder, 'notify') : `@flashd-test-${process.pid}`;
    const heard = await manager(t, path);
    const flashd = await Flashd.start({ NOTIFY_SOCKET: path, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) });
    t.after(() => flashd.stop());
    const count = (): number => heard.filter((line) => line === `${flashd.pid} WATCHDOG=1`).length;
    while (count() < 2) await sleep(10);
    assert.ok(heard.includes(`${flashd.pid} READY=1`));
    for (const { pid, name } of family(flashd.pid).filter((process) => process.pid !== flashd.pid)) {
      assert.ok(!readFileSync(`/proc/${pid}/environ`, 'latin1').includes('NOTIFY_SOCKET'), `${name} knows where the service manager is`);
    }

    // A gateway that lives but hangs is not spoken for.
    const gateway = member(flashd.pid, isGateway).pid;
    process.kill(gateway, 'SIGSTOP');
    await sleep(WATCHDOG_MS);
    const then = count();
    await sleep(WATCHDOG_MS * 4);
    assert.equal(count(), then);
    process.kill(gateway, 'SIGCONT');
    while (count() === then) await sleep(10);

    await flashd.stop();
    while (!heard.includes(`${flashd.pid} STOPPING=1`)) await sleep(10);
    assert.deepEqual(heard.filter((line) => line !== 'bound' && !line.startsWith(`${flashd.pid} `)), []);
  });
}

for (const path of ['/nonexistent/notify', 'vsock:2:1234']) {
  test(`a service manager that cannot be notified (${path}) is no reason not to serve`, async (t) => {
    const flashd = await Flashd.start({ NOTIFY_SOCKET: path, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) });
    t.after(() => flashd.stop());
    await sleep(WATCHDOG_MS * 2);
    assert.equal((await flashd.http('GET', '/healthz')).status, 200);
    assert.equal(flashd.output.split('the service manager cannot be notified').length, 2, 'said once');
  });
}
