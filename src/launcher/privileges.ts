/**
 * Who may start flashd: root, or (the installed unit) a user of its own with the capabilities that sandboxd works with. What sandboxd makes belongs to that user, who owns the sandboxes' user namespaces and so has
 * every power in them: it must not be the gateway's.
 */
import { readFileSync } from 'node:fs';
import { FlashdError } from '../errors/index.ts';
import type { ServiceUser } from './user.ts';

/** linux/capability.h. Of native/sandboxd/supervisor.c's list those that nothing stands in for. */
const NEEDED = { CAP_DAC_OVERRIDE: 1, CAP_SETGID: 6, CAP_SETUID: 7, CAP_SETPCAP: 8, CAP_NET_ADMIN: 12, CAP_SYS_CHROOT: 18, CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21 };

/** uid: whom flashd was started as. status: /proc/self/status. */
export function requirePrivileges(user: ServiceUser, uid: number = process.geteuid!(), status: string = readFileSync('/proc/self/status', 'utf8')): void {
  if (uid === 0) return;
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)![1]!}`);
  const missing = Object.entries(NEEDED).flatMap(([name, number]) => ((effective >> BigInt(number)) & 1n ? [] : [name]));
  if (missing.length > 0) {
    throw new FlashdError('usage', { message: `flashd serve must be started as root, or with ${missing.join(', ')}`, hint: 'run it with sudo, or install the service: sudo flashd install' });
  }
  if (uid === user.uid) {
    throw new FlashdError('config_invalid', { message: 'the user that flashd was started as is the one that its gateway is to run as', hint: 'name another one with --user, or start it as another one' });
  }
}
