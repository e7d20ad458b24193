import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';

const reach = async (options) => {
  const socket = connect(options);
  await once(socket, 'connect');
  socket.destroy();
};
const WAYS = {
  read: (path) => closeSync(openSync(path, 'r')), list: (path) => readdirSync(path).sort().join(' '), write: (path) => closeSync(openSync(path, 'a')),
  unix: (path) => reach({ path: path.replace('@', '\0') }), tcp: (port) => reach({ port: Number(port), host: '127.0.0.1' }), kill: (pid) => void process.kill(Number(pid), 'SIGKILL'),
  run: (command) => execFileSync('sh', ['-c', command]).toString().trim(),
};

export const handler = async (event) => {
  const answers = [];
  for (const [way, target] of (event.body ?? '').split('\n').filter(Boolean).map((line) => line.split('\t'))) {
    try {
      answers.push((await WAYS[way](target)) ?? 'done');
    } catch (error) {
      answers.push(error.code ?? String(error));
    }
  }
  return answers;
};
