/**
 * The packaged binary as a stand-in for the program of a runtime: in sandboxes it stands below OWN_PROGRAMS, under the name of what it stands in for (native/sandbox/pack.h), and what
 * is started from there is a bare Node that runs a script. Decided by the executable's own path alone, which the kernel tells: no argument or variable makes the command line run
 * a script. Nothing else of flashd has been loaded by then.
 */
import Module from 'node:module';
import { dirname, resolve } from 'node:path';

/** Where it stands in sandboxes: FL_OWN_PROGRAMS of native/sandbox/pack.h. */
export const OWN_PROGRAMS = '/opt/flashd/self/';
/** Node's for an option that it does not know. */
const INVALID_ARGUMENT = 9;

export const isOwnProgram: boolean = `${dirname(process.execPath)}/` === OWN_PROGRAMS;

/** As `node SCRIPT ARGUMENTS...`. It takes no options: in this binary Node reads none, from NODE_OPTIONS neither. */
export function runScript(): void {
  const [script, ...rest] = process.argv.slice(2);
  if (script === undefined || script.startsWith('-')) {
    process.stderr.write(`${process.argv0}: ${script === undefined ? 'there is no script to run' : `there is no option ${script}`}: this is the ${process.release.name} of flashd, which runs scripts: ${process.argv0} SCRIPT [ARGUMENT...]\n`);
    process.exitCode = INVALID_ARGUMENT;
    return;
  }
  process.argv = [process.execPath, resolve(script), ...rest];
  Module.runMain();
}
