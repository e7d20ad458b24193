/**
 * `flashd serve`: validates what it was given, prepares the machine's side (state directory, service user), and replaces itself with the supervisor, which lives
 * in the same image as sandboxd and comes out of memory. The process id stays, so that systemd's main process is the supervisor.
 *
 *   launcher ──exec──▶ supervisor ──fork──▶ sandboxd
 *                          └───────fork──▶ gateway (this binary again)
 */
import { createHash } from 'node:crypto';
import { constants, openSync } from 'node:fs';
import { packaged, readAsset } from '../assets.ts';
import { GATEWAY_CONFIG_VARIABLE, type Config } from '../config/index.ts';
import { loadAddon } from '../native-addon.ts';
import { requirePrivileges } from './privileges.ts';
import { prepareStateDir, refuseSecondServer } from './state-dir.ts';
import { supervisorArguments } from './supervisor-arguments.ts';
import { resolveUser } from './user.ts';

/** What of the environment the service keeps: where to log and load from, and systemd's side of the conversation. */
const KEPT_ENVIRONMENT = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'RUNTIME_DIRECTORY', 'NOTIFY_SOCKET', 'WATCHDOG_USEC'];

/** Does not return when it succeeds. */
export async function launch(config: Config): Promise<never> {
  const user = resolveUser(config.user);
  requirePrivileges(user);
  await refuseSecondServer(config.stateDir);
  prepareStateDir(config.stateDir, user);

  const addon = loadAddon();
  const image = addon.memfd('flashd-sandboxd', readAsset('sandboxd'));
  const pack = addon.memfd('flashd-runtimes', readAsset('runtimes.pack'));
  const binary = openSync('/proc/self/exe', constants.O_RDONLY);
  const argv = supervisorArguments({ config, user, cgroup: cgroupName(config.stateDir), image, pack, binary, gateway: gatewayArguments() });
  return addon.exec(image, argv, serviceEnvironment(config), [image, pack, binary]);
}

/** One per state directory: after a crash the next generation finds, by this name, what the dead one left. */
function cgroupName(stateDir: string): string {
  return `flashd-${createHash('sha256').update(stateDir).digest('hex').slice(0, 8)}`;
}

function gatewayArguments(): string[] {
  return packaged ? ['flashd', 'gateway'] : ['node', ...process.execArgv, process.argv[1]!, 'gateway'];
}

function serviceEnvironment(config: Config): string[] {
  const kept = KEPT_ENVIRONMENT.flatMap(name => (process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`]));
  return [...kept, `${GATEWAY_CONFIG_VARIABLE}=${JSON.stringify(config)}`];
}
