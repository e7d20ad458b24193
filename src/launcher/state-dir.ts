/**
 * Makes the state directory and hands it to the service user. Runs as root in a directory that may belong to a less privileged user, so it
 * refuses directories that are not ours, and follows no symbolic links.
 */
import { chmodSync, chownSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, type Stats } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { managementSocketPath } from '../config/index.ts';
import { FlashdError } from '../errors/index.ts';
import type { ServiceUser } from './user.ts';

/** What marks a directory as ours whoever owns it; everything else in it is then ours too. */
const REGISTRY_FILE = 'registry.db';
/** The group may pass, to reach the management socket. */
const MODE = 0o750;

export function prepareStateDir(path: string, user: ServiceUser): void {
  mkdirSync(path, { recursive: true, mode: MODE });
  const status = lstatSync(path);
  if (!status.isDirectory()) throw invalid(`the state directory ${path} is not a directory`);
  if (status.uid !== user.uid && readdirSync(path).length > 0 && !existsSync(join(path, REGISTRY_FILE))) {
    throw invalid(`the state directory ${path} holds something else already`);
  }
  try {
    handOver(path, status, user);
  } catch (error) {
    // The installed service has no right to: what systemd-tmpfiles made is as it should be.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    throw invalid(`the state directory ${path} does not belong to the service user`, `give it to that user: chown -R ${user.uid}:${user.gid} ${path} && chmod ${MODE.toString(8)} ${path}`);
  }
}

/** Only what is not so yet, which needs privileges. */
function handOver(path: string, status: Stats, user: ServiceUser): void {
  if (status.uid !== user.uid || status.gid !== user.gid) {
    // The service user has changed. The top goes last, so that an interrupted walk is taken up at the next start.
    for (const entry of readdirSync(path, { recursive: true, encoding: 'utf8' })) lchownSync(join(path, entry), user.uid, user.gid);
    chownSync(path, user.uid, user.gid);
  }
  if ((lstatSync(path).mode & 0o7777) !== MODE) chmodSync(path, MODE);
}

/** Two gateways on one registry, or two sandboxds on one cgroup, would end each other's instances. */
export async function refuseSecondServer(stateDir: string): Promise<void> {
  const path = managementSocketPath(stateDir);
  const answered = await new Promise<boolean>(resolve => {
    const socket = connect(path);
    const settle = (result: boolean) => { socket.destroy(); resolve(result); };
    socket.once('connect', () => settle(true)).once('error', () => settle(false));
  });
  if (answered) throw invalid(`another flashd is serving from ${stateDir}`, 'stop it first, or give this one another --state-dir and --listen');
}

function invalid(message: string, hint = 'name an empty directory, or the one flashd used before, with --state-dir'): FlashdError {
  return new FlashdError('config_invalid', { message, hint });
}
