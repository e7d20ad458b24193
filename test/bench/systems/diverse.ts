/**
 * More functions than there is room for: requests to one of them at random, with one, two and four times as many functions as instances may live. What is not among the living comes about in the
 * place of what was used longest ago:
 *   reuse               an instance of another function, rewound, that loads the function's code
 *   function-template   a fork of a process that has loaded it
 *   language-template   a fork of the runtime, that loads it
 *   boot                nothing lives, and the language boots for each request: a program per request, in a sandbox like the others
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { Flashd } from '../../conformance/packaged.ts';
import type { Language, Samples, Series, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { makeFunction } from './flashd.ts';
import { requests } from './http-client.ts';

/** Instances that may live at once. */
const ROOM = 8;
export const DIVERSE_FACTORS = [1, 2, 4] as const;
export const DIVERSE_LANGUAGES = ['python', 'node'] as const satisfies readonly Language[];
const MOST = ROOM * Math.max(...DIVERSE_FACTORS);
const GAP_US = 10_000;
/** Requests before those that count, for what was left by another number of functions. */
const BEFORE = 3 * ROOM;
/** Longer than a function waits for its turn; and what a function template needs to find room is that idle instances go. */
const KEEP_WARM_SECONDS = 2;
const TEMPLATES_AT_ONCE = 4;
const READY_MS = 20_000;
/** All of them run beside each other: ids of their own, and no more slots than they need, with the sandboxes kept ready. */
const SLOTS = 256;
const UIDS = SLOTS * 65_536;
const UID_FIRST = 2_013_265_920;

const COMMON = { standby: 0, keepWarmSeconds: KEEP_WARM_SECONDS };
const KINDS = {
  'reuse': { manifest: { ...COMMON, functionTemplate: 0 }, environment: { FLASHD_REUSE_ACROSS_FUNCTIONS: '1' } },
  'function-template': { manifest: { ...COMMON, functionTemplate: 1 }, environment: {} },
  'language-template': { manifest: { ...COMMON, functionTemplate: 0 }, environment: {} },
  'boot': { manifest: {}, environment: {} },
} as const;
export type DiverseKind = keyof typeof KINDS;
export const DIVERSE_KINDS = Object.keys(KINDS) as DiverseKind[];

/** The hello of each language as a program. */
const PROGRAMS: Readonly<Record<(typeof DIVERSE_LANGUAGES)[number], string>> = {
  python: "#!/usr/bin/python3\nimport json, os\nprint('Content-Type: application/json\\n\\n' + json.dumps({'hello': os.environ['PATH_INFO']}))\n",
  node: "#!/usr/bin/node\nconsole.log('Content-Type: application/json\\n\\n' + JSON.stringify({ hello: process.env.PATH_INFO }));\n",
};

export function diverseSystems(workspace: Workspace): System[] {
  return DIVERSE_LANGUAGES.map((language, index) => diverseSystem(workspace, language, index));
}

/** index: among those that run beside each other. */
function diverseSystem(workspace: Workspace, language: (typeof DIVERSE_LANGUAGES)[number], index: number): System {
  const servers = new Map<DiverseKind, Flashd>();
  return {
    name: `flashd with more functions than room, ${language}`,
    series: DIVERSE_FACTORS.flatMap(factor => DIVERSE_KINDS.map(kind => series(() => servers.get(kind)!, language, factor, kind))),
    async prepare(): Promise<void> {
      await prepareFunctions();
      for (const [order, kind] of DIVERSE_KINDS.entries()) {
        const uidBase = UID_FIRST + (index * DIVERSE_KINDS.length + order) * UIDS;
        const flashd = await Flashd.start({ ...KINDS[kind].environment, FLASHD_UID_BASE: String(uidBase), FLASHD_SLOTS: String(SLOTS), FLASHD_MAX_INSTANCES: String(ROOM), FLASHD_PULSE_MS: '0' });
        servers.set(kind, flashd);
        await flashd.cli('deploy', ...Array.from({ length: MOST }, (_, each) => directoryOf(workspace, language, kind, each)));
        if (kind === 'function-template') await templatesReady(flashd, language);
      }
    },
    async cleanup(): Promise<void> {
      for (const flashd of servers.values()) await flashd.stop();
      servers.clear();
    },
  };
}

function series(flashd: () => Flashd, language: Language, factor: number, kind: DiverseKind): Series {
  const name = `diverse/${language}/x${factor}/${kind}`;
  let taken = 0;
  return {
    name,
    group: 'diverse',
    total: n => n,
    async sample(count): Promise<Samples> {
      const before = await reused(flashd());
      const { samples } = await requests(flashd().port, `/function/diverse-${language}-*`, 1, BEFORE + count, GAP_US, taken, [], factor * ROOM);
      taken += BEFORE + count;
      if (kind === 'reuse' && factor > 1 && (await reused(flashd())) === before) throw new Error(`no instance of ${language} went from function to function:\n${flashd().output}`);
      const counted = samples.slice(BEFORE);
      const times: [string, number[]] = [name, counted.map(({ us }) => us)];
      if (kind === 'boot') return new Map([times]);
      return new Map([times, [`${name}/warm`, [(100 * counted.filter(({ start }) => start === 'warm').length) / counted.length]]]);
    },
  };
}

function directoryOf(workspace: Workspace, language: (typeof DIVERSE_LANGUAGES)[number], kind: DiverseKind, index: number): string {
  const name = `diverse-${language}-${index}`;
  if (kind !== 'boot') return makeFunction(workspace, { name, language, manifest: KINDS[kind].manifest }, `diverse-${kind}`);
  const directory = join(workspace.directory, `diverse-${kind}`, name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'handler'), PROGRAMS[language]);
  chmodSync(join(directory, 'handler'), 0o755);
  return directory;
}

async function reused(flashd: Flashd): Promise<number> {
  return Number(/^flashd_instances_reused_total (\d+)$/m.exec((await flashd.http('GET', '/metrics')).body.toString())![1]);
}

/** A few at a time, since a template is only made where there is room beside what lives. */
async function templatesReady(flashd: Flashd, language: Language): Promise<void> {
  for (let first = 0; first < MOST; first += TEMPLATES_AT_ONCE) {
    const names = Array.from({ length: TEMPLATES_AT_ONCE }, (_, index) => `diverse-${language}-${first + index}`);
    for (const name of names) await flashd.http('GET', `/function/${name}`);
    for (const end = performance.now() + READY_MS; ; await sleep(50)) {
      const functions = JSON.parse(await flashd.cli('list', '--json')) as { name: string; template: string }[];
      if (names.every(name => functions.find(each => each.name === name)?.template === 'ready')) break;
      if (performance.now() > end) throw new Error(`there are no function templates of ${names.join(', ')}:\n${flashd.output}`);
    }
    await sleep(KEEP_WARM_SECONDS * 1000 + 200);
  }
}
