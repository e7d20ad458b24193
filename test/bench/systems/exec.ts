/** Plain fork and exec on the host: no isolation at all, the floor below every sandbox that starts a program; of the heavy functions, what they take from nothing. */
import { join } from 'node:path';
import { HEAVY_LANGUAGES, writeHeavy, type HeavyLanguage } from '../programs/heavy.ts';
import type { Language, System } from '../series.ts';
import { COMMANDS } from '../rootfs.ts';
import type { Workspace } from '../workspace.ts';
import { checkGreetings, commandSeries, startSeries } from './program.ts';

export function execSystem(workspace: Workspace): System {
  const commandOf = (language: Language) => COMMANDS[language].map(part => part.startsWith('/function/') ? join(workspace.rootfs, part) : part);
  const heavy = new Map<HeavyLanguage, readonly string[]>();
  return {
    name: 'exec',
    series: [...startSeries('exec', commandOf, 3), ...HEAVY_LANGUAGES.map(language => commandSeries(`heavy/${language}/exec`, 0, () => heavy.get(language)!))],
    prepare: async () => {
      await checkGreetings(commandOf);
      for (const language of HEAVY_LANGUAGES) heavy.set(language, writeHeavy(language, join(workspace.directory, 'heavy', language)));
    },
    cleanup: () => Promise.resolve(),
  };
}
