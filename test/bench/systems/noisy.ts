/**
 * One function beside others that take whatever they can get (test/e2e/neighbours.ts), all at once: warm requests to it while they are silent, and while they are not. Clients stand for such on
 * other machines, in both: its own has a real-time priority, since nobody here slows it down, and those of the others run where nobody else wants to, since they slow down nobody here.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { root } from '../../../build/steps.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { neighbourFunctions, Noise } from '../../e2e/neighbours.ts';
import type { Samples, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { requests } from './http-client.ts';

const VICTIM = 'hello-c';
const GAP_US = 2000;
/** Of each sample that is asked for: a 99th percentile needs more than others. */
const REQUESTS = 30;
const LOUD_AFTER_MS = 500;
/** Before the first sample: what a gateway that has just started compiles is not what is measured. */
const WARM = 30;
const CLIENT = ['chrt', '--fifo', '1'];
/** The scheduling class of this process, which calls the others. */
const become = (policy: 'idle' | 'other'): void => void execFileSync('chrt', [`--${policy}`, '--all-tasks', '--pid', '0', String(process.pid)]);

export function noisySystem(workspace: Workspace): System {
  let flashd: Flashd | undefined;
  const take = async (count: number): Promise<number[]> => {
    const { samples } = await requests(flashd!.port, `/function/${VICTIM}`, 1, count * REQUESTS, GAP_US, 0, CLIENT);
    return samples.map(({ us }) => us);
  };
  return {
    name: 'flashd beside noise',
    series: [{
      name: 'noisy/quiet',
      also: ['noisy/loud'],
      group: 'noise',
      total: n => n,
      async sample(count): Promise<Samples> {
        const quiet = await take(count);
        const noise = new Noise(flashd!);
        await sleep(LOUD_AFTER_MS);
        const loud = await take(count);
        await noise.stop();
        return new Map([['noisy/quiet', quiet], ['noisy/loud', loud]]);
      },
    }],
    async prepare(): Promise<void> {
      await prepareFunctions();
      flashd = await Flashd.start();
      const below = join(workspace.directory, 'noisy'), victim = join(below, VICTIM);
      mkdirSync(below);
      cpSync(join(root, 'functions', VICTIM), victim, { recursive: true });
      await flashd.cli('deploy', victim, ...neighbourFunctions(below));
      await take(WARM);
      become('idle');
    },
    async cleanup(): Promise<void> {
      become('other');
      await flashd?.stop();
      flashd = undefined;
    },
  };
}
