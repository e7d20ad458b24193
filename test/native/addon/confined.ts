/** Confines itself and prints, as JSON, what still works and what does not. */
import { spawnSync } from 'node:child_process';
import { createHash, webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { addon } from './harness.ts';

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'done';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

const [status] = await Promise.all([readFile('/proc/self/status', 'utf8')]);
if (!/^Seccomp:\t0$/m.test(status)) throw new Error('confined already');
const earlier = new Worker(`const { parentPort } = require('node:worker_threads');
  parentPort.once('message', () => parentPort.postMessage(require('node:child_process').spawnSync('/bin/true').error?.code));`, { eval: true });
await once(earlier, 'online');

const instructions = addon.confine();
earlier.postMessage('go');
const [worker] = await once(earlier, 'message');
const server = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
await once(server, 'listening');
const http = await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).text();
server.close();
const confined = await readFile('/proc/self/status', 'utf8');
const value = (name: string): string | undefined => confined.match(new RegExp(`^${name}:\\t(\\d+)$`, 'm'))?.[1];
process.stdout.write(JSON.stringify({
  instructions, worker, http,
  spawn: (spawnSync('/bin/true').error as NodeJS.ErrnoException | undefined)?.code,
  setuid: codeOf(() => process.setuid?.(process.getuid?.() ?? 0)),
  file: (await readFile(import.meta.filename)).length > 0,
  digest: (await webcrypto.subtle.digest('SHA-256', createHash('md5').digest())).byteLength,
  seccomp: value('Seccomp'), noNewPrivs: value('NoNewPrivs'),
}));
process.exit(0);
