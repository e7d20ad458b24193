/** Which numeric user and group the gateway runs as. */
import { readFileSync } from 'node:fs';
import { FlashdError } from '../errors/index.ts';

export type ServiceUser = { readonly uid: number; readonly gid: number };

/** Used when the user `flashd` of the installed service does not exist: ids that no distribution hands out. */
const WITHOUT_ACCOUNT: ServiceUser = { uid: 64_999, gid: 64_999 };
const DEFAULT_NAME = 'flashd';

/** `user` is a name in /etc/passwd or UID:GID; never root, whose files and processes the gateway must not be able to touch. */
export function resolveUser(user: string, passwd: string = readFileSync('/etc/passwd', 'utf8')): ServiceUser {
  const resolved = numeric(user) ?? named(user, passwd);
  if (resolved === undefined) {
    throw new FlashdError('config_invalid', { message: `there is no user ${user}`, hint: 'name a user of /etc/passwd, or give UID:GID' });
  }
  if (resolved.uid === 0 || resolved.gid === 0) {
    throw new FlashdError('config_invalid', { message: `user ${user} is root`, hint: 'the gateway must run as an unprivileged user' });
  }
  return resolved;
}

function numeric(user: string): ServiceUser | undefined {
  const match = /^(\d+):(\d+)$/.exec(user);
  return match ? { uid: Number(match[1]), gid: Number(match[2]) } : undefined;
}

function named(user: string, passwd: string): ServiceUser | undefined {
  const fields = passwd.split('\n').map(line => line.split(':')).find(([name]) => name === user);
  if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  return user === DEFAULT_NAME ? WITHOUT_ACCOUNT : undefined;
}
