/** bubblewrap with every namespace and no capabilities; it has neither cgroup limits nor a system call filter of its own, so it does less than the others. */
import type { Language, System } from '../series.ts';
import { COMMANDS } from '../rootfs.ts';
import { programs, type Workspace } from '../workspace.ts';
import { checkGreetings, startSeries } from './program.ts';

export function bwrapSystem(workspace: Workspace): System {
  const sandbox = [
    '--unshare-all', '--unshare-user', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL', '--new-session', '--die-with-parent', '--clearenv',
    '--ro-bind', workspace.rootfs, '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp',
  ];
  const commandOf = (language: Language) => [programs.bwrap, ...sandbox, '--', ...COMMANDS[language]];
  return {
    name: 'bwrap',
    series: startSeries('bwrap', commandOf, 3),
    prepare: () => checkGreetings(commandOf),
    cleanup: () => Promise.resolve(),
  };
}
