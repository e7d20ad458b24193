/** `flashd install`: copies this binary to /usr/local/bin, adds the unit, the service user and the state directory, and starts the service. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { packaged, readAsset } from '../assets.ts';
import { FlashdError } from '../errors/index.ts';
import { INSTALLED_BINARY, INSTALLED_FILES, INSTALLED_UNIT, requireRoot, runSystem, systemdRuns, type Say } from './installation.ts';

export type InstallOptions = {
  /** False: enable the service, but leave it to the next boot to start it. */
  start: boolean;
  say: Say;
};

/** Installing again is upgrading: files are replaced atomically, then the service is restarted. */
export async function install({ start, say }: InstallOptions): Promise<void> {
  requireRoot('install');
  if (!packaged) throw new FlashdError('usage', { message: 'only the packaged binary can be installed', hint: 'npm run build, then: sudo build/out/flashd install' });
  installBinary(say);
  for (const { asset, path } of INSTALLED_FILES) {
    replaceFile(path, temporary => writeFileSync(temporary, readAsset(asset)), 0o644);
    say(`wrote ${path}`);
  }
  const [, sysusers, tmpfiles] = INSTALLED_FILES;
  runSystem('systemd-sysusers', sysusers!.path);
  runSystem('systemd-tmpfiles', '--create', tmpfiles!.path);
  runSystem('systemctl', 'enable', '--quiet', INSTALLED_UNIT);
  say(`enabled ${INSTALLED_UNIT}`);
  if (!systemdRuns()) return say('systemd does not run here: the service starts at the next boot');
  runSystem('systemctl', 'daemon-reload');
  if (!start) return;
  runSystem('systemctl', 'restart', INSTALLED_UNIT);
  say('started: see systemctl status flashd');
}

function installBinary(say: Say): void {
  if (existsSync(INSTALLED_BINARY) && realpathSync(INSTALLED_BINARY) === process.execPath) return;
  replaceFile(INSTALLED_BINARY, temporary => copyFileSync('/proc/self/exe', temporary), 0o755);
  say(`copied to ${INSTALLED_BINARY}`);
}

/** Beside it first, then renamed: a running flashd keeps its own file, and an interrupted install leaves the old one. */
function replaceFile(path: string, write: (temporary: string) => void, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const temporary = `${path}.new`;
  try {
    write(temporary);
    chmodSync(temporary, mode);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
