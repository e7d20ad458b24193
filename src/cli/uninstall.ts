/** `flashd uninstall`: stops the service and removes what `flashd install` placed; the functions stay unless asked otherwise. */
import { existsSync, rmSync } from 'node:fs';
import {
  INSTALLED_BINARY, INSTALLED_FILES, INSTALLED_ROOT, INSTALLED_STATE_DIR, INSTALLED_UNIT, INSTALLED_USER, SANDBOXD_USER, requireRoot, runSystem, systemdRuns, type Say,
} from './installation.ts';

export type UninstallOptions = {
  /** Also removes the state directory, with every deployed function, and the service's users. */
  purge: boolean;
  say: Say;
};

export async function uninstall({ purge, say }: UninstallOptions): Promise<void> {
  requireRoot('uninstall');
  const [unit] = INSTALLED_FILES;
  if (existsSync(unit!.path)) {
    runSystem('systemctl', 'disable', '--quiet', ...(systemdRuns() ? ['--now'] : []), INSTALLED_UNIT);
    say(`stopped and disabled ${INSTALLED_UNIT}`);
  }
  for (const path of [...INSTALLED_FILES.map(file => file.path), INSTALLED_BINARY]) {
    if (!existsSync(path)) continue;
    rmSync(path);
    say(`removed ${path}`);
  }
  // Mount points and links: what was mounted there went with the service.
  rmSync(INSTALLED_ROOT, { recursive: true, force: true });
  if (systemdRuns()) runSystem('systemctl', 'daemon-reload');
  if (!purge) return say(`${INSTALLED_STATE_DIR} is kept; --purge removes it`);
  rmSync(INSTALLED_STATE_DIR, { recursive: true, force: true });
  say(`removed ${INSTALLED_STATE_DIR}`);
  for (const user of [INSTALLED_USER, SANDBOXD_USER].filter(userExists)) runSystem('userdel', user);
}

function userExists(user: string): boolean {
  try {
    runSystem('getent', 'passwd', user);
    return true;
  } catch {
    return false;   // getent fails for exactly this: no such user
  }
}
