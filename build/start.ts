/** `npm start`: serves in the foreground with every directory of functions/ deployed, and prints a curl line for each. Ctrl-C ends it all. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { exampleOf, functionDirectories, prepareFunctions } from './functions.ts';
import { binaryPath } from './package.ts';
import { CommandFailed, run } from './steps.ts';

const READY_SECONDS = 60;
const READY_POLL_MS = 100;

await prepareFunctions();
const listen = process.env['FLASHD_LISTEN'] ?? '127.0.0.1:8080';
const server = spawn(binaryPath, ['serve'], { stdio: ['ignore', 'inherit', 'inherit'] });
const ended = new Promise<number>(resolve => {
  server.on('error', error => { console.error(error.message); resolve(111); });
  server.on('exit', (code, signal) => resolve(signal === null ? (code ?? 111) : 111));
});
// A terminal's Ctrl-C reaches the server too; a signal sent to this process alone would not.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => server.kill('SIGTERM'));
void ended.then(code => process.exit(code));

try {
  // Whole lines, since the server's own log lines come in between.
  console.log(`start: wait for http://${listen}`);
  await waitUntilReady();
  const directories = functionDirectories();
  console.log(`start: deploy ${directories.join(' ')}`);
  await run(binaryPath, ['deploy', ...directories]);
  console.log('\nTry:');
  for (const directory of directories) console.log(`  ${exampleOf(directory, listen)}`);
  console.log('\nCtrl-C stops it.');
} catch (error) {
  console.error(error instanceof CommandFailed ? error.output : (error as Error).message);
  server.kill('SIGTERM');
}

async function waitUntilReady(): Promise<void> {
  for (const end = Date.now() + READY_SECONDS * 1000; Date.now() < end; await sleep(READY_POLL_MS)) {
    // The management socket first: at the address alone a forgotten flashd could answer in place of this one.
    if (await isManaged() && await isHealthy()) return;
  }
  throw new Error(`not ready after ${READY_SECONDS} s`);
}

function isManaged(): Promise<boolean> {
  return run(binaryPath, ['list']).then(() => true, () => false);
}

function isHealthy(): Promise<boolean> {
  return fetch(`http://${listen}/healthz`, { signal: AbortSignal.timeout(1000) }).then(response => response.ok, () => false);
}
