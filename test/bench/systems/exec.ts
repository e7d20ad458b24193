/** Plain fork and exec on the host: no isolation at all, the floor below every sandbox that starts a program. */
import { join } from 'node:path';
import type { Language, System } from '../series.ts';
import { COMMANDS, type Workspace } from '../workspace.ts';
import { checkGreetings, startSeries } from './program.ts';

export function execSystem(workspace: Workspace): System {
  const commandOf = (language: Language) => COMMANDS[language].map(part => part.startsWith('/function/') ? join(workspace.rootfs, part) : part);
  return {
    name: 'exec',
    series: startSeries('exec', commandOf),
    prepare: () => checkGreetings(commandOf),
    cleanup: () => Promise.resolve(),
  };
}
