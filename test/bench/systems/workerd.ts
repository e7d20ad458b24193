/** Cloudflare's runtime with a hello worker: isolates in one process instead of processes in sandboxes. */
import { join } from 'node:path';
import { peers } from '../workspace.ts';
import { httpPeerSystem } from './http-peer.ts';

export const workerdSystem = () => httpPeerSystem({
  name: 'workerd',
  command: port => [join(peers, 'node_modules/@cloudflare/workerd-linux-64/bin/workerd'), 'serve', 'workerd.capnp', `--socket-addr=http=127.0.0.1:${port}`],
  cwd: peers,
});
