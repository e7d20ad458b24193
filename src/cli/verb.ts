/** What all verbs have in common: the options --json and --state-dir, the way they get at them, and examples in their help. */
import { Command } from 'commander';
import { ManagementClient, stateDirOf } from './client.ts';
import { Output } from './output.ts';

export type CommonOptions = { json?: boolean; stateDir?: string };

export function verb(name: string, description: string, examples: readonly string[]): Command {
  const command = new Command(name).description(description).option('--json', 'print JSON for scripts');
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}\n`);
}

/** A verb that talks to the running flashd. */
export function remoteVerb(name: string, description: string, examples: readonly string[]): Command {
  return verb(name, description, examples).option('--state-dir <dir>', 'state directory of the flashd to talk to (FLASHD_STATE_DIR)');
}

export const outputOf = (options: CommonOptions) => new Output(options.json === true);
export const clientOf = (options: CommonOptions) => new ManagementClient(stateDirOf(options.stateDir));

/** What a deployment leaves to be done. */
export function warnOfMissingSecrets(output: Output, functionName: string, missing: readonly string[]): void {
  for (const name of missing) output.warn(`  ${functionName} needs the secret ${name}: flashd secret set ${functionName} ${name}`);
}

export const shortVersion = (version: string) => version.slice(0, 12);
