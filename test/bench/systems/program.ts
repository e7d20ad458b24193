/** What the systems that start a program have in common: time from the start to its first byte of output, for each language and arrival. */
import { execFile } from 'node:child_process';
import { ARRIVALS, LANGUAGES, isMain, type Language, type Samples, type Series } from '../series.ts';
import { DEBIAN_ENVIRONMENT, GREETING, programs } from '../workspace.ts';

export type CommandOf = (language: Language) => readonly string[];

/** Runs to the end and returns stdout; stderr is in the message when it fails. */
export function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: DEBIAN_ENVIRONMENT, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${error.signal ?? `status ${error.code}`}\n${stderr}`));
      else resolve(stdout);
    });
  });
}

export async function checkGreetings(commandOf: CommandOf): Promise<void> {
  for (const language of LANGUAGES) {
    const [command, ...args] = commandOf(language);
    const said = await output(command!, args);
    if (!said.includes(GREETING)) throw new Error(`${command} does not greet: ${said}`);
  }
}

/** Of the languages beside the main ones so many times fewer samples, and none after a gap: a start of theirs takes long. */
export function startSeries(system: string, commandOf: CommandOf, fewer: number): Series[] {
  return LANGUAGES.flatMap(language => ARRIVALS.filter(({ gapUs }) => isMain(language) || gapUs === 0).map(({ suffix, gapUs }) => (
    commandSeries(`${system}/${language}${suffix}`, gapUs, () => commandOf(language), isMain(language) ? 1 : fewer)
  )));
}

export function commandSeries(name: string, gapUs: number, command: () => readonly string[], fewer = 1): Series {
  return {
    name,
    group: 'start',
    total: n => Math.ceil(n / fewer),
    async sample(count): Promise<Samples> {
      const lines = await output(programs.firstOutput, [String(count), String(gapUs), ...command()]);
      return new Map([[name, lines.trim().split('\n').map(line => Number(line) / 1000)]]);
    },
  };
}
