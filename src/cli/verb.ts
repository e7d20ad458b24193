/** What all verbs have in common: the options --json and --state-dir, the way they get at them, and examples in their help. */
import { Command } from 'commander';
import { managementSocketPath } from '../config/index.ts';
import { ManagementClient, remoteAt, stateDirOf } from './client.ts';
import { Output } from './output.ts';

export type CommonOptions = { json?: boolean; stateDir?: string; url?: string; tokenFile?: string };

export function verb(name: string, description: string, examples: readonly string[]): Command {
  const command = new Command(name).description(description).option('--json', 'print JSON for scripts');
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}\n`);
}

/** A verb that talks to the running flashd, on this machine or on another one. */
export function remoteVerb(name: string, description: string, examples: readonly string[]): Command {
  return verbOnMachine(name, description, examples)
    .option('--url <url>', 'of a flashd on another machine: https://HOST:PORT')
    .option('--token-file <file>', 'file with the token for it (FLASHD_TOKEN_FILE)');
}

/** A verb that talks to the running flashd on this machine. */
export function verbOnMachine(name: string, description: string, examples: readonly string[]): Command {
  return verb(name, description, examples).option('--state-dir <dir>', 'state directory of the flashd to talk to (FLASHD_STATE_DIR)');
}

export const outputOf = (options: CommonOptions) => new Output(options.json === true);
export const clientOf = (options: CommonOptions) =>
  new ManagementClient(options.url === undefined ? { socketPath: managementSocketPath(stateDirOf(options.stateDir)) } : remoteAt(options.url, options.tokenFile));

/** What a deployment leaves to be done. */
export function warnOfMissingSecrets(output: Output, functionName: string, missing: readonly string[]): void {
  for (const name of missing) output.warn(`  ${functionName} needs the secret ${name}: flashd secret set ${functionName} ${name}`);
}

export const shortVersion = (version: string) => version.slice(0, 12);
