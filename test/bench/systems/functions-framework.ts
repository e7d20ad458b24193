/** Google's framework for functions with a hello function: what runs inside one of its containers. */
import { join } from 'node:path';
import { node } from '../../../build/steps.ts';
import { peers } from '../workspace.ts';
import { httpPeerSystem } from './http-peer.ts';

const main = join(peers, 'node_modules/@google-cloud/functions-framework/build/src/main.js');

export const functionsFrameworkSystem = () => httpPeerSystem({
  name: 'functions-framework',
  command: port => [node, main, '--source=functions-framework.cjs', '--target=hello', `--port=${port}`],
  cwd: peers,
  env: { NODE_ENV: 'production' },
});
