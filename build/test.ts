/**
 * `npm test`: every check there is, the cheap ones first. One failure does not hide the others, but the exit status tells it.
 *   types → native tests, plain and sanitized → fuzz corpora → what needs the machine for itself → everything else under test/ in one run of node:test, whose summary comes last
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { compileFixtures } from '../test/conformance/fixtures.ts';
import { prepareFunctions } from './functions.ts';
import { node, root, run, runShown, script, step } from './steps.ts';

/** unit needs nothing; the others use what the build made, and run as root. */
const SUITES = ['unit', 'native', 'integration', 'conformance', 'escape', 'e2e', 'vm'];
/** They tell by the processor time that somebody takes what he does: beside another suite he takes too little. */
const ALONE = ['test/e2e/unasked.test.ts'];
/** A test that hangs is ended: the longest takes a third of this. */
const TEST_TIMEOUT_MS = 600_000;

const failures: string[] = [];

async function check(label: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await step(label, work);
  } catch (error) {
    failures.push(`${label} (${(error as Error).message})`);
  }
}

const testArguments = (concurrency: number, files: string[]): string[] =>
  ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`, `--test-timeout=${TEST_TIMEOUT_MS}`, ...files];

await script(async () => {
  await step('test: install the Debian packages the tests need', () => run('build/setup', ['test']));
  await prepareFunctions();
  await step('test: compile the fixtures', compileFixtures);
  await check('test: types', () => run(node, ['node_modules/typescript/bin/tsc', '--noEmit']));
  await step('test: compile the native tests and fuzz targets with sanitizers', () => run('make', ['-C', 'native', '-s', `-j${availableParallelism()}`, 'asan']));
  await check('test: native tests, plain and sanitized', () => run('make', ['-C', 'native', '-s', 'check']));
  await check('test: replay the fuzz corpora', () => run('make', ['-C', 'native', '-s', 'fuzz']));

  await check('test: what needs the machine for itself', () => run(node, testArguments(1, ALONE)));

  if (failures.length > 0) console.log(`failed so far: ${failures.join(', ')}`);
  const files = SUITES.flatMap(suite => globSync(`test/${suite}/**/*.test.ts`, { cwd: root }).sort()).filter((file) => !ALONE.includes(file));
  const status = await runShown(node, testArguments(2, files));
  process.exitCode = failures.length > 0 ? 1 : status;
});
