/** Where an installed flashd stands on a machine, and the few system commands that installing needs. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { AssetName } from '../assets.ts';
import { FlashdError } from '../errors/index.ts';

export const INSTALLED_BINARY = '/usr/local/bin/flashd';
export const INSTALLED_UNIT = 'flashd.service';
export const INSTALLED_USER = 'flashd';
/** Whom supervisor and sandboxd run as. */
export const SANDBOXD_USER = 'flashd-sandboxd';
/** What the unit has mounted as its root directory. */
export const INSTALLED_ROOT = '/run/flashd-root';
/** Of the default configuration, which is what the unit starts with. */
export const INSTALLED_STATE_DIR = '/var/lib/flashd';

/** In /etc: placed by the administrator (that is what running `flashd install` is), not by a distribution's package. */
export const INSTALLED_FILES: readonly { asset: AssetName; path: string }[] = [
  { asset: 'flashd.service', path: `/etc/systemd/system/${INSTALLED_UNIT}` },
  { asset: 'flashd.sysusers', path: '/etc/sysusers.d/flashd.conf' },
  { asset: 'flashd.tmpfiles', path: '/etc/tmpfiles.d/flashd.conf' },
];

export type Say = (line: string) => void;

export function requireRoot(verb: string): void {
  if (process.geteuid?.() === 0) return;
  throw new FlashdError('usage', { message: `flashd ${verb} must be run as root`, hint: `sudo flashd ${verb}` });
}

/** As sd_booted(3): whether systemd is the machine's init, rather than merely installed (an image being built). */
export function systemdRuns(): boolean {
  return existsSync('/run/systemd/system');
}

export function runSystem(command: string, ...args: string[]): void {
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.status === 0) return;
  const reason = result.error?.message ?? (result.stderr.trim() || `status ${result.status}`);
  throw new FlashdError('system_error', { message: `${[command, ...args].join(' ')}: ${reason}`, hint: 'flashd is installed on machines with systemd' });
}
