/** `flashd install` and `flashd uninstall`: the commands around install.ts and uninstall.ts. */
import type { Command } from 'commander';
import { outputOf, verb, type CommonOptions } from './verb.ts';

type InstallOptions = CommonOptions & { start: boolean };
type UninstallOptions = CommonOptions & { purge?: boolean };

export function installCommand(): Command {
  return verb('install', 'install this binary as a systemd service, and start it (as root)', [
    'sudo flashd install',
    'sudo flashd install --no-start',
  ])
    .option('--no-start', 'only enable it: it starts at the next boot')
    .action(async (options: InstallOptions) => {
      const output = outputOf(options);
      const { install } = await import('./install.ts');
      await install({ start: options.start, say: (line) => output.line(line) });
      output.value({ installed: true, started: options.start });
    });
}

export function uninstallCommand(): Command {
  return verb('uninstall', 'stop the service and remove what install placed (as root)', [
    'sudo flashd uninstall',
    'sudo flashd uninstall --purge',
  ])
    .option('--purge', 'also remove every deployed function, and the service\'s users')
    .action(async (options: UninstallOptions) => {
      const output = outputOf(options);
      const { uninstall } = await import('./uninstall.ts');
      await uninstall({ purge: options.purge === true, say: (line) => output.line(line) });
      output.value({ installed: false, purged: options.purge === true });
    });
}
