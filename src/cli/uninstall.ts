/** `flashd uninstall`: stops the service and removes what `flashd install` placed; the functions stay unless asked otherwise. */
import { existsSync, rmSync } from 'node:fs';
import {
  INSTALLED_BINARY, INSTALLED_FILES, INSTALLED_STATE_DIR, INSTALLED_UNIT, INSTALLED_USER, requireRoot, runSystem, systemdRuns, type Say,
} from './installation.ts';

export type UninstallOptions = {
  /** Also removes the state directory, with every deployed function, and the service user. */
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
  if (systemdRuns()) runSystem('systemctl', 'daemon-reload');
  if (!purge) return say(`${INSTALLED_STATE_DIR} is kept; --purge removes it`);
  rmSync(INSTALLED_STATE_DIR, { recursive: true, force: true });
  say(`removed ${INSTALLED_STATE_DIR}`);
  if (userExists()) runSystem('userdel', INSTALLED_USER);
}

function userExists(): boolean {
  try {
    runSystem('getent', 'passwd', INSTALLED_USER);
    return true;
  } catch {
    return false;   // getent fails for exactly this: no such user
  }
}
