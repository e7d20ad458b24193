/**
 * The command line: one file per verb, one place that turns errors into text and exit codes (0, 100 what was asked for is wrong, 101 our
 * bug, 111 system). The gateway process is a hidden verb, since it is this same binary; what it does is handed in by main.ts.
 */
import { Command, CommanderError } from 'commander';
import { FlashdError, toFlashdError } from '../errors/index.ts';
import { keyCommand, tokenCommand } from './credential.ts';
import { deployCommand } from './deploy.ts';
import { doctorCommand } from './doctor.ts';
import { headerCommand } from './header.ts';
import { invokeCommand } from './invoke.ts';
import { listCommand } from './list.ts';
import { logsCommand } from './logs.ts';
import { Output } from './output.ts';
import { profileCommand } from './profile.ts';
import { removeCommand } from './remove.ts';
import { rollbackCommand } from './rollback.ts';
import { secretCommand } from './secret.ts';
import { serveCommand } from './serve.ts';
import { installCommand, uninstallCommand } from './service.ts';
import { verifyCommand } from './verify.ts';

export type Entry = {
  version: string;
  /** Runs until the gateway has shut down. */
  gateway: () => Promise<void>;
};

/** Resolves to the exit code. argv: without the program's own name. */
export async function runCli(argv: readonly string[], entry: Entry): Promise<number> {
  const program = programOf(entry);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (thrown) {
    // Help and --version end by an exception, too.
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    const error = thrown instanceof CommanderError ? usageError(thrown) : toFlashdError(thrown);
    if (error.code === 'internal_error' && error.cause instanceof Error) process.stderr.write(`${error.cause.stack}\n`);
    return new Output(argv.includes('--json')).error(error);
  }
}

function programOf(entry: Entry): Command {
  const program = new Command('flashd')
    .description('Functions as a service on one machine: a fresh, isolated instance in about a millisecond.')
    .version(entry.version, '-V, --version')
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      '\nExamples:\n  $ sudo flashd serve\n  $ flashd deploy functions/hello-python\n  $ curl http://127.0.0.1:8080/function/hello-python\n',
    );
  const verbs = [
    serveCommand(),
    deployCommand(),
    listCommand(),
    invokeCommand(),
    verifyCommand(),
    logsCommand(),
    profileCommand(),
    rollbackCommand(),
    removeCommand(),
    secretCommand(),
    keyCommand(),
    tokenCommand(),
    doctorCommand(),
    headerCommand(),
    installCommand(),
    uninstallCommand(),
  ];
  for (const command of verbs) program.addCommand(command);
  program.addCommand(new Command('gateway').action(entry.gateway), { hidden: true });
  return quiet(program);
}

/** Errors are thrown and printed in one place, in our form. */
function quiet(command: Command): Command {
  for (const inner of command.commands) quiet(inner);
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .allowExcessArguments(false);
}

function usageError(thrown: CommanderError): FlashdError {
  if (thrown.code === 'commander.help') return new FlashdError('usage', { message: 'no verb was given' });
  const [message = '', suggestion] = thrown.message.replace(/^error: /, '').split('\n');
  const hint = suggestion === undefined ? undefined : suggestion.replace(/^\(Did you mean (.*)\?\)$/, 'did you mean $1?');
  return new FlashdError('usage', { message, ...(hint === undefined ? {} : { hint }) });
}
