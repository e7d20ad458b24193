/** The light class beside the full one: the same functions with "isolation": "process", and what making a sandbox of each class takes by itself, with nobody in it (test/native/light.c). */
import { join } from 'node:path';
import { root } from '../../../build/steps.ts';
import type { Language, Samples, Series, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { allColdSeries, benchFunction, concurrencySeries, Server, sparseSeries, type BenchFunction } from './flashd.ts';
import { output } from './program.ts';

/** One for each kind of process: one thread, threads of a runtime, those of a virtual machine. (Ruby is refused there.) */
const LIGHT_LANGUAGES = ['c', 'python', 'node', 'java'] as const satisfies readonly Language[];
/** Beside the cold starts of the full class. */
const MOST_AT_ONCE = [1, 8, 32] as const;
/** Host ids beyond those of the others that run beside it. */
const PERMITTED = { FLASHD_ALLOW_PROCESS_ISOLATION: '1', FLASHD_UID_BASE: String(2_147_483_648) };
const PROGRAM = join(root, 'build/out/native/test/light');

const light = (kind: 'cold' | 'standby' | 'frozen', language: Language): BenchFunction => {
  const { name, manifest } = benchFunction(kind, language);
  return { name, language, manifest: { ...manifest, isolation: 'process' } };
};

export function lightSystem(workspace: Workspace): System {
  const functions = LIGHT_LANGUAGES.flatMap(language => (['cold', 'standby', 'frozen'] as const).map(kind => light(kind, language)));
  const server = new Server(workspace, PERMITTED, functions, 'light');
  return {
    name: 'flashd, light class',
    series: [
      ...allColdSeries(server, LIGHT_LANGUAGES, 'language-template', 'light/', 'light'),
      ...LIGHT_LANGUAGES.map(language => sparseSeries(server.target(`standby-${language}`), `light/${language}/standby`, 'standby')),
      ...LIGHT_LANGUAGES.map(language => sparseSeries(server.target(`frozen-${language}`), `light/${language}/function-template`, 'function-template')),
      ...(['c', 'python'] as const).flatMap(language => MOST_AT_ONCE.map(connections => concurrencySeries(server.target(`cold-${language}`), language, connections, 'light'))),
      ...(['full', 'process'] as const).map(sandboxSeries),
    ],
    prepare: () => server.start(),
    cleanup: () => server.stop(),
  };
}

function sandboxSeries(isolation: 'full' | 'process'): Series {
  return {
    name: `sandbox/${isolation}/build`,
    also: [`sandbox/${isolation}/end`],
    group: 'start',
    total: n => n,
    async sample(count): Promise<Samples> {
      const lines = (await output(PROGRAM, ['bench', isolation, String(count)])).trim().split('\n').map(line => line.split(' ').map(Number));
      return new Map([[`sandbox/${isolation}/build`, lines.map(([build]) => build!)], [`sandbox/${isolation}/end`, lines.map(([, end]) => end!)]]);
    },
  };
}
